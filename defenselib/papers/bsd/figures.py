"""The drawings of BSD's figures (Shen et al., ICML 2025), from tidy frames; none computes a result."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from defenselib.papers.bsd.figures_tables import Drawer, drawing, legend, names_of
from defenselib.plots import style
from defenselib.plots.canvas import grid, group_histograms, leave_empty

PANELS = {
    "a": ("(a) altruistic model, after its warm-up", "loss"),
    "b": ("(b) main model, after its warm-up", "distance to the nearest class"),
    "c": ("(c) difference of the losses, last epoch", "I(x, y)"),
    "d": ("(d) main model, last epoch", "loss"),
}
LENGTHS = {"0.25": "a quarter", "0.5": "half", "1": "usual", "2": "twice"}
RULES = {"min": "nearest", "max": "farthest", "mean": "mean"}
LOOKS = {"psnr": "PSNR (dB)", "ssim": "SSIM", "linf": "largest change (of 255)"}
COLLAPSES = {"nothing": (style.BLACK, "-"), "init": (style.ORANGE, "--"), "comp": (style.GREEN, ":")}


def _rates(ran: pd.DataFrame) -> Figure:
    """Figure 3: ACC and ASR by poisoning rate, a panel an attack."""
    names = names_of(ran, "attack")
    figure, axes = grid(7.6, 3.2, 1, len(names))
    for attack, axis in zip(names, axes.flat, strict=True):
        for defense in names_of(ran, "defense"):
            for metric, line in (("acc", "-"), ("asr", "--")):
                rows = ran[(ran["attack"] == attack) & (ran["defense"] == defense) & (ran["metric"] == metric)]
                words = f"{style.label(defense)}, {metric.upper()}"
                axis.plot(rows["rate"].astype(float), rows["reproduced"], line, label=words, **style.method(defense))
        axis.set(title=style.label(attack, "attack"), xlabel="poisoning rate", ylim=(-4, 104))
    axes.flat[0].set_ylabel("%")
    legend(figure, axes.flat[0])
    return figure


def _looks(ran: pd.DataFrame) -> Figure:
    """Figure 4 in numbers: how far an image with the trigger is from the original, one bar an attack."""
    names = names_of(ran, "attack")
    figure, axes = grid(7.6, 1.4 + 0.3 * len(names), 1, len(LOOKS))
    for (metric, words), axis in zip(LOOKS.items(), axes.flat, strict=True):
        rows = ran[ran["metric"] == metric].set_index("attack")["reproduced"].reindex(names)
        axis.barh(range(len(names)), rows, color=[style.attack(name)["color"] for name in names])
        shown = [style.label(name, "attack") for name in names] if axis is axes.flat[0] else [""] * len(names)
        axis.set_yticks(range(len(names)), shown)
        axis.set(xlabel=words, ylim=(len(names) - 0.5, -0.5))
    return figure


def _by_epoch(axis: Axes, rows: pd.DataFrame, line: str, colour: str, words: str) -> None:
    axis.plot(rows["epoch"].astype(int), rows["reproduced"], line, color=colour, label=words)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))


def _collapse(ran: pd.DataFrame) -> Figure:
    """Figure 5: poison in the pool and ASR, rarest class and ACC, by epoch, for BSD whole and without a part."""
    panels = {"poison": "I: poison in the pool (%)", "asr": "I: ASR (%)"}
    panels |= {"rarest": "II: rarest class (% of an equal share)", "acc": "II: ACC (%)"}
    figure, axes = grid(7.2, 5.0, 2, 2)
    for (metric, words), axis in zip(panels.items(), axes.flat, strict=True):
        for part, (colour, line) in COLLAPSES.items():
            rows = ran[(ran["without"] == part) & (ran["metric"] == metric)]
            name = {"nothing": "BSD", "init": "without initialisation", "comp": "without completion"}[part]
            _by_epoch(axis, rows, line, colour, name)
        axis.set(title=words, xlabel="epoch")
    legend(figure, axes.flat[0])
    return figure


def _poison(ran: pd.DataFrame) -> Figure:
    """Figure 6: poisoned samples in the clean pool by epoch, and their running sum (dotted, right axis)."""
    rates = sorted(set(ran["rate"]), key=float)
    figure, axes = grid(7.6, 2.7 * -(-len(rates) // 2), -(-len(rates) // 2), min(2, len(rates)))
    for rate, axis in zip(rates, axes.flat, strict=False):
        total = axis.twinx()
        for defense in names_of(ran, "defense"):
            mine = ran[(ran["rate"] == rate) & (ran["defense"] == defense)]
            colour = style.method(defense)["color"]
            _by_epoch(axis, mine[mine["metric"] == "count"], "-", colour, style.label(defense))
            _by_epoch(total, mine[mine["metric"] == "sum"], ":", colour, "")
        axis.set(title=f"rate {rate}", xlabel="epoch", ylabel="poison in the pool")
        total.set_ylabel("sum")
    leave_empty(axes, len(rates))
    legend(figure, axes.flat[0])
    return figure


def _histograms(ran: pd.DataFrame, panels: Sequence[tuple[str, str, pd.Series]], columns: int) -> Figure:
    """One panel for each (title, label of the x axis, mask of rows)."""
    lines = -(-len(panels) // columns)
    figure, axes = grid(min(7.6, 3.8 * columns), 2.5 * lines, lines, columns)
    for (title, label, mask), axis in zip(panels, axes.flat, strict=False):
        group_histograms(axis, ran[mask & (ran["metric"] == "count")])
        axis.set(title=title, xlabel=label, ylabel="samples" if axis in axes[:, 0] else "")
    legend(figure, axes.flat[0])
    return figure


def _panels(ran: pd.DataFrame) -> Figure:
    return _histograms(ran, [(words, label, ran["panel"] == key) for key, (words, label) in PANELS.items()], 2)


def _distances(ran: pd.DataFrame) -> Figure:
    panels = []
    for length, words in LENGTHS.items():
        for rule, kind in RULES.items():
            mask = (ran["length"] == length) & (ran["rule"] == rule)
            if mask.any():
                panels.append((f"{words} ({ran.loc[mask, 'epochs'].iloc[0]} epochs)", f"{kind} class", mask))
    return _histograms(ran, panels, len(RULES))


def _every_class(ran: pd.DataFrame) -> Figure:
    return _histograms(
        ran, [("every class taken for the target", "distance to the nearest class", ran["panel"] == "a")], 1
    )


def _votes(ran: pd.DataFrame) -> Figure:
    """Figure 9: the vote of each epoch (marks) and the majority so far (line), the truth as a grey line."""
    names = names_of(ran, "attack")
    figure, axes = grid(7.6, 2.6 * -(-len(names) // 2), -(-len(names) // 2), min(2, len(names)))
    for attack, axis in zip(names, axes.flat, strict=False):
        mine = ran[ran["attack"] == attack]
        truth, votes, majority = (mine[mine["metric"] == metric] for metric in ("truth", "vote", "target"))
        axis.axhline(float(truth["reproduced"].iloc[0]), color=style.GREY, lw=5, alpha=0.35, label="truth")
        axis.plot(votes["epoch"].astype(int), votes["reproduced"], "o", color=style.ORANGE, label="vote of the epoch")
        _by_epoch(axis, majority, "-", style.BLUE, "majority so far")
        axis.set(title=style.label(attack, "attack"), xlabel="epoch of the warm-up", ylabel="class", ylim=(-0.5, 9.5))
    leave_empty(axes, len(names))
    legend(figure, axes.flat[0])
    return figure


def _forced(ran: pd.DataFrame) -> Figure:
    """Figure 10: ACC, ASR and RA by true target, where BSD is made to take class 3 for it."""
    figure, axes = grid(7.2, 3.2, 1, 1)
    axis = axes.flat[0]
    offsets = {"acc": (-0.25, style.BLUE, ""), "asr": (0.0, style.ORANGE, "////"), "ra": (0.25, style.GREEN, "....")}
    seen = ran["variant"].str.removeprefix("target=").astype(int)
    for metric, (shift, colour, hatch) in offsets.items():
        rows = ran["metric"] == metric
        axis.bar(seen[rows] + shift, ran.loc[rows, "reproduced"], 0.25, color=colour, hatch=hatch, label=metric.upper())
    axis.set(xlabel="true target", ylabel="%", ylim=(0, 104), xticks=np.unique(seen))
    legend(figure, axis)
    return figure


DRAWERS: dict[str, Drawer] = {
    "bsd-rates": drawing(_rates),
    "bsd-looks": drawing(_looks),
    "bsd-collapse": drawing(_collapse),
    "bsd-poison": drawing(_poison),
    "bsd-panels": drawing(_panels),
    "bsd-distances": drawing(_distances),
    "bsd-votes": drawing(_votes),
    "bsd-forced": drawing(_forced),
    "bsd-every-class": drawing(_every_class),
}
