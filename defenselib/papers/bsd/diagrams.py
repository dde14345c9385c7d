"""BSD's two drawings without data, Figures 1 and 2 (Shen et al., ICML 2025), as diagrams of our own."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from defenselib.plots import style
from defenselib.plots.canvas import Picture

FILLS = {"plain": "#f2f2f2", "clean": "#dcebf5", "poison": "#fbe3d4", "step": "#ffffff"}


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure with one axis of 100 by 100 units, nothing drawn around it."""
    figure = Picture(figsize=(width, height))
    axis = figure.subplots()
    axis.set(xlim=(0, 100), ylim=(0, 100))
    axis.axis("off")
    return figure, axis


def _box(axis: Axes, x: float, y: float, width: float, height: float, words: str, kind: str = "plain") -> None:
    edge = style.ORANGE if kind == "poison" else style.BLUE if kind == "clean" else style.INK
    box = FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=1.5")
    box.set(facecolor=FILLS[kind], edgecolor=edge, linewidth=1.4)
    axis.add_patch(box)
    axis.text(x + width / 2, y + height / 2, words, ha="center", va="center", fontsize=8.5)


def _arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float], words: str = "", line: str = "-") -> None:
    axis.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=12, color=style.INK, linestyle=line))
    if words:
        axis.text((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 3, words, ha="center", fontsize=8)


def backdoor(frame: pd.DataFrame | None = None, title: str = "") -> Figure:
    """Figure 1: a few training images get a trigger and the target's label; the model obeys the trigger."""
    with style.look():
        figure, axis = _canvas(7.4, 3.4)
        _box(axis, 1, 60, 23, 30, "training images\nwith their labels", "clean")
        _box(axis, 1, 12, 23, 30, "a few images with\nthe trigger, labelled\nas the target", "poison")
        _box(axis, 36, 34, 20, 34, "training\non all of them", "step")
        _arrow(axis, (24, 75), (36, 58))
        _arrow(axis, (24, 27), (36, 44))
        _box(axis, 62, 36, 13, 30, "model with\na backdoor", "poison")
        _arrow(axis, (56, 51), (62, 51))
        _box(axis, 80, 60, 19, 30, "image without\ntrigger:\ntrue class", "clean")
        _box(axis, 80, 12, 19, 30, "image with\ntrigger:\nthe target", "poison")
        _arrow(axis, (75, 55), (80, 70))
        _arrow(axis, (75, 47), (80, 32))
        figure.suptitle(title)
        return figure


def overview(frame: pd.DataFrame | None = None, title: str = "") -> Figure:
    """Figure 2: warm-ups, the two splits and their intersection, the two later stages."""
    with style.look():
        figure, axis = _canvas(7.6, 5.0)
        _box(axis, 1, 42, 14, 18, "poisoned\ntraining set", "poison")
        _box(
            axis, 20, 70, 25, 24, "altruistic model g\nlearns everything;\nits epochs vote on\nthe target label", "step"
        )
        _box(
            axis,
            20,
            8,
            25,
            24,
            "main model f\nlearns all classes but\nthe target with labels\n(open-set warm-up)",
            "step",
        )
        _arrow(axis, (13, 60), (22, 70))
        _arrow(axis, (13, 42), (22, 32))
        _arrow(axis, (32, 70), (32, 32), line="--")
        axis.text(33, 50, "target label", fontsize=8)
        _box(axis, 50, 70, 21, 24, "ALS: a large loss\nunder g is clean", "clean")
        _box(axis, 50, 8, 21, 24, "OSS: far from the\nknown classes\nis clean", "clean")
        _arrow(axis, (45, 82), (50, 82))
        _arrow(axis, (45, 20), (50, 20))
        _box(axis, 50, 41, 21, 20, "first clean pool:\nALS ∩ OSS", "clean")
        _arrow(axis, (60, 70), (60, 61))
        _arrow(axis, (60, 32), (60, 41))
        _box(
            axis,
            77,
            62,
            22,
            32,
            "stage 2: largest\nloss of g minus\nloss of f; the\nrarest class is\ncompleted",
            "step",
        )
        _box(axis, 77, 8, 22, 32, "stage 3: what both\ncall the target\nis dropped\n\nclean model f", "step")
        _arrow(axis, (71, 51), (80, 62))
        _arrow(axis, (88, 62), (88, 40))
        figure.suptitle(title)
        return figure


DIAGRAMS: dict[str, Callable[[pd.DataFrame, str], Figure]] = {"bsd-backdoor": backdoor, "bsd-overview": overview}
