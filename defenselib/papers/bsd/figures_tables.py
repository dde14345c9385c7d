"""The drawings of BSD's tables (Shen et al., ICML 2025), from tidy frames; none computes a result."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from defenselib.plots import style
from defenselib.plots.canvas import empty, fields, grid, smoke_words

Drawer = Callable[[pd.DataFrame, str], Figure]
LETTERS = 60  # that fit side by side under an axis


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


def legend(figure: Figure, axis: Axes, columns: int = 4) -> None:
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=columns)


def names_of(rows: pd.DataFrame, column: str) -> list[str]:
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
    places = {name: place for place, name in enumerate(names_of(ran, "setting"))}
    figure, axes = grid(7.2, 4.6, 2, 1)
    for metric, axis in zip(("acc", "asr"), axes.flat, strict=True):
        for attack in names_of(ran, "attack"):
            rows = ran[(ran["attack"] == attack) & (ran["metric"] == metric)]
            sign, x = style.attack(attack), rows["setting"].map(places)
            axis.plot(x, rows["published"], ls="", mfc=style.BACKGROUND, mec=sign["color"], marker=sign["marker"], ms=8)
            axis.plot(x, rows["reproduced"], ls="", ms=8, label=style.label(attack, "attack"), **sign)
        axis.set(ylabel=f"{metric.upper()} (%)", ylim=(-4, 104))
        axis.set_xticks(range(len(places)), list(places) if axis is axes.flat[-1] else [""] * len(places))
        # Long names of many settings would run into one another.
        axis.tick_params(axis="x", rotation=60 if len("".join(places)) > LETTERS else 0)
    legend(figure, axes.flat[0])
    return figure


def _hours(ran: pd.DataFrame) -> Figure:
    """Table 5: printed (hollow) and reproduced (filled) hours."""
    names = names_of(ran, "dataset")
    figure, axes = grid(7.2, 2.6, 1, 1)
    axis = axes.flat[0]
    for defense in names_of(ran, "defense"):
        rows = ran[ran["defense"] == defense]
        y, sign = rows["dataset"].map(names.index), style.method(defense)
        axis.plot(rows["published"], y, ls="", mfc=style.BACKGROUND, mec=sign["color"], marker=sign["marker"], ms=9)
        axis.plot(rows["reproduced"], y, ls="", ms=9, label=style.label(defense), **sign)
    axis.set(xscale="log", xlabel="hours", ylim=(len(names) - 0.5, -0.5))
    axis.set_yticks(range(len(names)), [style.label(name) for name in names])
    legend(figure, axis)
    return figure


def _isolation(ran: pd.DataFrame) -> Figure:
    """Table 8: poisoned samples among the isolated by length of the warm-up; a cross marks a wrong vote."""
    figure, axes = grid(7.2, 3.0, 1, 1)
    axis = axes.flat[0]
    for attack in names_of(ran, "attack"):
        mine = ran[ran["attack"] == attack]
        rows, votes = (mine[mine["metric"] == metric] for metric in ("count", "correct"))
        colour, x = style.attack(attack)["color"], rows["warmup_epochs"].astype(int)
        axis.plot(x, rows["published"], "--", color=colour, label=f"{style.label(attack, 'attack')}, printed")
        axis.plot(x, rows["reproduced"], "o-", color=colour, label=style.label(attack, "attack"))
        wrong = votes[votes["reproduced"] <= 0.5]["warmup_epochs"]
        missed = rows[rows["warmup_epochs"].isin(wrong)]
        axis.plot(missed["warmup_epochs"].astype(int), missed["reproduced"], "x", color=style.INK, ms=11)
    axis.set(xlabel="epochs of warm-up", ylabel="poisoned, isolated")
    legend(figure, axis, 2)
    return figure


def _found(ran: pd.DataFrame) -> Figure:
    """Table 11: whether the target was found, a mark for each attack and true target."""
    names = names_of(ran, "attack")
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


DRAWERS: dict[str, Drawer] = {
    "bsd-settings": drawing(_settings),
    "bsd-hours": drawing(_hours),
    "bsd-isolation": drawing(_isolation),
    "bsd-found": drawing(_found),
}
