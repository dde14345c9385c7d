"""The drawings of ASD's exhibits (Gao et al., CVPR 2023), from tidy frames; none computes a result."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from defenselib.papers.bsd import figures_tables as figures_bsd_tables
from defenselib.papers.bsd.figures_tables import Drawer, drawing, legend, names_of
from defenselib.plots import style
from defenselib.plots.canvas import grid, group_histograms

# Colour and line of a variant, by the stage that is left out or by speed.
LOOKS = {
    "nothing": ("all stages", style.BLACK, "-"),
    "stage1": ("without stage 1", style.ORANGE, "--"),
    "stage2": ("without stage 2", style.GREEN, "-."),
    "stage3": ("without stage 3", style.PURPLE, ":"),
}
SPEED_LOOKS = ((style.BLACK, "-"), (style.GREEN, "-."), (style.ORANGE, "--"), (style.PURPLE, ":"))
METRICS = ("acc", "asr")
PREFIX = re.compile(r"^(ssl|poisoned_seeds|seeds=imagenet-transfer;phase)=")


def settings(frame: pd.DataFrame, title: str = "") -> Figure:
    """Tables 4 to 6: printed and reproduced ACC and ASR by variant, whose common words are left out."""
    short = [PREFIX.sub("", name) if isinstance(name, str) else name for name in frame["variant"]]
    return figures_bsd_tables.DRAWERS["bsd-settings"](frame.assign(variant=short), title)


def _losses(ran: pd.DataFrame) -> Figure:
    """Figure 1: losses of clean and poisoned samples under the final model, a panel a defense."""
    names = names_of(ran, "defense")
    figure, axes = grid(7.6, 2.9, 1, len(names))
    for name, axis in zip(names, axes.flat, strict=True):
        mine = ran[(ran["defense"] == name) & (ran["metric"] == "count")]
        group_histograms(axis, mine)
        axis.set(title=style.label(name), xlabel="loss $L_1$", ylabel="training samples" if name == names[0] else "")
    legend(figure, axes.flat[0])
    return figure


def _line(axis: Axes, rows: pd.DataFrame, place: str, line: str, colour: str, words: str, marker: str = "") -> None:
    """Mean by epoch with a band of one standard deviation over the seeds."""
    x, mean, spread = rows[place].astype(int), rows["reproduced"], rows["sd"].fillna(0.0)
    axis.plot(x, mean, line, color=colour, label=words, marker=marker)
    if (spread > 0).any():
        axis.fill_between(x, mean - spread, mean + spread, color=colour, alpha=0.2)
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))


def _combined(ran: pd.DataFrame) -> Figure:
    """Figure 5: (a) ACC and ASR in DBD's last stage with either split, (b) what the last pools hold."""
    figure, axes = grid(7.6, 3.2, 1, 3)
    left, *right = axes.flat
    for name in names_of(ran[ran["panel"] == "a"], "defense"):
        for metric, line in zip(METRICS, ("-", "--"), strict=True):
            rows = ran[(ran["panel"] == "a") & (ran["defense"] == name) & (ran["metric"] == metric)]
            colour = style.method(name)["color"]
            _line(left, rows, "epoch", line, colour, f"{style.label(name)}, {metric.upper()}")
    left.set(title="(a) last stage of DBD", xlabel="epoch", ylabel="%", ylim=(-4, 104))
    for axis, (metric, words) in zip(right, {"hard": "hard clean", "poisoned": "poisoned"}.items(), strict=True):
        for name in names_of(ran[ran["panel"] == "b"], "defense"):
            rows = ran[(ran["panel"] == "b") & (ran["defense"] == name) & (ran["metric"] == metric)]
            sign = style.method(name)
            _line(axis, rows, "left", "-", sign["color"], style.label(name), sign["marker"])
        axis.set(title=f"(b) {words}, in the pool", xlabel="epochs before the end", ylabel="samples")
        axis.invert_xaxis()
    handles = {words: line for axis in axes.flat for line, words in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=4)
    return figure


def _epochs(ran: pd.DataFrame) -> Figure:
    """Figures 6 and 7: ACC and ASR by epoch, a column an attack, a line a variant."""
    names = names_of(ran, "attack")
    figure, axes = grid(7.6, 4.6, len(METRICS), len(names))
    for column, attack in enumerate(names):
        for row, metric in enumerate(METRICS):
            axis = axes[row, column]
            mine = ran[(ran["attack"] == attack) & (ran["metric"] == metric)]
            for words, colour, line, chosen in _variants(mine):
                _line(axis, chosen, "epoch", line, colour, words)
            axis.set(ylim=(-4, 104), ylabel=f"{metric.upper()} (%)" if column == 0 else "")
            axis.set(**({"title": style.label(attack, "attack")} if row == 0 else {"xlabel": "epoch"}))
    handles = {words: line for axis in axes.flat for line, words in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=4)
    return figure


def _variants(rows: pd.DataFrame) -> list[tuple[str, str, str, pd.DataFrame]]:
    if "without" in rows:
        known = [(*look, rows[rows["without"] == key]) for key, look in LOOKS.items()]
        return [one for one in known if len(one[-1])]
    found = []
    for speed, (colour, line) in zip(sorted(set(rows["speed"]), key=float), SPEED_LOOKS, strict=False):
        mine = rows[rows["speed"] == speed]
        found.append((f"t = {mine['every'].iloc[0]}, n = {mine['growth'].iloc[0]}", colour, line, mine))
    return found


def _times(ran: pd.DataFrame) -> Figure:
    """Table 3: printed (hollow) and reproduced (filled) seconds, a panel a data set, a row a stage."""
    datasets, stages = names_of(ran, "dataset"), ["1", "2", "3", "total"]
    figure, axes = grid(7.4, 2.9, 1, len(datasets))
    for dataset, axis in zip(datasets, axes.flat, strict=True):
        for defense in names_of(ran, "defense"):
            rows = ran[(ran["dataset"] == dataset) & (ran["defense"] == defense)]
            y, sign = rows["stage"].map(stages.index), style.method(defense)
            axis.plot(rows["published"], y, ls="", mfc=style.BACKGROUND, mec=sign["color"], marker=sign["marker"], ms=9)
            axis.plot(rows["reproduced"], y, ls="", ms=9, label=style.label(defense), **sign)
        axis.set(xscale="log", xlabel="seconds", title=style.label(dataset), ylim=(len(stages) - 0.5, -0.5))
        axis.set_yticks(np.arange(len(stages)), [f"stage {name}" if name != "total" else name for name in stages])
    legend(figure, axes.flat[0])
    return figure


DRAWERS: dict[str, Drawer] = {
    "asd-settings": settings,
    "asd-losses": drawing(_losses),
    "asd-combined": drawing(_combined),
    "asd-epochs": drawing(_epochs),
    "asd-times": drawing(_times),
}
