"""Boxes and arrows: diagrams of our own, which show an idea and no result."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from defenselib.plots import style
from defenselib.plots.canvas import Picture

FILLS = {"plain": "#f2f2f2", "clean": "#dcebf5", "poison": "#fbe3d4", "step": "#ffffff"}


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure with one axis of 100 by 100 units, nothing drawn around it."""
    figure = Picture(figsize=(width, height))
    axis = figure.subplots()
    axis.set(xlim=(0, 100), ylim=(0, 100))
    axis.axis("off")
    return figure, axis


def box(axis: Axes, x: float, y: float, width: float, height: float, words: str, kind: str = "plain") -> None:
    edge = style.ORANGE if kind == "poison" else style.BLUE if kind == "clean" else style.INK
    patch = FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=1.5")
    patch.set(facecolor=FILLS[kind], edgecolor=edge, linewidth=1.4)
    axis.add_patch(patch)
    axis.text(x + width / 2, y + height / 2, words, ha="center", va="center", fontsize=8.5)


def arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float], words: str = "", line: str = "-") -> None:
    axis.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=12, color=style.INK, linestyle=line))
    if words:
        axis.text((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 3, words, ha="center", fontsize=8)
