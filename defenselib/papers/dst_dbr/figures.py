"""The figures of D-ST and D-BR (Chen et al., NeurIPS 2022), each drawn from its frame."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from defenselib.data import load_dataset
from defenselib.data.augment.transforms import TRANSFORMS, draw, named
from defenselib.papers import examples
from defenselib.plots import panels, pictures, style
from defenselib.plots.canvas import grid
from defenselib.plots.diagrams import diagram
from defenselib.plots.panels import by, drawing, legend, line, only
from defenselib.seeds import generator

STEPS = {
    "unlearn": (style.ORANGE, "--", "unlearning"),
    "relearn": (style.GREEN, ":", "relearning"),
    "both": (style.BLUE, "-", "in turn"),
}
SCORES = {"spectral": "spectral", "sce": "DBD's loss", "loss-ascent": "ABL's loss", "fct": "FCT"}
CLASSES = (style.BLUE, style.GREEN, style.PURPLE, style.SKY, style.OCHRE, style.GREY)
MARKS = "osDv^<>phX"


@partial(drawing, titled=False)
def movement(ran: pd.DataFrame) -> Figure:
    """Figure 1: features of original (filled) and transformed (crosses) samples, apart and together."""
    places = _places(ran)
    figure, axes = grid(7.4, 2.9, 1, 3)
    for axis, shown in zip(axes.flat, (["original"], ["transformed"], ["original", "transformed"]), strict=True):
        _scatter(axis, places[places["version"].isin(shown)])
        axis.set_title(" and ".join(shown), fontsize=9.5)
    return figure


@partial(drawing, titled=False)
def clusters(ran: pd.DataFrame) -> Figure:
    """Figure 7: the backdoored models' features; poisoned samples black, clean ones coloured and marked by label."""
    figure, found = panels.panels(ran, "attack", most=2, height=3.1)
    for axis, part, _ in found:
        _scatter(axis, _places(part))
    return figure


def _places(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a point: sample, version, label, group, x, y."""
    placed = rows[rows["metric"].isin(["x", "y"])]
    index = ["sample", "version", "label", "group"]
    return placed.pivot(index=index, columns="metric", values="reproduced").reset_index()


def _scatter(axis: Axes, places: pd.DataFrame) -> None:
    numbers = {label: number for number, label in enumerate(sorted(places["label"].unique()))}
    for (label, group, version), mine in places.groupby(["label", "group", "version"]):
        number, poisoned = numbers[label], group == "poisoned"
        colour = style.BLACK if poisoned else CLASSES[number % len(CLASSES)]
        mark = "+" if version == "transformed" else "*" if poisoned else MARKS[number % len(MARKS)]
        axis.scatter(mine["x"], mine["y"], s=14, c=colour, marker=mark, linewidths=0.7, alpha=0.8)
    axis.set(xticks=[], yticks=[])
    axis.grid(False)


@partial(drawing, titled=False)
def histograms(ran: pd.DataFrame) -> Figure:
    """Figures 3 and 8: counts of clean and poisoned samples by FCT; a row an attack, before and after."""
    moments = [moment for moment in ("before", "after") if (ran["moment"] == moment).any()]
    figure, found = panels.histograms(ran, "moment", "attack", xlabel="FCT", height=1.9, across_values=moments)
    for axis, _, where in found:
        words = f"{style.label(where['attack'], 'attack')}, {where['moment']} the fine-tuning"
        axis.set_title(words, fontsize=9.5)
    return figure


@partial(drawing, titled=False, sweep=("score",))
def bars(ran: pd.DataFrame) -> Figure:
    """Figure 4: ACC and ASR of D-BR by the score that splits; a panel an attack."""
    figure, found = panels.panels(ran, "attack", most=2)
    for axis, part, _ in found:
        for shift, metric, colour, hatch in ((-0.2, "acc", style.BLUE, ""), (0.2, "asr", style.ORANGE, "//")):
            heights = only(part, metric=metric).set_index("score")["reproduced"].reindex(list(SCORES))
            axis.bar(np.arange(len(SCORES)) + shift, heights, 0.4, color=colour, label=metric.upper(), hatch=hatch)
        axis.set_xticks(range(len(SCORES)), list(SCORES.values()), rotation=20, fontsize=8)
        axis.set(ylabel="%", ylim=(0, 102))
    return legend(figure)


@partial(drawing, titled=False, sweep=("steps",))
def steps(ran: pd.DataFrame) -> Figure:
    """Figure 5: ACC (above) and ASR (below) by round; a column an attack."""
    columns = len(panels.names_of(ran, "attack"))
    figure, found = panels.panels(ran, "attack", "metric", width=max(5.6, 1.9 * columns + 1.6), height=2.1)
    for axis, part, where in found:
        for step, mine in by(part, "steps"):
            colour, dash, words = STEPS[step]
            line(axis, mine, "epoch", words, dash, color=colour)
        axis.set(ylim=panels.PERCENT, xlabel="round" if where["metric"] == "asr" else "")
    return legend(figure)


def _lines(ran: pd.DataFrame, names: Mapping[str, str], even: bool = False) -> Figure:
    """ACC and ASR by a hyper-parameter, one line an attack; a row for each of `names` (column: words). even: its values
    at equal distances."""
    figure, axes = grid(7.2, 2.6 * len(names) + 0.5, len(names), 2)
    for pair, (name, words) in zip(axes, names.items(), strict=True):
        some = ran[ran[name].notna()] if name in ran else ran[:0]
        ticks = sorted(panels.names_of(some, name))
        for axis, metric in zip(pair, ("acc", "asr"), strict=True):
            for attack, mine in by(only(some, metric=metric), "attack"):
                at = mine.assign(place=mine[name].map(ticks.index) if even else mine[name])
                line(axis, at, "place", style.label(attack, "attack"), **style.attack(attack))
            if even:
                axis.set_xticks(range(len(ticks)), [f"{tick:g}" for tick in ticks])
            axis.set(xlabel=words, ylabel=f"{metric.upper()} (%)", ylim=panels.PERCENT)
    return legend(figure)


@partial(drawing, titled=False, sweep=("first", "second"))
def pairs(ran: pd.DataFrame) -> Figure:
    """Figures 11 and 12: both precisions by first (row) and second (column) transformation."""
    kinds, order = ("clean_precision", "poison_precision"), list(TRANSFORMS)
    figure, found = panels.panels(ran, "metric", "attack", height=3.3, across_values=kinds)
    for axis, part, where in found:
        square = part.pivot(index="first", columns="second", values="reproduced")
        values = square.reindex(index=order, columns=order).to_numpy(dtype=float)
        axis.imshow(values, vmin=0, vmax=100, cmap="cividis")
        for (row, column), value in np.ndenumerate(values):
            colour = "#000000" if value > 55 else "#ffffff"
            axis.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color=colour)
        axis.set_xticks(range(len(order)), order, rotation=30, fontsize=8)
        axis.set_yticks(range(len(order)), order, fontsize=8)
        axis.grid(False)
        words = f"{style.label(where['attack'], 'attack')}: {where['metric'].replace('_', '-')} (%)"
        axis.set_title(words, fontsize=9.5)
        axis.set(xlabel="second", ylabel="first")
    return figure


def attacks(frame: pd.DataFrame, title: str = "") -> Figure:
    """Figure 9: a poisoned image of each attack, where it is in the store."""
    return examples.paper_figure("dst_dbr")


def transforms(frame: pd.DataFrame, title: str = "") -> Figure:
    """Figure 10: the six transformations on drawn images, and the pair that the paper uses."""
    images = load_dataset("shapes", limit=100).test.images[:7]
    rows = {"original": images}
    for name in [*TRANSFORMS, "rotate+affine"]:
        tau = named(tuple(name.split("+")))
        rows[name.replace("+", ",\nthen ")] = tau(images, draw(tau, len(images), generator(0, "figure-10", name)))
    return pictures.gallery({name: part.permute(0, 2, 3, 1).numpy() for name, part in rows.items()})


framework = diagram(__file__, "framework", titled=False)  # Figure 2
SHARES = {"clean_share": "clean share $\\alpha_c$", "poison_share": "poison share $\\alpha_p$"}
# Figure 6: D-ST by the weight of the second term of its classifier's loss.
weights = drawing(
    lambda ran: _lines(ran, {"poison_weight": "weight $\\lambda_p$"}, even=True), titled=False, sweep=("poison_weight",)
)
# Figure 13: D-BR by the two shares; in each row the other share is the usual one.
shares = drawing(lambda ran: _lines(ran, SHARES), titled=False, sweep=tuple(SHARES))
