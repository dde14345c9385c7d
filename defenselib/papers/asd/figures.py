"""The drawings of ASD's exhibits (Gao et al., CVPR 2023), from tidy frames; none computes a result."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from defenselib.plots import panels, style
from defenselib.plots.canvas import grid, logarithmic, single
from defenselib.plots.diagrams import diagram
from defenselib.plots.panels import PERCENT, Drawer, by, drawing, legend, line, named, only

# Colour and line of a variant, by the stage that is left out or by speed.
LOOKS = {
    "nothing": ("all stages", style.BLACK, "-"),
    "stage1": ("without stage 1", style.ORANGE, "--"),
    "stage2": ("without stage 2", style.GREEN, "-."),
    "stage3": ("without stage 3", style.PURPLE, ":"),
}
SPEED_LOOKS = ((style.BLACK, "-"), (style.GREEN, "-."), (style.ORANGE, "--"), (style.PURPLE, ":"))
METRICS = ("acc", "asr")
PANEL_TITLES = {
    "a": "(a) f before stage 3",
    "b": "(b) virtual model",
    "c": "(c) reduction, (a) minus (b)",
    "d": "(d) f after stage 3",
}
TIMED = [1.0, 2.0, 3.0, "total"]


def by_setting(axis: str) -> Drawer:
    """Tables 4 to 6: printed and reproduced ACC and ASR by a column of the table."""
    return panels.settings(lambda row: named(row[axis], axis))


@partial(drawing, titled=False)
def splits(ran: pd.DataFrame) -> Figure:
    """Figure 3: losses around the meta-split, a panel a quantity."""
    figure, found = panels.histograms(ran, "panel", xlabel="loss $L_1$", titles=PANEL_TITLES, most=2)
    for axis, _, where in found:
        if where["panel"] == "c":
            axis.set_xlabel("loss reduction")
    return figure


@drawing
def progress(ran: pd.DataFrame) -> Figure:
    """Figure 4: ACC by epoch, a line a defense. The paper's ends before stage 3, which is dashed here."""
    figure, axis = single(7.2, 3.8)
    for defense, rows in by(ran, "defense"):
        words, look = style.label(defense), {"color": style.method(defense)["color"]}
        late = only(rows, stage=3)
        line(axis, rows.drop(late.index), "epoch", words, **look)
        if len(late):
            # From the last point before it, so that the line has no gap.
            joined = rows[rows["epoch"] >= late["epoch"].min() - 1]
            line(axis, joined, "epoch", f"{words}, stage 3", "--", **look)
    axis.set(xlabel="epoch", ylabel="ACC (%)")
    axis.legend()
    return figure


@drawing
def combined(ran: pd.DataFrame) -> Figure:
    """Figure 5: (a) ACC and ASR in DBD's last stage with either split, (b) what the last pools hold."""
    figure, axes = grid(7.6, 3.2, 1, 3)
    left, *right = axes.flat
    for defense, rows in by(only(ran, panel="a"), "defense"):
        for metric, dash in zip(METRICS, ("-", "--"), strict=True):
            words = f"{style.label(defense)}, {metric.upper()}"
            line(left, only(rows, metric=metric), "epoch", words, dash, color=style.method(defense)["color"])
    left.set(title="(a) last stage of DBD", xlabel="epoch", ylabel="%", ylim=PERCENT)
    for axis, (metric, words) in zip(right, {"hard": "hard clean", "poisoned": "poisoned"}.items(), strict=True):
        for defense, rows in by(only(ran, panel="b", metric=metric), "defense"):
            line(axis, rows, "left", style.label(defense), **style.method(defense))
        axis.set(title=f"(b) {words}, in the pool", xlabel="epochs before the end", ylabel="samples")
        axis.invert_xaxis()
    return legend(figure)


@partial(drawing, sweep=("without", "speed"))
def epochs(ran: pd.DataFrame) -> Figure:
    """Figures 6 and 7: ACC and ASR by epoch, a column an attack, a line a variant."""
    figure, found = panels.panels(ran, "attack", "metric", down_values=METRICS, width=7.6, height=2.1)
    for axis, rows, where in found:
        for words, colour, dash, mine in _variants(rows):
            line(axis, mine, "epoch", words, dash, color=colour)
        axis.set(ylim=PERCENT, xlabel="epoch" if where["metric"] == METRICS[-1] else "")
    return legend(figure)


def _variants(rows: pd.DataFrame) -> Iterator[tuple[str, str, str, pd.DataFrame]]:
    for stage, mine in by(rows, "without"):
        yield *LOOKS[stage], mine
    for (_, mine), look in zip(by(rows, "speed"), SPEED_LOOKS, strict=False):
        yield mine["variant"].iloc[0], *look, mine


@partial(drawing, printed=True)
def times(ran: pd.DataFrame) -> Figure:
    """Table 3: printed and reproduced seconds, a panel a data set, a row a stage."""
    figure, found = panels.panels(ran, "dataset", width=7.4, height=2.4)
    for axis, part, _ in found:
        for defense, rows in by(part, "defense"):
            places = rows["stage"].map(TIMED.index)
            panels.beside(axis, rows, places, style.method(defense), style.label(defense), across=False)
        logarithmic(axis)
        axis.tick_params(axis="x", rotation=60)
        axis.set(xlabel="seconds", ylim=(len(TIMED) - 0.5, -0.5))
        axis.set_yticks(np.arange(len(TIMED)), ["stage 1", "stage 2", "stage 3", "total"])
    return legend(figure)


# Figure 1: losses of clean and poisoned samples under the final model, a panel a defense.
losses = drawing(lambda ran: panels.histograms(ran, "defense", xlabel="loss $L_1$")[0])
pipeline = diagram(__file__, "pipeline")  # Figure 2
