"""Drawings of A-ABL's figures (Zhao and Wressnegger, AISec 2024)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from defenselib.plots import panels, style
from defenselib.plots.canvas import grid, single
from defenselib.plots.panels import PERCENT, Drawer, by, drawing, legend, names_of, only

AXES = {"poisoning_rate": "poisoning rate", "eps": "budget (grey levels of 255)", "steps": "steps"}
NUMBERS = {"asr": "ASR (%)", "ra": "RA (%)", "resists": "poison that keeps its label (%)"}
PANELS = {
    "sce": "SCE under iFGSM",
    "ce": "CE under iFGSM",
    "plain": "samples as they are",
    "ifgsm": "under iFGSM (2/255)",
    "pgd": "under PGD (8/255)",
    "accuracy": "accuracy",
}


def lines(axis: str) -> Drawer:
    """Figures 2, 3, 5, 6 and 7: a number against rate, budget or steps, one colour and marker an attack; ASR dashed
    where RA stands beside it."""

    def body(ran: pd.DataFrame) -> Figure:
        metrics = names_of(ran, "metric")
        dashed = {"asr"} if len(metrics) > 1 else set()
        figure, place = single(7.2, 3.9)
        for attack, rows in by(ran, "attack"):
            for metric, mine in by(rows, "metric"):
                words = panels.named(attack, "attack") if metric == metrics[0] else ""
                panels.line(
                    place, mine, axis, words, **style.attack(attack), style_of="--" if metric in dashed else "-"
                )
        if axis != "eps":
            place.set_xscale("log")
        ticks = sorted(set(ran[axis]))
        place.set_xticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
        place.minorticks_off()
        said = " and ".join(NUMBERS[name] + (", dashed" if name in dashed else "") for name in metrics)
        place.set(xlabel=AXES[axis], ylabel=said, ylim=PERCENT)
        return legend(figure)

    return drawing(body, sweep=(axis,))


@drawing
def histograms(ran: pd.DataFrame) -> Figure:
    """Figures 4, 9 and 11: counts of clean and poisoned samples per loss; a line where Otsu cuts."""
    counts = only(ran, metric="count")
    pairs = counts["attack"].astype(str) + "/" + counts["panel"]
    figure, found = panels.histograms(counts.assign(where=pairs), "where", most=2, height=1.9)
    for axis, rows, _ in found:
        attack, panel = str(rows["attack"].iloc[0]), str(rows["panel"].iloc[0])
        for cut in only(ran, attack=attack, panel=panel, metric="cut")["reproduced"]:
            axis.axvline(cut, color=style.INK, linestyle=":")
        axis.set_title(f"{panels.named(attack, 'attack')}: {PANELS[panel]}", fontsize=10)
    return figure


@drawing
def losses(ran: pd.DataFrame) -> Figure:
    """Figures 8 and 10: loss of clean and poisoned samples by epoch (accuracies too), a row a poisoning rate."""
    shown = ran.assign(poisoning_rate=ran["poisoning_rate"].fillna(0.1))
    figure, found = panels.panels(shown, "panel", "poisoning_rate", height=2.4)
    for axis, rows, where in found:
        for metric, mine in by(rows, "metric"):
            for group, part in by(mine.fillna({"group": ""}), "group") if "group" in mine else [("", mine)]:
                colour = style.GROUPS.get(group, style.BLUE if metric == "acc" else style.GREEN)
                dash = "--" if group == "poisoned" or metric == "ra" else "-"
                panels.line(axis, part, "epoch", group or str(metric).upper(), dash, color=colour)
        axis.set(title=f"{where['poisoning_rate']:.0%} poison, {PANELS[where['panel']]}", xlabel="epoch")
        axis.set_ylabel("percent" if where["panel"] == "accuracy" else "cross-entropy")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_ylim(bottom=0)
        axis.legend()
    return figure


def categories(frame: pd.DataFrame, title: str = "") -> Figure:
    """Figure 1, redrawn: poison far from the border (category A), and near it like everything else (category B)."""
    first = np.array([[0.9, 3.1], [1.6, 2.2], [0.8, 1.3], [2.0, 3.4], [1.5, 0.7]])
    second = np.array([[4.3, 3.2], [5.1, 2.3], [4.2, 1.1], [5.0, 0.8], [3.9, 2.1]])
    poison = {"category A": np.array([[5.7, 3.4], [5.9, 1.7]]), "category B": np.array([[3.5, 1.6], [3.55, 2.9]])}
    with style.look():
        figure, axes = grid(7.2, 3.1, 1, 2)
        for axis, (name, points) in zip(axes.flat, poison.items(), strict=True):
            axis.plot(*first.T, "o", color=style.BLUE, label="clean, class 1")
            axis.plot(*second.T, "x", color=style.GREEN, ms=8, mew=2, label="clean, target class")
            axis.plot(*points.T, marker="$\\otimes$", color=style.ORANGE, ms=13, ls="", label="poisoned")
            for x, y in points:
                box = Rectangle((x - 0.6, y - 0.6), 1.2, 1.2, fill=False, ls="--", ec=style.INK)
                axis.add_patch(box)
            axis.axvline(3.1, color=style.INK)
            axis.set(title=name, xlim=(0, 6.8), ylim=(0, 4.2), xticks=[], yticks=[], aspect="equal")
            axis.grid(False)
        legend(figure, 3)
        figure.suptitle(title)
        return figure
