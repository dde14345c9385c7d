"""Results as points: effect against cost, run times, how well scores and rules tell poison from clean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from defenselib.plots import style, words
from defenselib.plots.canvas import empty, grid, logarithmic, single

# Where a name may stand beside its point, in points of type, the best first.
SIDES = [(x, y, "left" if x > 0 else "right" if x < 0 else "center")
         for y in (0, -9, 9, -18, 18, -27, 27, -36, 36) for x in (8, -8, 0) if x or y]  # fmt: skip
CLOCKS = {
    "processor": (style.BLUE, style.BLUE, "o", "of the processor"),
    "clock": ("none", style.BLUE, "o", "of the clock"),
    "gpu": ("none", style.ORANGE, "s", "of the clock, on a GPU"),
}
MODEL = (("acc", "ACC", style.BLUE, "o"), ("asr", "ASR", style.ORANGE, "s"))
RULE = (
    ("auc", "from all clean samples", style.GREEN, "o"),
    ("auc_hardest", "from the hardest tenth", style.PURPLE, "D"),
)


def effect(points: pd.DataFrame, title: str = "") -> Figure:
    """A point a defense (the index): columns der, minutes, and failed, which makes it hollow. The line joins those
    that no other beats in both, hollow ones left out."""
    if points.empty:
        return empty(title)
    with style.look():
        figure, axis = single(7.2, 4.6)
        front = undominated(points[~points["failed"]])
        axis.plot(front["minutes"], front["der"], color=style.GREY, linewidth=1, linestyle="--", zorder=1)
        for name, point in points.iterrows():
            look = style.method(str(name))
            face: dict[str, Any] = {"facecolors": "none"} if point["failed"] and look["marker"] not in "12" else {}
            axis.scatter(point["minutes"], point["der"], s=70, **look, **face, zorder=2)
        logarithmic(axis)
        axis.set(xlabel="minutes", ylabel="DER (%)", title=title)
        _label(axis, {words.label(str(name)): (row["minutes"], row["der"]) for name, row in points.iterrows()})
        return figure


def _label(axis: Axes, places: Mapping[str, tuple[float, float]]) -> None:
    """A name beside each point, on the first side where it lies over no point and no other name."""
    figure = axis.figure
    assert isinstance(figure, Figure)
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    taken = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for x, y in map(axis.transData.transform, places.values())]
    for name, place in places.items():
        for sideways, upwards, align in SIDES:
            note = axis.annotate(
                name, place, xytext=(sideways, upwards), textcoords="offset points", fontsize=9, ha=align, va="center"
            )
            box = note.get_window_extent()
            if not any(box.overlaps(other) for other in taken) or (sideways, upwards, align) == SIDES[-1]:
                taken.append(box)
                break
            note.remove()


def undominated(points: pd.DataFrame) -> pd.DataFrame:
    """Rows that no other row beats in both: fewer `minutes` and more `der`; by rising minutes."""
    ordered = points.sort_values(["minutes", "der"], ascending=[True, False], kind="stable")
    best = ordered["der"].cummax()
    return ordered[(ordered["der"] == best) & ~best.duplicated()]


def minutes(rows: pd.DataFrame, title: str = "") -> Figure:
    """A row a name, the quickest first: columns name, spent (minutes), kind. Filled: of the processor; hollow: of the
    clock, if only that was recorded; squares: of the clock, if a GPU did the work."""
    if rows.empty:
        return empty(title)
    order = list(rows.groupby("name")["spent"].median().sort_values().index)
    with style.look():
        figure, axis = single(7.2, 1.3 + 0.3 * len(order))
        for kind, (face, edge, marker, label) in CLOCKS.items():
            mine = rows[rows["kind"] == kind]
            if len(mine):
                places = [order.index(name) for name in mine["name"]]
                axis.scatter(mine["spent"], places, s=36, c=face, edgecolors=edge, marker=marker, label=label)
        axis.set_yticks(range(len(order)), order)
        axis.set(xlabel="minutes", ylim=(len(order) - 0.4, -0.6), title=title)
        logarithmic(axis)
        figure.legend(ncols=3, loc="outside lower center")
        return figure


def areas(rows: pd.DataFrame, title: str = "") -> Figure:
    """One line a defense and score, a mark a row: area (percent), hollow where the column says so."""
    if rows.empty:
        return empty(title)
    lines = rows[["defense", "score"]].drop_duplicates().to_records(index=False).tolist()
    with style.look():
        figure, axis = single(7.2, 1.1 + 0.34 * len(lines))
        axis.axvline(50, color=style.GREY, linewidth=1, linestyle="--")
        for place, (defense, score) in enumerate(lines):
            mine = rows[(rows["defense"] == defense) & (rows["score"] == score)]
            look = style.method(defense)
            for hollow, part in mine.groupby("hollow"):
                face = "none" if hollow else look["color"]
                axis.scatter(part["area"], [place] * len(part), s=55, marker=look["marker"], facecolors=face,
                             edgecolors=look["color"], alpha=0.8)  # fmt: skip
        axis.set_yticks(range(len(lines)), [f"{words.label(defense)}: {score}" for defense, score in lines])
        axis.set(xlim=(-2, 102), ylim=(len(lines) - 0.5, -0.5), xlabel="pairs in the right order (%)", title=title)
        return figure


def shares(rows: pd.DataFrame, title: str = "") -> Figure:
    """A row a name, the largest share first, a mark a machine: columns name, share (percent of the time), machine."""
    if rows.empty:
        return empty(title)
    order = list(rows.groupby("name")["share"].median().sort_values(ascending=False).index)
    looks = [(style.BLUE, "o"), (style.ORANGE, "s"), (style.GREEN, "D"), (style.PURPLE, "^")]
    with style.look():
        figure, axis = single(7.2, 1.3 + 0.26 * len(order))
        axis.axvline(100, color=style.GREY, linewidth=1, linestyle="--")
        for place, (machine, mine) in enumerate(rows.groupby("machine", sort=False)):
            colour, marker = looks[place % len(looks)]
            places = [order.index(name) for name in mine["name"]]
            axis.scatter(mine["share"], places, s=36, color=colour, marker=marker, label=str(machine))
        axis.set_yticks(range(len(order)), order)
        axis.set(xlabel="share of the time (%)", ylim=(len(order) - 0.4, -0.6))
        axis.set_xlim(left=0)
        figure.legend(ncols=2, loc="outside lower center")
        figure.suptitle(title)
        return figure


def separation(rows: pd.DataFrame, x: str, says: str, log: bool = False) -> Figure:
    """Panels over the column `x`: the model's ACC and ASR in percent, where they were measured and are not the axis
    itself; the AUC by which poison is told apart.

    rows: columns `x`, acc, asr, auc, auc_hardest, a row a run; the lines are means over the runs of a value, the points
    are the runs. says: the label of x. log: a logarithmic scale of x.
    """
    of_model = x != "acc" and any(name in rows and rows[name].notna().any() for name, *_ in MODEL)
    with style.look():
        figure, axes = grid(7.2 if of_model else 4.6, 3.0, 1, 1 + of_model)
        if of_model:
            _panel(axes[0, 0], rows, x, MODEL)
            axes[0, 0].set(title="the model behind the rule (%)", xlabel=says, ylim=(-4, 104))
        _panel(axes[0, -1], rows, x, RULE)
        axes[0, -1].set(title="AUC of poison", xlabel=says, ylim=(-0.04, 1.04))
        axes[0, -1].axhline(0.5, color=style.GREY, ls=":", lw=1, label="chance")
        for axis in axes.flat:
            axis.legend()
            if log:
                logarithmic(axis)
        return figure


def _panel(axis: Axes, rows: pd.DataFrame, x: str, lines: Sequence[tuple[str, str, str, str]]) -> None:
    for column, label, colour, marker in lines:
        if column not in rows or rows[column].isna().all():
            continue
        mean = rows.groupby(x)[column].mean()
        axis.plot(mean.index.to_numpy(dtype=float), mean.to_numpy(), color=colour, marker=marker, ms=6, label=label)
        axis.scatter(np.asarray(rows[x], dtype=float), rows[column], color=colour, marker=marker, s=12, alpha=0.4)
