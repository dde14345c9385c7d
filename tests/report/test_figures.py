"""Drawings from hand-made frames, and colours that can be seen and told apart."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from defenselib import papers
from defenselib.errors import UnknownNameError
from defenselib.papers import Exhibit
from defenselib.papers.kit import frame, printed
from defenselib.plots import canvas, style
from defenselib.plots import drawings as figures


def filled(rows: list[dict], values: list[float]) -> pd.DataFrame:
    made = [{**frame.entry([value, value + 1]), "verdict": "not run"} for value in values]
    return frame.finish(frame.empty_rows(rows), made, "laptop")


def where(**more: str) -> dict:
    return {"dataset": "cifar10", "attack": "badnets", "defense": "asd", **more}


def test_dots_draws_printed_and_reproduced():
    rows = printed.table("asd", "table-2").iloc[:24]
    made = [{**frame.entry([value - 3]), "verdict": "agrees"} for value in rows["published"]]
    figure = papers.get("asd").exhibit("table-2").draw(frame.finish(rows, made, "laptop"))
    assert [axis.get_title() for axis in figure.axes] == ["CIFAR-10: ACC", "CIFAR-10: ASR"]
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_purity_is_drawn_in_percent():
    history = pd.DataFrame({"epoch": [0, 1] * 2, "acc": 50.0, "asr": 1.0, "clean_purity": 0.9, "seed": [0, 0, 1, 1]})
    figure = figures.purity(
        {
            "badnets": history,
            "blend": history.iloc[:0],
            "badnets, random pool": history.assign(acc=[0.0, 50.0, 40.0, 50.0]),
        }
    )
    first, second = figure.axes[0].get_lines()
    assert list(first.get_ydata()) == [90.0, 90.0]
    assert (first.get_label(), second.get_label()) == ("BadNets", "BadNets, random pool")
    assert (first.get_linestyle(), second.get_linestyle()) == ("-", "--") and first.get_color() == second.get_color()


def test_long_names_of_runs_stay_within_the_figure():
    history = pd.DataFrame({"epoch": [0, 1], "acc": 50.0, "asr": 1.0, "clean_purity": 0.9, "seed": 0})
    names = ("badnets", "blend", "wanet", "badnets, random first pool", "badnets, random first pool, twice as long")
    figure = figures.purity(dict.fromkeys(names, history))
    figure.canvas.draw()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and len(legend.get_texts()) == len(names)


@pytest.mark.parametrize("kind", figures.DRAWERS)
def test_nothing_to_draw_is_said(kind):
    empty = filled([where(variant=None, metric="acc")], [math.nan])
    figure = figures.DRAWERS[kind](empty, "a title")
    assert canvas.NOTHING in [text.get_text() for text in figure.axes[0].texts]


def test_purity_without_history_is_said():
    assert figures.purity({}).axes[0].texts[0].get_text() == canvas.NOTHING


def test_unknown_drawing():
    with pytest.raises(UnknownNameError, match="did you mean 'dots'"):
        Exhibit(paper="asd", key="table-2", plot="dot").draw(pd.DataFrame())


def test_drawing_leaves_the_callers_settings_alone():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    figures.purity({})
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("colour", sorted({c for c, _ in [*style.METHODS.values(), *style.ATTACKS.values()]}))
def test_colours_are_seen_on_the_background(colour):
    assert style.contrast(colour, style.BACKGROUND) >= 3.0


def test_contrast_by_known_values():
    assert style.contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert style.contrast("#ffffff", "#ffffff") == pytest.approx(1.0)


@pytest.mark.parametrize("table", [style.METHODS, style.ATTACKS])
def test_no_two_names_look_the_same(table):
    same = {"blend", "blend-kitty"}  # two names of one attack
    looks = [look for name, look in table.items() if name not in same]
    assert len(set(looks)) == len(looks)


def test_every_name_of_the_papers_has_a_look():
    for paper in printed.TITLES:
        missing = set(printed.vocabulary(paper, "attack")) - set(style.ATTACKS)
        assert not missing, (paper, missing)
