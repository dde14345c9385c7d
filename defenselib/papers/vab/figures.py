"""V&B's drawings (Zhu et al., ICCV 2023): Figures 1, 3, 4, 5, 6 from results, and its tables of variants."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from defenselib.defenses.vab_victim import Mixture
from defenselib.papers.examples import paper_figure
from defenselib.papers.kit.frame import axes as axes_of
from defenselib.plots import panels, style
from defenselib.plots.canvas import empty, grid, stairs
from defenselib.plots.panels import PERCENT, Drawer, by, drawing, legend, names_of, only

MARKERS = ("o", "s", "^", "D", "v", "*")
COLOURS = (style.BLACK, style.OCHRE, style.GREEN, style.SKY, style.PURPLE, style.ORANGE)
COMPONENTS = {"suspicious": (style.ORANGE, "--"), "credible": (style.GREEN, ":")}
WORDS = {"t_m": "mixing threshold $t_m$", "poisoning_rate": "poisoning rate"}


@partial(drawing, printed=True)
def variants(ran: pd.DataFrame) -> Figure:
    """A row an attack, a mark a variant of the method; printed hollow, reproduced filled; ACC and ASR side by side."""
    told = axes_of(ran)
    kind = ran[told[0]] if told else pd.Series(None, ran.index, dtype=object)
    ran = ran.assign(kind=[style.label("none") if pd.isna(k) else panels.named(k, "kind") for k in kind])
    names, kinds = names_of(ran, "attack"), names_of(ran, "kind")
    figure, axes = grid(7.2, 1.8 + 0.2 * len(names) * len(kinds), 1, 2)
    for metric, axis in zip(("acc", "asr"), axes.flat, strict=True):
        for row in only(ran, metric=metric).to_dict("records"):
            rank = kinds.index(row["kind"])
            y = names.index(row["attack"]) + 0.7 * ((rank + 0.5) / len(kinds) - 0.5)
            look = {"marker": MARKERS[rank % 6], "color": COLOURS[rank % 6], "ls": "", "ms": 7}
            axis.plot([row["published"], row["reproduced"]], [y, y], color=style.GRID, zorder=1)
            axis.plot(row["published"], y, **{**look, "mfc": style.BACKGROUND})
            axis.plot(row["reproduced"], y, **look)
        axis.set_yticks(range(len(names)), [panels.named(name, "attack") for name in names])
        axis.set(title=metric.upper(), xlabel="%", xlim=PERCENT, ylim=(len(names) - 0.5, -0.5))
    marks = [
        Line2D([], [], marker=MARKERS[i % 6], color=COLOURS[i % 6], ls="", ms=7, label=word)
        for i, word in enumerate(kinds)
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=3)
    return figure


@drawing
def entropies(ran: pd.DataFrame) -> Figure:
    """Figure 1: mean entropy of benign and poisoned samples after every epoch of the warm-up, a panel an attack."""
    figure, found = panels.panels(only(ran, metric="entropy"), "attack", most=3, height=2.1)
    for axis, rows, _ in found:
        for group, colour, mark in (("benign", style.BLUE, "o-"), ("poisoned", style.ORANGE, "s--")):
            panels.line(axis, only(rows, group=group), "epoch", group, mark, color=colour)
        axis.set(xlabel="epoch of the Victim", ylabel="entropy (nats)", ylim=(0, None))
    return legend(figure)


@drawing
def mixture(ran: pd.DataFrame) -> Figure:
    """Figure 4: density of the normalised entropies, the poisoned part of it, and the two fitted components."""
    figure, found = panels.panels(ran, "dataset", height=2.9)
    for axis, rows, _ in found:
        _density(axis, rows)
        axis.set(xlabel="normalised entropy", ylabel="density")
    return legend(figure)


def _density(axis: Axes, rows: pd.DataFrame) -> None:
    counts = only(rows, metric="count")
    total = only(counts, group="all")["reproduced"].sum()
    for group, colour, words in (("all", style.BLUE, "all samples"), ("poisoned", style.GREY, "poisoned")):
        mine = only(counts, group=group)
        density = mine["reproduced"] / (total * (mine["high"] - mine["low"]))
        stairs(axis, mine, density.to_numpy(dtype=float), group, colour, label=words, alpha=0.5)
    x = np.linspace(0.0, 1.0, 400)
    for density, (name, (colour, line)) in zip(_fitted(rows).density(x), COMPONENTS.items(), strict=True):
        axis.plot(x, density, line, color=colour, label=f"{name} component")


def _fitted(rows: pd.DataFrame) -> Mixture:
    """The mixture that the rows hold."""

    def two(metric: str) -> tuple[float, float]:
        of = only(rows, metric=metric).set_index("component")["reproduced"]
        return float(of["suspicious"]), float(of["credible"])

    return Mixture(two("mean"), two("sd"), two("weight"))


def lines(axis: str) -> Drawer:
    """Figures 3 and 6: ACC and ASR against what was varied, a line an attack, a row of panels a data set."""

    def body(ran: pd.DataFrame) -> Figure:
        figure, found = panels.panels(ran, "metric", "dataset", across_values=("acc", "asr"))
        for place, rows, where in found:
            for attack, mine in by(rows, "attack"):
                panels.line(place, mine, axis, panels.named(attack, "attack"), **style.attack(attack))
            title = f"{panels.named(where['dataset'], 'dataset')}: {where['metric'].upper()}"
            place.set(title=title, xlabel=WORDS[axis], ylabel="%")
        return legend(figure)

    return drawing(body, titled=False, sweep=(axis,))


def images(frame: pd.DataFrame, title: str = "") -> Figure:
    """Figure 5: poisoned images, as far as they are in the store."""
    with style.look():
        return paper_figure("vab") if frame["reproduced"].notna().any() else empty(title)
