"""Drawings of A-ABL's figures (Zhao and Wressnegger, AISec 2024). Each takes a tidy frame; none computes a result."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from defenselib.plots import style
from defenselib.plots.canvas import empty, fields, grid, group_histograms, leave_empty, smoke_words

AXES = {"rate": "poisoning rate", "eps": "budget (grey levels of 255)", "steps": "steps"}
NUMBERS = {"asr": "ASR (%)", "ra": "RA (%)", "resists": "poison that keeps its label (%)"}
PANELS = {
    "sce": "SCE under iFGSM",
    "ce": "CE under iFGSM",
    "plain": "samples as they are",
    "ifgsm": "under iFGSM (2/255)",
    "pgd": "under PGD (8/255)",
    "accuracy": "accuracy",
}


def lines(frame: pd.DataFrame, title: str = "") -> Figure:
    """A number against rate, budget or steps, one colour and marker an attack; ASR dashed where RA stands beside it."""
    ran = _parts(frame)
    with style.look():
        if ran.empty:
            return empty(title)
        (name,) = (name for name in AXES if name in ran)
        metrics = list(dict.fromkeys(ran["metric"]))
        figure, axes = grid(7.2, 3.9, 1, 1)
        axis = axes.flat[0]
        for attack in dict.fromkeys(ran["attack"]):
            for metric in metrics:
                mine = ran[(ran["attack"] == attack) & (ran["metric"] == metric)]
                mine = mine.assign(x=mine[name].astype(float)).sort_values("x")
                line = "--" if metric == "asr" and len(metrics) > 1 else "-"
                words = style.label(attack, "attack") if metric == metrics[0] else None
                axis.plot(mine["x"], mine["reproduced"], line, label=words, **style.attack(attack))
        if name != "eps":
            axis.set_xscale("log")
        ticks = sorted(set(ran[name].astype(float)))
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
        axis.minorticks_off()
        said = " and ".join(NUMBERS[m] + (", dashed" if m == "asr" and len(metrics) > 1 else "") for m in metrics)
        axis.set(xlabel=AXES[name], ylabel=said, ylim=(-4, 104), title=title + smoke_words(ran))
        figure.legend(loc="outside right upper")
        return figure


def histograms(frame: pd.DataFrame, title: str = "") -> Figure:
    """Counts of clean and poisoned samples per loss: a row an attack, a column a panel; a line where Otsu cuts."""
    ran = _parts(frame)
    counts = ran[ran["metric"] == "count"] if len(ran) else ran
    with style.look():
        if counts.empty:
            return empty(title)
        attacks, panels = (list(dict.fromkeys(counts[name])) for name in ("attack", "panel"))
        # One panel an attack fills two columns; several stand side by side.
        wide = max(2, len(panels))
        rows = -(-len(attacks) * len(panels) // wide)
        figure, axes = grid(7.2, 0.6 + 1.9 * rows, rows, wide)
        for axis, (attack, panel) in zip(axes.flat, [(a, p) for a in attacks for p in panels], strict=False):
            mine = ran[(ran["attack"] == attack) & (ran["panel"] == panel)]
            group_histograms(axis, mine[mine["metric"] == "count"])
            for cut in mine.loc[mine["metric"] == "cut", "reproduced"]:
                axis.axvline(cut, color=style.INK, linestyle=":", label="Otsu's cut")
            axis.set_title(f"{style.label(attack, 'attack')}: {PANELS[panel]}", fontsize=10)
        leave_empty(axes, len(attacks) * len(panels))
        handles, labels = axes.flat[0].get_legend_handles_labels()
        for axis in axes.flat[1 : len(attacks) * len(panels)]:
            more = dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
            handles += [more[name] for name in more if name not in labels]
            labels += [name for name in more if name not in labels]
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        figure.suptitle(smoke_words(counts).strip())
        return figure


def losses(frame: pd.DataFrame, title: str = "") -> Figure:
    """Loss of clean and poisoned samples by epoch, a column a panel (accuracies too), a row a poisoning rate."""
    ran = _parts(frame)
    with style.look():
        if ran.empty:
            return empty(title)
        if "rate" not in ran:
            ran = ran.assign(rate="")
        rates, panels = (list(dict.fromkeys(ran[name])) for name in ("rate", "panel"))
        figure, axes = grid(7.2, 0.8 + 2.4 * len(rates), len(rates), len(panels))
        for line, rate in zip(axes, rates, strict=True):
            for axis, panel in zip(line, panels, strict=True):
                _course(axis, ran[(ran["rate"] == rate) & (ran["panel"] == panel)])
                words = f"{float(rate):.0%} poison, " if rate else ""
                axis.set(title=words + PANELS[panel], xlabel="epoch")
                axis.set_ylabel("percent" if panel == "accuracy" else "cross-entropy")
                axis.legend()
        figure.suptitle(smoke_words(ran).strip())
        return figure


def _course(axis: Axes, ran: pd.DataFrame) -> None:
    for metric in dict.fromkeys(ran["metric"]):
        for group in dict.fromkeys(ran["group"].fillna("")):
            mine = ran[(ran["metric"] == metric) & (ran["group"].fillna("") == group)]
            colour = style.GROUPS.get(group, style.BLUE if metric == "acc" else style.GREEN)
            dashed = group == "poisoned" or metric == "ra"
            axis.plot(
                mine["epoch"].astype(int),
                mine["reproduced"],
                "--" if dashed else "-",
                color=colour,
                label=group or metric.upper(),
            )
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_ylim(bottom=0)


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
        figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        figure.suptitle(title)
        return figure


def _parts(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that were run, with the parts of their variant as columns."""
    ran = frame[frame["reproduced"].notna()]
    if ran.empty:
        return ran
    parts = pd.DataFrame([fields(variant) for variant in ran["variant"]], index=ran.index)
    kept = ran[["attack", "metric", "reproduced", "profile"]]
    found = pd.concat([kept, parts], axis=1)
    return found if "group" in found else found.assign(group="")
