"""Drawings from hand-made frames, and colours that can be seen and told apart."""

from __future__ import annotations

import io
import math
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from defenselib import attacks, defenses, papers
from defenselib.papers.kit import frame, printed
from defenselib.papers.kit.verdict import VERDICTS
from defenselib.papers.titles import TITLES
from defenselib.plots import bars, canvas, charts, panels, pictures, style


def filled(rows: list[dict], values: list[float]) -> pd.DataFrame:
    made = [{**frame.entry([value, value + 1]), "verdict": "not run"} for value in values]
    return frame.finish(frame.rows_of(rows), made, "laptop")


def where(**more: object) -> dict:
    return {"dataset": "cifar10", "attack": "badnets", "defense": "asd", **more}


def test_dots_draws_printed_and_reproduced() -> None:
    rows = printed.table("asd", "table-2").iloc[:24]
    made = [{**frame.entry([value - 3]), "verdict": "agrees"} for value in rows["published"]]
    figure = papers.get("asd").exhibit("table-2").draw(frame.finish(rows, made, "laptop"))
    assert [axis.get_title() for axis in figure.axes] == ["CIFAR-10: ACC", "CIFAR-10: ASR"]
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_a_drawing_keeps_its_colours_in_fewer_bytes() -> None:
    figure = charts.purity({"badnets": pd.DataFrame({"epoch": [0, 1], "acc": 50.0, "asr": 1.0, "clean_purity": 0.9})})
    small = figure._repr_png_()
    whole = io.BytesIO()
    figure.savefig(whole, format="png", dpi=figure.dpi)
    seen, drawn = (np.asarray(Image.open(file).convert("RGB")).astype(int) for file in (io.BytesIO(small), whole))
    assert seen.shape == drawn.shape and (seen[0, 0] == 255).all()
    off = np.abs(seen - drawn)
    assert off.max() <= 32 and off.mean() < 0.3, "nobody sees it"
    assert len(small) < 0.6 * len(whole.getvalue())


def test_a_photograph_keeps_all_its_colours() -> None:
    photograph = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    figure = pictures.captioned({"noise": photograph})
    assert len(np.unique(np.asarray(Image.open(io.BytesIO(figure._repr_png_()))).reshape(-1, 3), axis=0)) > 1000


def test_histograms_have_a_panel_a_value_and_both_groups() -> None:
    rows = [
        where(panel=panel, group=group, low=float(low), high=low + 1.0, metric="count")
        for panel in "abcd"
        for group in ("clean", "poisoned")
        for low in range(3)
    ]
    figure, found = panels.histograms(filled(rows, [1.0] * len(rows)), "panel")
    assert [where["panel"] for _, _, where in found] == list("abcd")
    assert all(len(axis.patches) == 2 for axis, _, _ in found)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["clean", "poisoned"]


def test_purity_is_drawn_in_percent() -> None:
    history = pd.DataFrame({"epoch": [0, 1] * 2, "acc": 50.0, "asr": 1.0, "clean_purity": 0.9, "seed": [0, 0, 1, 1]})
    figure = charts.purity(
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


def test_long_names_of_runs_stay_within_the_figure() -> None:
    history = pd.DataFrame({"epoch": [0, 1], "acc": 50.0, "asr": 1.0, "clean_purity": 0.9, "seed": 0})
    names = ("badnets", "blend", "wanet", "badnets, random first pool", "badnets, random first pool, twice as long")
    figure = charts.purity(dict.fromkeys(names, history))
    figure.canvas.draw()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and len(legend.get_texts()) == len(names)


def test_nothing_to_draw_is_said() -> None:
    figure = charts.dots(filled([where(metric="acc")], [math.nan]), "a title")
    assert canvas.NOTHING in [text.get_text() for text in figure.axes[0].texts]
    assert charts.purity({}).axes[0].texts[0].get_text() == canvas.NOTHING


def test_stacked_bars_reach_a_hundred_percent_and_say_their_counts() -> None:
    counted = pd.DataFrame([dict(zip(VERDICTS, (2, 1, 3, 4, 10), strict=True))]).assign(printed=20)
    (axis,) = bars.stacked({"All": (["a"], counted, "printed", VERDICTS)}).axes
    assert sum(patch.get_width() for patch in axis.patches) == pytest.approx(100.0)
    assert [text.get_text() for text in axis.texts] == ["2", "1", "3", "4", "10"]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == list(VERDICTS)


def test_drawing_leaves_the_callers_settings_alone() -> None:
    before = dict(mpl.rcParams)
    charts.purity({})
    assert dict(mpl.rcParams) == before


def contrast(first: str, second: str) -> float:
    """WCAG contrast ratio of two colours (#rrggbb), between 1 and 21."""
    light, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    values = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in values)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("colour", sorted({c for c, _ in [*style.METHODS.values(), *style.ATTACKS.values()]}))
def test_colours_are_seen_on_the_background(colour: str) -> None:
    assert contrast(colour, style.BACKGROUND) >= 3.0


def test_contrast_by_known_values() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#ffffff", "#ffffff") == pytest.approx(1.0)


@pytest.mark.parametrize("table", [style.METHODS, style.ATTACKS])
def test_no_two_names_look_the_same(table: dict[str, tuple[str, str]]) -> None:
    same = {"blend", "blend-kitty"}  # two names of one attack
    looks = [look for name, look in table.items() if name not in same]
    assert len(set(looks)) == len(looks)


@pytest.mark.parametrize(("known", "table"), [(attacks, style.ATTACKS), (defenses, style.METHODS)])
def test_every_method_has_a_look(known: Any, table: dict[str, tuple[str, str]]) -> None:
    missing = set(known.available()) - set(table)
    assert not missing, f"plots/style.toml needs a colour and a marker, which no other has, of {missing}"


def test_every_name_of_the_papers_has_a_look() -> None:
    for paper in TITLES:
        missing = set(printed.vocabulary(paper, "attack")) - set(style.ATTACKS)
        assert not missing, (paper, missing)
