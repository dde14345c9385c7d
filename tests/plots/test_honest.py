"""A figure says what it shows and nothing else: no sweep over one value, what was not run is named, printed numbers
alone say so, and the words for those who do not see it are those of the data."""

from __future__ import annotations

import itertools
import math
import re

import pandas as pd
import pytest

from defenselib import papers
from defenselib.papers.kit import frame, printed
from defenselib.plots import bars, canvas, panels, scatter
from defenselib.plots.alt import describe, named_in


def filled(rows: list[dict], values: list[float]) -> pd.DataFrame:
    made = [{**frame.entry([value]), "verdict": "not comparable"} for value in values]
    return frame.finish(frame.rows_of(rows), made, "laptop")


def where(**more: object) -> dict:
    return {"dataset": "cifar10", "attack": "badnets", "defense": "asd", "metric": "acc", **more}


def curve(column: str, values: list[float]) -> panels.Drawer:
    def body(ran: pd.DataFrame) -> canvas.Figure:
        figure, axes = canvas.grid(5, 3, 1, 1)
        panels.line(axes.flat[0], ran, column, "ASD")
        return figure

    return panels.drawing(body, sweep=(column,))


def test_a_sweep_over_one_value_is_none() -> None:
    draw = curve("speed", [])
    one = filled([where(speed=1.0), where(speed=2.0)], [80.0, math.nan])
    assert draw(one, "speeds").nothing  # type: ignore[attr-defined]
    two = filled([where(speed=1.0), where(speed=2.0), where(speed=3.0)], [80.0, 70.0, math.nan])
    drawn = draw(two, "speeds")
    assert not drawn.nothing and "not run: speed 3" in drawn.get_suptitle()  # type: ignore[attr-defined]


def test_what_was_not_run_is_named_and_what_is_drawn_is_reported() -> None:
    rows = [where(defense=name, epoch=float(epoch)) for name in ("asd", "none", "dbd") for epoch in range(3)]
    values = [50.0, 60.0, 70.0, 80.0, 81.0, 82.0, *[math.nan] * 3]
    drawn = papers.get("asd").exhibit("figure-4").draw(filled(rows, values))
    assert "profile laptop; not run: DBD" in drawn.get_suptitle()
    told = drawn._repr_mimebundle_()[1]["image/png"]["drawn"]
    assert {"ASD", "no defense", "BadNets", "CIFAR-10"} <= set(told) and "DBD" not in told


@pytest.mark.parametrize(
    ("paper", "key"), [("asd", "table-2"), ("asd", "table-4"), ("vab", "table-3"), ("bsd", "table-5")]
)
def test_printed_numbers_stand_alone_and_say_so(paper: str, key: str) -> None:
    rows = printed.table(paper, key)
    nothing = frame.finish(rows, [{**frame.entry([]), "verdict": "not run"}] * len(rows), "laptop")
    figure = papers.get(paper).exhibit(key).draw(nothing)
    assert panels.PRINTED_ALONE in figure.get_suptitle().lower().replace("\n", " ")
    assert "reproduced" not in named_in(figure)
    numbers = [value for axis in figure.axes for line in axis.get_lines() for value in line.get_xydata().ravel()]
    assert any(value in numbers for value in pd.to_numeric(rows["published"], errors="coerce").dropna())


def test_bars_are_read_by_their_length_whichever_way_they_lie() -> None:
    counted = pd.DataFrame({"agrees": [3, 1], "differs": [1, 3], "printed": [4, 4]})
    figure = bars.stacked({"": (["Table 1", "Table 2"], counted, "printed", ("agrees", "differs"))})
    text = describe(figure)
    said = {
        part: [float(n) for n in re.findall(r"\) ([\d.]+)", found)]
        for part, found in re.findall(r"(agrees|differs) ([^;.]*)", text)
    }
    assert said == {"agrees": [75.0, 25.0], "differs": [25.0, 75.0]}
    upright = filled([where(metric=name, target=str(target)) for name in ("acc", "asr", "ra") for target in (3, 5)],
                     [80.0, 70.0, 5.0, 90.0, 40.0, 30.0])  # fmt: skip
    text = describe(papers.get("bsd").exhibit("figure-10").draw(upright))
    assert "ACC 80, 70" in text and "ASR 5, 90" in text and "RA 40, 30" in text


def test_dots_beside_names_are_read_along_the_other_axis() -> None:
    rows = [where(defense="abl", stage="total", metric="seconds", published=300.0) | {"attack": "none"}]
    text = describe(papers.get("asd").exhibit("table-3").draw(filled(rows, [354.0])))
    assert "ABL at 354" in text, "seconds, and not the place of the row"


def test_names_beside_points_lie_over_no_other() -> None:
    names = ["asd", "simclr-baseline", "supcon-baseline", "bsd", "vab", "dst", "adv-train", "spectral"]
    points = pd.DataFrame(
        {"minutes": [20.0, 20.5, 21, 22, 20.2, 300, 310, 2], "der": [80.0, 80.4, 80.2, 81, 79.5, 60, 60, 95]},
        index=names,
    )
    figure = scatter.effect(points.assign(failed=False))
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == len(names)
    assert not any(one.overlaps(two) for one, two in itertools.combinations(boxes, 2))


@pytest.mark.slow
@pytest.mark.parametrize("paper", papers.available())
def test_ticks_do_not_collide_in_any_table_that_is_drawn(paper: str) -> None:
    for key in printed.tables(paper):
        exhibit, rows = papers.get(paper).exhibit(key), printed.table(paper, key)
        if exhibit.plot is None:
            continue
        nothing = frame.finish(rows, [{**frame.entry([]), "verdict": "not run"}] * len(rows), "laptop")
        figure = exhibit.draw(nothing)
        if figure.nothing:  # type: ignore[attr-defined]
            continue
        figure.draw_without_rendering()
        for axis in figure.axes:
            for ticks in (axis.get_xticklabels(), axis.get_yticklabels()):
                shown = [tick for tick in ticks if tick.get_text() and tick.get_visible() and not tick.get_rotation()]
                boxes = sorted((tick.get_window_extent() for tick in shown), key=lambda box: (box.x0, box.y0))
                assert not any(one.overlaps(two) for one, two in itertools.pairwise(boxes)), (key, axis.get_title())
