"""V&B's drawings (Zhu et al., ICCV 2023): Figures 1, 3, 4, 5, 6 from results, and its tables of variants."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from defenselib.defenses.vab_victim import Mixture
from defenselib.plots import style
from defenselib.plots.canvas import empty, fields, grid, leave_empty, smoke_words
from defenselib.report import gallery

MARKERS = ("o", "s", "^", "D", "v", "*")
COLOURS = (style.BLACK, style.OCHRE, style.GREEN, style.SKY, style.PURPLE, style.ORANGE)
COMPONENTS = {"suspicious": (style.ORANGE, "--"), "credible": (style.GREEN, ":")}


def variants(frame: pd.DataFrame, title: str = "") -> Figure:
    """A row an attack, a mark a variant of the method; printed hollow, reproduced filled; ACC and ASR side by side."""
    ran = frame[frame["reproduced"].notna()]
    with style.look():
        if ran.empty:
            return empty(title)
        names = list(dict.fromkeys(ran["attack"]))
        kinds = list(dict.fromkeys(ran["variant"].astype(object).fillna("")))
        figure, axes = grid(7.2, 1.8 + 0.2 * len(names) * len(kinds), 1, 2)
        for metric, axis in zip(("acc", "asr"), axes.flat, strict=True):
            part = ran[ran["metric"] == metric]
            for row in part.to_dict("records"):
                rank = kinds.index("" if pd.isna(row["variant"]) else row["variant"])
                y = names.index(row["attack"]) + 0.7 * ((rank + 0.5) / len(kinds) - 0.5)
                look = {"marker": MARKERS[rank % 6], "color": COLOURS[rank % 6], "ls": "", "ms": 7}
                axis.plot([row["published"], row["reproduced"]], [y, y], color=style.GRID, zorder=1)
                axis.plot(row["published"], y, **{**look, "mfc": style.BACKGROUND})
                axis.plot(row["reproduced"], y, **look)
            axis.set_yticks(range(len(names)), [style.label(str(name), "attack") for name in names])
            axis.set(title=metric.upper(), xlabel="%", xlim=(-4, 104), ylim=(len(names) - 0.5, -0.5))
        words = [text.partition("=")[2] or style.label("none") for text in kinds]
        marks = [
            Line2D([], [], marker=MARKERS[i % 6], color=COLOURS[i % 6], ls="", ms=7, label=word)
            for i, word in enumerate(words)
        ]
        figure.legend(handles=marks, loc="outside lower center", ncols=3)
        figure.suptitle((title + smoke_words(ran)).strip())
        return figure


def entropies(frame: pd.DataFrame, title: str = "") -> Figure:
    """Figure 1: mean entropy of benign and poisoned samples after every epoch of the warm-up, a panel an attack."""
    ran = frame[(frame["metric"] == "entropy") & frame["reproduced"].notna()]
    with style.look():
        if ran.empty:
            return empty(title)
        names = list(dict.fromkeys(ran["attack"]))
        lines = -(-len(names) // 3)
        figure, axes = grid(7.2, 0.9 + 2.1 * lines, lines, 3)
        leave_empty(axes, len(names))
        for name, axis in zip(names, axes.flat, strict=False):
            rows = ran[ran["attack"] == name]
            parts = pd.DataFrame([fields(variant) for variant in rows["variant"]], index=rows.index)
            for group, colour, mark in (("benign", style.BLUE, "o-"), ("poisoned", style.ORANGE, "s--")):
                mine = parts["group"] == group
                axis.plot(parts["epoch"][mine].astype(int), rows["reproduced"][mine], mark, color=colour, label=group)
            axis.set(title=style.label(str(name), "attack"), xlabel="epoch of the Victim", ylabel="entropy (nats)")
            axis.set_xticks(sorted(parts["epoch"].astype(int).unique()))
            axis.set_ylim(bottom=0)
        axes.flat[0].legend()
        figure.suptitle((title + smoke_words(ran)).strip())
        return figure


def mixture(frame: pd.DataFrame, title: str = "") -> Figure:
    """Figure 4: density of the normalised entropies, the poisoned part of it, and the two fitted components."""
    ran = frame[frame["reproduced"].notna()]
    with style.look():
        if ran.empty:
            return empty(title)
        names = list(dict.fromkeys(ran["dataset"]))
        figure, axes = grid(7.2, 3.2, 1, len(names))
        for name, axis in zip(names, axes.flat, strict=True):
            _density(axis, ran[ran["dataset"] == name])
            axis.set(title=style.label(str(name)), xlabel="normalised entropy", ylabel="density")
        axes.flat[0].legend()
        figure.suptitle((title + smoke_words(ran)).strip())
        return figure


def _density(axis: Axes, rows: pd.DataFrame) -> None:
    counts = rows[rows["metric"] == "count"]
    parts = pd.DataFrame([fields(variant) for variant in counts["variant"]], index=counts.index)
    total = counts["reproduced"][parts["group"] == "all"].sum()
    for group, colour, words in (("all", style.BLUE, "all samples"), ("poisoned", style.GREY, "poisoned")):
        mine = parts[parts["group"] == group]
        edges = np.append(mine["from"].astype(float), float(mine["to"].iloc[-1]))
        heights = counts["reproduced"][mine.index].to_numpy() / (total * np.diff(edges))
        hatch = style.HATCHES.get(group, "")
        axis.stairs(heights, edges, fill=True, alpha=0.5, facecolor=colour, edgecolor=colour, hatch=hatch, label=words)
    x = np.linspace(0.0, 1.0, 400)
    for density, (name, (colour, line)) in zip(_fitted(rows).density(x), COMPONENTS.items(), strict=True):
        axis.plot(x, density, line, color=colour, label=f"{name} component")


def _fitted(rows: pd.DataFrame) -> Mixture:
    """The mixture that the rows hold."""

    def both(metric: str) -> tuple[float, float]:
        of = rows[rows["metric"] == metric].set_index("variant")["reproduced"]
        return float(of["component=suspicious"]), float(of["component=credible"])

    return Mixture(both("mean"), both("sd"), both("weight"))


def lines(frame: pd.DataFrame, title: str = "") -> Figure:
    """Figures 3 and 6: ACC and ASR against what was varied, a line an attack, a row of panels a data set."""
    ran = frame[frame["reproduced"].notna()]
    with style.look():
        if ran.empty:
            return empty(title)
        names = list(dict.fromkeys(ran["dataset"]))
        figure, axes = grid(7.2, 0.6 + 2.6 * len(names), len(names), 2)
        what = {"t_m": "mixing threshold $t_m$", "rate": "poisoning rate"}[
            str(ran["variant"].iloc[0]).partition("=")[0]
        ]
        for dataset, pair in zip(names, axes, strict=True):
            for metric, axis in zip(("acc", "asr"), pair, strict=True):
                part = ran[(ran["dataset"] == dataset) & (ran["metric"] == metric)]
                for attack in dict.fromkeys(part["attack"]):
                    mine = part[part["attack"] == attack]
                    x = mine["variant"].str.partition("=")[2].astype(float)
                    axis.plot(x, mine["reproduced"], label=style.label(str(attack), "attack"), **style.attack(attack))
                axis.set(title=f"{style.label(str(dataset))}: {metric.upper()}", xlabel=what, ylabel="%")
        axes.flat[0].legend()
        figure.suptitle(smoke_words(ran).strip())
        return figure


def images(frame: pd.DataFrame, title: str = "") -> Figure:
    """Figure 5: poisoned images, as far as they are in the store."""
    with style.look():
        return gallery.paper_figure("vab") if frame["reproduced"].notna().any() else empty(title)
