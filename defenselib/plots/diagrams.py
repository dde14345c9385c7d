"""Boxes and arrows: diagrams of our own, which show an idea and no result."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from defenselib.plots import style
from defenselib.plots.canvas import Picture
from defenselib.plots.panels import Drawer

WIDTH = 7.6  # inches
FILLS = {"plain": "#f2f2f2", "clean": "#dcebf5", "poison": "#fbe3d4", "step": "#ffffff"}


def diagram(module: str, name: str, titled: bool = True) -> Drawer:
    """The diagram called so in the `diagrams.toml` beside a module (its `__file__`), as a drawing without data.

    A table holds its height in inches, boxes (x, y, width, height, words, kind), arrows (from, to, and the line where
    it is another) and texts (x, y, words, and how they look where it is not as usual), on 100 by 100 units.
    """

    def draw(frame: pd.DataFrame | None = None, title: str = "") -> Figure:
        told = tomllib.loads(Path(module).with_name("diagrams.toml").read_text(encoding="utf-8"))[name]
        with style.look():
            figure = Picture(figsize=(WIDTH, told["height"]))
            axis = figure.subplots()
            axis.set(xlim=(0, 100), ylim=(0, 100))
            axis.axis("off")
            for one in told["boxes"]:
                _box(axis, *one)
            for one in told["arrows"]:
                _arrow(axis, *one)
            for x, y, words, *looks in told.get("texts", ()):
                axis.text(x, y, words, **{"fontsize": 8, **(looks[0] if looks else {})})
            if titled:
                figure.suptitle(title)
            return figure

    return draw


def _box(axis: Axes, x: float, y: float, width: float, height: float, words: str, kind: str = "plain") -> None:
    edge = style.ORANGE if kind == "poison" else style.BLUE if kind == "clean" else style.INK
    patch = FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=1.5")
    patch.set(facecolor=FILLS[kind], edgecolor=edge, linewidth=1.4)
    axis.add_patch(patch)
    axis.text(x + width / 2, y + height / 2, words, ha="center", va="center", fontsize=8.5)


def _arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float], line: str = "-") -> None:
    axis.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=12, color=style.INK, linestyle=line))
