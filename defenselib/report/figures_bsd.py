"""The drawings of BSD's tables and figures (Shen et al., ICML 2025), from tidy frames; none computes a result."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from defenselib.report import style
from defenselib.report.canvas import empty, fields, grid, group_histograms, smoke_words

Drawer = Callable[[pd.DataFrame, str], Figure]
PANELS = {
    "a": ("(a) altruistic model, after its warm-up", "loss"),
    "b": ("(b) main model, after its warm-up", "distance to the nearest class"),
    "c": ("(c) difference of the losses, last epoch", "I(x, y)"),
    "d": ("(d) main model, last epoch", "loss"),
}
LENGTHS = {"0.25": "a quarter", "0.5": "half", "1": "usual", "2": "twice"}
RULES = {"min": "nearest", "max": "farthest", "mean": "mean"}
LOOKS = {"psnr": "PSNR (dB)", "ssim": "SSIM", "linf": "largest change (of 255)"}
LETTERS = 60  # that fit side by side under an axis
COLLAPSES = {"nothing": (style.BLACK, "-"), "init": (style.ORANGE, "--"), "comp": (style.GREEN, ":")}


def drawing(body: Callable[[pd.DataFrame], Figure]) -> Drawer:
    """A drawer that gives `body` the rows that were run, with what their variant says as columns."""

    def draw(frame: pd.DataFrame, title: str = "") -> Figure:
        ran = frame[frame["reproduced"].notna()]
        with style.look():
            if ran.empty:
                return empty(title)
            said = pd.DataFrame([fields(variant) for variant in ran["variant"]], index=ran.index)
            figure = body(pd.concat([ran, said[said.columns.difference(ran.columns)]], axis=1))
            figure.suptitle(textwrap.fill(title, 70) + smoke_words(ran))
            return figure

    return draw


def _legend(figure: Figure, axis: Axes, columns: int = 4) -> None:
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=columns)


def _names(rows: pd.DataFrame, column: str) -> list[str]:
    return [str(name) for name in dict.fromkeys(rows[column].dropna())]


def _setting(row: pd.Series) -> str:
    """What distinguishes a row within its table: its variant, target or rate."""
    if isinstance(row["variant"], str) and not row["variant"].startswith("trigger="):
        return re.sub(r"(setting|prune_ratio)=", "", row["variant"]).replace(";", ", ").replace("=", " ")
    target = row["target"]
    return f"{row['poisoning_rate']:g}" if pd.isna(target) else f"{float(target):g}" if target != "average" else "mean"


def _settings(ran: pd.DataFrame) -> Figure:
    """Tables by setting: printed (hollow) and reproduced (filled) ACC and ASR, one colour an attack."""
    ran = ran.assign(setting=[_setting(row) for _, row in ran.iterrows()])
    places = {name: place for place, name in enumerate(_names(ran, "setting"))}
    figure, axes = grid(7.2, 4.6, 2, 1)
    for metric, axis in zip(("acc", "asr"), axes.flat, strict=True):
        for attack in _names(ran, "attack"):
            rows = ran[(ran["attack"] == attack) & (ran["metric"] == metric)]
            sign, x = style.attack(attack), rows["setting"].map(places)
            axis.plot(x, rows["published"], ls="", mfc=style.BACKGROUND, mec=sign["color"], marker=sign["marker"], ms=8)
            axis.plot(x, rows["reproduced"], ls="", ms=8, label=style.label(attack, "attack"), **sign)
        axis.set(ylabel=f"{metric.upper()} (%)", ylim=(-4, 104))
        axis.set_xticks(range(len(places)), list(places) if axis is axes.flat[-1] else [""] * len(places))
        # Long names of many settings would run into one another.
        axis.tick_params(axis="x", rotation=60 if len("".join(places)) > LETTERS else 0)
    _legend(figure, axes.flat[0])
    return figure


def _hours(ran: pd.DataFrame) -> Figure:
    """Table 5: printed (hollow) and reproduced (filled) hours."""
    names = _names(ran, "dataset")
    figure, axes = grid(7.2, 2.6, 1, 1)
    axis = axes.flat[0]
    for defense in _names(ran, "defense"):
        rows = ran[ran["defense"] == defense]
        y, sign = rows["dataset"].map(names.index), style.method(defense)
        axis.plot(rows["published"], y, ls="", mfc=style.BACKGROUND, mec=sign["color"], marker=sign["marker"], ms=9)
        axis.plot(rows["reproduced"], y, ls="", ms=9, label=style.label(defense), **sign)
    axis.set(xscale="log", xlabel="hours", ylim=(len(names) - 0.5, -0.5))
    axis.set_yticks(range(len(names)), [style.label(name) for name in names])
    _legend(figure, axis)
    return figure


def _isolation(ran: pd.DataFrame) -> Figure:
    """Table 8: poisoned samples among the isolated by length of the warm-up; a cross marks a wrong vote."""
    figure, axes = grid(7.2, 3.0, 1, 1)
    axis = axes.flat[0]
    for attack in _names(ran, "attack"):
        mine = ran[ran["attack"] == attack]
        rows, votes = (mine[mine["metric"] == metric] for metric in ("count", "correct"))
        colour, x = style.attack(attack)["color"], rows["warmup_epochs"].astype(int)
        axis.plot(x, rows["published"], "--", color=colour, label=f"{style.label(attack, 'attack')}, printed")
        axis.plot(x, rows["reproduced"], "o-", color=colour, label=style.label(attack, "attack"))
        wrong = votes[votes["reproduced"] <= 0.5]["warmup_epochs"]
        missed = rows[rows["warmup_epochs"].isin(wrong)]
        axis.plot(missed["warmup_epochs"].astype(int), missed["reproduced"], "x", color=style.INK, ms=11)
    axis.set(xlabel="epochs of warm-up", ylabel="poisoned, isolated")
    _legend(figure, axis, 2)
    return figure


def _found(ran: pd.DataFrame) -> Figure:
    """Table 11: whether the target was found, a mark for each attack and true target."""
    names = _names(ran, "attack")
    targets = sorted({float(target) for target in ran["target"]})
    figure, axes = grid(7.2, 1.2 + 0.4 * len(names), 1, 1)
    axis = axes.flat[0]
    for _, row in ran.iterrows():
        right = row["reproduced"] > 0.5
        axis.text(float(row["target"]), names.index(row["attack"]), "✓" if right else "✗", ha="center", va="center")
    axis.set(xlabel="true target", xlim=(min(targets) - 0.5, max(targets) + 0.5), ylim=(len(names) - 0.5, -0.5))
    axis.set_yticks(range(len(names)), [style.label(name, "attack") for name in names])
    axis.set_xticks(targets)
    return figure


def _rates(ran: pd.DataFrame) -> Figure:
    """Figure 3: ACC and ASR by poisoning rate, a panel an attack."""
    names = _names(ran, "attack")
    figure, axes = grid(7.6, 3.2, 1, len(names))
    for attack, axis in zip(names, axes.flat, strict=True):
        for defense in _names(ran, "defense"):
            for metric, line in (("acc", "-"), ("asr", "--")):
                rows = ran[(ran["attack"] == attack) & (ran["defense"] == defense) & (ran["metric"] == metric)]
                words = f"{style.label(defense)}, {metric.upper()}"
                axis.plot(rows["rate"].astype(float), rows["reproduced"], line, label=words, **style.method(defense))
        axis.set(title=style.label(attack, "attack"), xlabel="poisoning rate", ylim=(-4, 104))
    axes.flat[0].set_ylabel("%")
    _legend(figure, axes.flat[0])
    return figure


def _looks(ran: pd.DataFrame) -> Figure:
    """Figure 4 in numbers: how far an image with the trigger is from the original, one bar an attack."""
    names = _names(ran, "attack")
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
    _legend(figure, axes.flat[0])
    return figure


def _poison(ran: pd.DataFrame) -> Figure:
    """Figure 6: poisoned samples in the clean pool by epoch, and their running sum (dotted, right axis)."""
    rates = sorted(set(ran["rate"]), key=float)
    figure, axes = grid(7.6, 2.7 * -(-len(rates) // 2), -(-len(rates) // 2), min(2, len(rates)))
    for rate, axis in zip(rates, axes.flat, strict=False):
        total = axis.twinx()
        for defense in _names(ran, "defense"):
            mine = ran[(ran["rate"] == rate) & (ran["defense"] == defense)]
            colour = style.method(defense)["color"]
            _by_epoch(axis, mine[mine["metric"] == "count"], "-", colour, style.label(defense))
            _by_epoch(total, mine[mine["metric"] == "sum"], ":", colour, "")
        axis.set(title=f"rate {rate}", xlabel="epoch", ylabel="poison in the pool")
        total.set_ylabel("sum")
    for axis in axes.flat[len(rates) :]:
        axis.axis("off")
    _legend(figure, axes.flat[0])
    return figure


def _histograms(ran: pd.DataFrame, panels: Sequence[tuple[str, str, pd.Series]], columns: int) -> Figure:
    """One panel for each (title, label of the x axis, mask of rows)."""
    lines = -(-len(panels) // columns)
    figure, axes = grid(min(7.6, 3.8 * columns), 2.5 * lines, lines, columns)
    for (title, label, mask), axis in zip(panels, axes.flat, strict=False):
        group_histograms(axis, ran[mask & (ran["metric"] == "count")].assign(count=ran["reproduced"]))
        axis.set(title=title, xlabel=label, ylabel="samples" if axis in axes[:, 0] else "")
    _legend(figure, axes.flat[0])
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
    names = _names(ran, "attack")
    figure, axes = grid(7.6, 2.6 * -(-len(names) // 2), -(-len(names) // 2), min(2, len(names)))
    for attack, axis in zip(names, axes.flat, strict=False):
        mine = ran[ran["attack"] == attack]
        truth, votes, majority = (mine[mine["metric"] == metric] for metric in ("truth", "vote", "target"))
        axis.axhline(float(truth["reproduced"].iloc[0]), color=style.GREY, lw=5, alpha=0.35, label="truth")
        axis.plot(votes["epoch"].astype(int), votes["reproduced"], "o", color=style.ORANGE, label="vote of the epoch")
        _by_epoch(axis, majority, "-", style.BLUE, "majority so far")
        axis.set(title=style.label(attack, "attack"), xlabel="epoch of the warm-up", ylabel="class", ylim=(-0.5, 9.5))
    for axis in axes.flat[len(names) :]:
        axis.axis("off")
    _legend(figure, axes.flat[0])
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
    _legend(figure, axis)
    return figure


DRAWERS: dict[str, Drawer] = {
    "bsd-settings": drawing(_settings),
    "bsd-hours": drawing(_hours),
    "bsd-isolation": drawing(_isolation),
    "bsd-found": drawing(_found),
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
