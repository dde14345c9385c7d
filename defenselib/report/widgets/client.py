"""Widgets that are drawn where they are looked at: their data and a script lie in the page, no kernel is asked."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import ipywidgets
import traitlets

from defenselib.plots import style

HERE = Path(__file__).parent
PALETTE = {
    "paper": style.BACKGROUND,
    "ink": style.INK,
    "grid": style.GRID,
    "clean": style.GROUPS["clean"],
    "poisoned": style.GROUPS["poisoned"],
    "acc": style.BLUE,
    "asr": style.ORANGE,
    "pool": style.GREEN,
}


def script(*names: str) -> str:
    """The module that draws: what all of them share, then its own parts. A page cannot import one from another."""
    return "\n".join((HERE / part).read_text(encoding="utf-8") for part in ("common.js", "address.js", *names))


class Client(anywidget.AnyWidget):
    """A widget of this kind. data: all that the script shows, plain JSON (no NaN), with the palette beside it. name:
    what the address of a page calls it; one on a page. _esm: what draws it, see `script`."""

    data: ClassVar[Any] = traitlets.Dict().tag(sync=True)
    name: ClassVar[Any] = traitlets.Unicode("widget").tag(sync=True)
    palette: ClassVar[Any] = traitlets.Dict(PALETTE).tag(sync=True)
    _esm: ClassVar[Any] = traitlets.Unicode().tag(sync=True)
    _css = (HERE / "widgets.css").read_text(encoding="utf-8")


def stylesheet() -> ipywidgets.HTML:
    """The style sheet for a page on which there may be no widget of these that brings it."""
    return ipywidgets.HTML(f"<style>{Client._css}</style>", layout={"display": "none"})


def number(value: float | None, digits: int = 4) -> float | None:
    """For JSON: rounded to significant digits; None where there is none or it is not finite (JSON knows no NaN)."""
    return float(f"{value:.{digits}g}") if value is not None and math.isfinite(value) else None
