"""What every drawing of the book starts from: figures that show themselves, panels, the words of a missing result."""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter
from PIL import Image

from defenselib.plots import style
from defenselib.plots.alt import clashes, describe, named_in

NAMED = 6  # of what was not run, in a title
LETTERS = 10  # of a title, an inch
NOTHING = "not run: no result to draw"


class Picture(Figure):
    """A Figure that a notebook shows by itself: made without pyplot, so that nothing stays open.

    It brings along its alternative text, which the book puts on the image (`report.myst`), and the words that stand in
    it, so that a caption can be held against them. `nothing`: no result to draw.
    `shown`: data sets, attacks and defenses whose numbers are drawn, in words, whether or not they stand in it.
    With it goes what lies over what (`clashes`), which should be nothing.
    """

    nothing = False
    shown: tuple[str, ...] = ()

    def suptitle(self, t: str, **look: Any) -> Any:
        """A title whose lines end where the figure does."""
        fits = int(LETTERS * self.get_figwidth())
        return super().suptitle("\n".join(textwrap.fill(line, fits) for line in t.split("\n")), **look)

    def _repr_png_(self) -> bytes:
        """A drawing in the 256 colours that it has most of, which nobody sees and which a third of the bytes holds;
        photographs in all of theirs."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=self.dpi)
        page = Image.open(buffer).convert("RGB")
        if not any(axis.images for axis in self.axes):
            page = page.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        small = io.BytesIO()
        page.save(small, "PNG", optimize=True, dpi=(self.dpi, self.dpi))
        return small.getvalue()

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, str], dict[str, Any]]:
        words = describe(self)
        shown = {"image/png": base64.b64encode(self._repr_png_()).decode(), "text/plain": words}
        told = {"alt": words, "nothing": self.nothing, "drawn": [*named_in(self), *self.shown]}
        return shown, {"image/png": {**told, "clashes": clashes(self)}}


def grid(width: float, height: float, rows: int, columns: int) -> tuple[Figure, np.ndarray]:
    """A figure and its axes, always (rows, columns)."""
    figure = Picture(figsize=(width, height))
    return figure, figure.subplots(rows, columns, squeeze=False)


def single(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of one panel."""
    figure, axes = grid(width, height, 1, 1)
    return figure, axes.item()


def logarithmic(axis: Axes) -> None:
    """Ticks at 1, 2, 5, 10, ... of a logarithmic x axis, as plain numbers."""
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axis.xaxis.set_minor_formatter(NullFormatter())


def leave_empty(axes: np.ndarray, used: int) -> None:
    """Hide the panels of a grid after the first `used`."""
    for axis in axes.flat[used:]:
        axis.axis("off")


def level_words(ran: pd.DataFrame, absent: Sequence[str] = ()) -> str:
    """What a title must add: the profile, of drawn images that they are no evidence, and what was not run."""
    names = ", ".join(name for name in dict.fromkeys(ran["profile"]) if name)
    said = f"profile {names}" if names else ""
    if {"smoke", "demo"} & set(ran["profile"]):
        said = f"{names}: drawn shapes and a tiny network, no evidence"
    if absent:
        more = f" and {len(absent) - NAMED} more" if len(absent) > NAMED else ""
        said = "; ".join(filter(None, (said, f"not run: {', '.join(absent[:NAMED])}{more}")))
    return f"\n({said})" if said else ""


def empty(title: str, words: str = NOTHING) -> Figure:
    figure = Picture(figsize=(7.2, 1.2))
    figure.nothing = True
    axes = figure.subplots()
    axes.axis("off")
    axes.text(0.5, 0.5, words, ha="center", va="center")
    figure.suptitle(title)
    return figure


def stairs(axis: Axes, rows: pd.DataFrame, heights: Any, group: str, colour: str, **look: Any) -> None:
    """A filled histogram of a group of samples over the bins of `rows` (columns low, high)."""
    edges = np.append(rows["low"].astype(float), float(rows["high"].iloc[-1]))
    colours: dict[str, Any] = {"facecolor": colour, "edgecolor": colour, "hatch": style.HATCHES.get(group, "")}
    axis.stairs(heights, edges, fill=True, **colours, **look)


def group_histograms(axis: Axes, parts: pd.DataFrame) -> None:
    """Counts of clean and poisoned samples over each other: columns group, low, high, reproduced; a logarithmic
    scale."""
    for group, colour in style.GROUPS.items():
        mine = parts[parts["group"] == group]
        if len(mine):
            stairs(axis, mine, mine["reproduced"].to_numpy(), group, colour, label=group, alpha=0.45)
    axis.set_yscale("symlog", linthresh=1)
    axis.set_ylim(bottom=0)
