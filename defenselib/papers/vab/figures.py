"""V&B's drawings (Zhu et al., ICCV 2023): Figures 1, 3, 4, 5, 6 from results, and its tables of variants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from defenselib.defenses.vab_victim import Mixture
from defenselib.papers.examples import paper_figure
from defenselib.plots import panels, style
from defenselib.plots.canvas import empty, stairs
from defenselib.plots.panels import Drawer, by, drawing, legend, named, only

# What Tables 3, 4, 6 and 7 vary, and how its name stands before the value.
VARIED = {"augmentation": "", "components": "", "warmup": "warm-up ", "after_stage": "after stage "}
COMPONENTS = {"suspicious": (style.ORANGE, "--"), "credible": (style.GREEN, ":")}
WORDS = {"t_m": "mixing threshold $t_m$", "poisoning_rate": "poisoning rate"}


def _variant(row: Mapping[str, Any]) -> str:
    """The variant of the method that a row is of."""
    said = (f"{name}{named(row[axis], axis)}" for axis, name in VARIED.items() if pd.notna(row.get(axis)))
    # The longest name would run into its neighbours.
    return next(said, style.label("none")).replace("+S(", "\n+S(")


variants = panels.settings(_variant)


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
    for group, colour, said in (("all", style.BLUE, "all samples"), ("poisoned", style.GREY, "poisoned")):
        mine = only(counts, group=group)
        density = mine["reproduced"] / (total * (mine["high"] - mine["low"]))
        stairs(axis, mine, density.to_numpy(dtype=float), group, colour, label=said, alpha=0.5)
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
