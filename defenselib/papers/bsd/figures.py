"""The drawings of BSD's exhibits (Shen et al., ICML 2025), from tidy frames; none computes a result."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from defenselib.plots import panels as shared
from defenselib.plots import style
from defenselib.plots.canvas import grid, logarithmic, single
from defenselib.plots.diagrams import diagram
from defenselib.plots.panels import PERCENT, beside, by, drawing, histograms, legend, line, named, names_of, only

# What a table varies, and how its name stands before the value.
KNOBS = {"setting": "", "prune_ratio": "", "without": "without ", "alpha": "alpha ", "beta": "beta ", "gamma": "gamma "}
PARTS = {
    "a": ("(a) altruistic model, after its warm-up", "loss"),
    "b": ("(b) main model, after its warm-up", "distance to the nearest class"),
    "c": ("(c) difference of the losses, last epoch", "I(x, y)"),
    "d": ("(d) main model, last epoch", "loss"),
}
LENGTHS = {0.25: "a quarter", 0.5: "half", 1.0: "usual", 2.0: "twice"}
RULES = {"min": "nearest", "max": "farthest", "mean": "mean"}
LOOKS = {"psnr": "PSNR (dB)", "ssim": "SSIM", "linf": "largest change (of 255)"}
CURVES = {"poison": "I: poison in the pool (%)", "asr": "I: ASR (%)"}
CURVES |= {"rarest": "II: rarest class (% of an equal share)", "acc": "II: ACC (%)"}
COLLAPSES = {
    "nothing": ("BSD", style.BLACK, "-"),
    "init": ("without initialisation", style.ORANGE, "--"),
    "comp": ("without completion", style.GREEN, ":"),
}
BARS = {"acc": (style.BLUE, ""), "asr": (style.ORANGE, "////"), "ra": (style.GREEN, "....")}


def _listed(axis: Axes, rows: pd.DataFrame, column: str, shown: bool = True) -> dict[Any, int]:
    """The values of a column from above to below along y, and the place of each; shown: with their names."""
    names = names_of(rows, column)
    axis.set_yticks(range(len(names)), [named(name, column) if shown else "" for name in names])
    axis.set_ylim(len(names) - 0.5, -0.5)
    return {name: place for place, name in enumerate(names)}


def _setting(row: Mapping[str, Any]) -> str:
    """What distinguishes a row within its table: what is varied, else its target, else its rate."""
    varied = [f"{words}{named(row[name], name)}" for name, words in KNOBS.items() if pd.notna(row.get(name))]
    if varied:
        return ", ".join(varied)
    target = row["target"]
    return f"{row['poisoning_rate']:g}" if pd.isna(target) else f"{float(target):g}" if target != "average" else "mean"


settings = shared.settings(_setting)


@partial(drawing, printed=True)
def hours(ran: pd.DataFrame) -> Figure:
    """Table 5: printed (hollow) and reproduced (filled) hours."""
    figure, axis = single(7.2, 2.6)
    places = _listed(axis, ran, "dataset")
    for defense, rows in by(ran, "defense"):
        beside(axis, rows, rows["dataset"].map(places), style.method(defense), named(defense, "defense"), across=False)
    logarithmic(axis)
    axis.set_xlabel("hours")
    return legend(figure)


@partial(drawing, sweep=("warmup_epochs",), printed=True)
def isolation(ran: pd.DataFrame) -> Figure:
    """Table 8: poisoned samples among the isolated by length of the warm-up; a cross marks a wrong vote."""
    figure, axis = single(7.2, 3.0)
    for attack, mine in by(ran, "attack"):
        rows, votes = only(mine, metric="count"), only(mine, metric="correct")
        colour, words = style.attack(attack)["color"], named(attack, "attack")
        axis.plot(rows["warmup_epochs"], rows["published"], "--", color=colour, label=f"{words}, printed")
        if rows["reproduced"].notna().any():
            line(axis, rows, "warmup_epochs", words, "o-", color=colour)
        missed = rows[rows["warmup_epochs"].isin(votes[votes["reproduced"] <= 0.5]["warmup_epochs"])]
        axis.plot(missed["warmup_epochs"], missed["reproduced"], "x", color=style.INK, ms=11)
    axis.set(xlabel="epochs of warm-up", ylabel="poisoned, isolated")
    return legend(figure, 2)


@drawing
def found(ran: pd.DataFrame) -> Figure:
    """Table 11: whether the target was found, a mark for each attack and true target."""
    figure, axis = single(7.2, 1.2 + 0.4 * len(names_of(ran, "attack")))
    x, y = ran["target"].astype(float), ran["attack"].map(_listed(axis, ran, "attack"))
    for column, row, right in zip(x, y, ran["reproduced"] > 0.5, strict=True):
        axis.text(column, row, "✓" if right else "✗", ha="center", va="center")
    axis.set(xlabel="true target", xlim=(x.min() - 0.5, x.max() + 0.5), xticks=sorted(set(x)))
    return figure


@partial(drawing, sweep=("rate",))
def rates(ran: pd.DataFrame) -> Figure:
    """Figure 3: ACC and ASR by poisoning rate, a panel an attack."""
    figure, parts = shared.panels(ran, "attack")
    for axis, part, _ in parts:
        for defense, mine in by(part, "defense"):
            for metric, mark in (("acc", "-"), ("asr", "--")):
                words = f"{named(defense, 'defense')}, {metric.upper()}"
                line(axis, only(mine, metric=metric), "rate", words, mark, **style.method(defense))
        axis.set(xlabel="poisoning rate", ylim=PERCENT)
    parts[0][0].set_ylabel("%")
    return legend(figure)


@drawing
def looks(ran: pd.DataFrame) -> Figure:
    """Figure 4 in numbers: how far an image with the trigger is from the original, one bar an attack."""
    figure, axes = grid(7.6, 1.4 + 0.3 * len(names_of(ran, "attack")), 1, len(LOOKS))
    for (metric, words), axis in zip(LOOKS.items(), axes.flat, strict=True):
        places, rows = _listed(axis, ran, "attack", shown=axis is axes.flat[0]), only(ran, metric=metric)
        axis.barh(
            rows["attack"].map(places), rows["reproduced"], color=[style.attack(n)["color"] for n in rows["attack"]]
        )
        axis.set_xlabel(words)
    return figure


@partial(drawing, sweep=("without",))
def collapse(ran: pd.DataFrame) -> Figure:
    """Figure 5: poison in the pool and ASR, rarest class and ACC, by epoch, for BSD whole and without a part."""
    figure, parts = shared.panels(ran, "metric", most=2, across_values=list(CURVES))
    for axis, part, where in parts:
        for without, (words, colour, mark) in COLLAPSES.items():
            line(axis, only(part, without=without), "epoch", words, mark, color=colour)
        axis.set(title=CURVES[where["metric"]], xlabel="epoch")
    return legend(figure)


@drawing
def poison(ran: pd.DataFrame) -> Figure:
    """Figure 6: poisoned samples in the clean pool by epoch, and their running sum (dotted, right axis)."""
    figure, parts = shared.panels(ran, "rate", most=2, across_values=sorted(names_of(ran, "rate")))
    for axis, part, where in parts:
        total = axis.twinx()
        for defense, mine in by(part, "defense"):
            colour = style.method(defense)["color"]
            line(axis, only(mine, metric="count"), "epoch", named(defense, "defense"), color=colour)
            line(total, only(mine, metric="sum"), "epoch", "", ":", color=colour)
        axis.set(title=f"rate {where['rate']:g}", xlabel="epoch", ylabel="poison in the pool")
        total.set_ylabel("sum")
    return legend(figure)


@drawing
def panels(ran: pd.DataFrame) -> Figure:
    """Figure 7: losses and distances of clean and poisoned samples."""
    figure, parts = histograms(ran, "panel", most=2, titles={key: words for key, (words, _) in PARTS.items()})
    for axis, _, where in parts:
        axis.set_xlabel(PARTS[where["panel"]][1])
    return figure


@drawing
def distances(ran: pd.DataFrame) -> Figure:
    """Figure 8: distances of samples labelled as the target, a row a length of the warm-up, a column a rule."""
    figure, parts = histograms(ran, "rule", "length", width=7.6, height=2.5)
    for axis, part, where in parts:
        axis.set(title=f"{LENGTHS[where['length']]} ({part['note'].iloc[0]})", xlabel=f"{RULES[where['rule']]} class")
    return figure


@drawing
def every_class(ran: pd.DataFrame) -> Figure:
    """Figure 11: distances under all-to-all."""
    titles = {"badnets-all2all": "every class taken for the target"}
    return histograms(ran, "attack", xlabel="distance to the nearest class", titles=titles, width=3.8)[0]


@drawing
def votes(ran: pd.DataFrame) -> Figure:
    """Figure 9: the vote of each epoch (marks) and the majority so far (line), the truth as a grey line."""
    figure, parts = shared.panels(ran, "attack", most=2)
    for axis, part, _ in parts:
        truth = float(only(part, metric="truth")["reproduced"].iloc[0])
        axis.axhline(truth, color=style.GREY, lw=5, alpha=0.35, label="truth")
        line(axis, only(part, metric="vote"), "epoch", "vote of the epoch", "o", color=style.ORANGE)
        line(axis, only(part, metric="target"), "epoch", "majority so far", color=style.BLUE)
        axis.set(xlabel="epoch of the warm-up", ylabel="class", ylim=(-0.5, 9.5))
    return legend(figure)


@drawing
def forced(ran: pd.DataFrame) -> Figure:
    """Figure 10: ACC, ASR and RA by true target, where BSD is made to take class 3 for it."""
    figure, axis = single(7.2, 3.2)
    for place, (metric, (colour, hatch)) in enumerate(BARS.items()):
        rows = only(ran, metric=metric)
        x = rows["target"].astype(float) + 0.25 * (place - 1)
        axis.bar(x, rows["reproduced"], 0.25, color=colour, hatch=hatch, label=metric.upper())
    axis.set(xlabel="true target", ylabel="%", ylim=(0, 104), xticks=sorted(set(ran["target"].astype(int))))
    return legend(figure)


backdoor, overview = diagram(__file__, "backdoor"), diagram(__file__, "overview")
