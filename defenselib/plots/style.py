"""One look for every figure of the book: a palette, fixed colours and markers for methods and attacks, legible fonts.

Figures carry an opaque white background: the book's dark theme shows pictures on white, and a transparent one with
dark letters would not be legible everywhere else. Every colour has a contrast of at least 3:1 with it, and colour is
never the only sign: methods have markers, groups have hatches and line styles, words stand beside marks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from defenselib.plots.words import label, run_label

__all__ = ["attack", "contrast", "label", "look", "method", "run_label"]
BACKGROUND = "#ffffff"
INK = "#222222"
GRID = "#d9d9d9"

# Darkened Okabe-Ito colours: told apart with any colour vision.
BLUE, ORANGE, GREEN, PURPLE, SKY, OCHRE, BLACK, GREY = (
    "#0063a0",
    "#c64f00",
    "#007a5a",
    "#a8497f",
    "#2a86b8",
    "#967000",
    "#222222",
    "#6f6f6f",
)

METHODS: dict[str, tuple[str, str]] = {
    "none": (BLACK, "o"),
    "ft": (GREY, "v"),
    "fp": (OCHRE, "s"),
    "nad": (PURPLE, "D"),
    "mcr": (SKY, "<"),
    "anp": (GREEN, ">"),
    "abl": (GREEN, "^"),
    "dbd": (SKY, "P"),
    "dbd-meta-split": (GREEN, "X"),
    "cbd": (OCHRE, "X"),
    "spectral": (BLACK, "X"),
    "asd": (BLUE, "*"),
    "vab": (PURPLE, "h"),
    "dst": (GREEN, "d"),
    "dbr": (OCHRE, "p"),
    "adv-train": (GREY, "s"),
    "aabl": (ORANGE, "^"),
    "bsd": (ORANGE, "*"),
    "simclr-baseline": (GREY, "1"),
    "supcon-baseline": (GREY, "2"),
    "oracle": (GREY, "D"),
}
ATTACKS: dict[str, tuple[str, str]] = {
    "none": (BLACK, "o"),
    "badnets": (BLUE, "s"),
    "badnets-all2all": (SKY, "s"),
    "trojan": (OCHRE, "P"),
    "blend": (ORANGE, "D"),
    "blend-strip": (ORANGE, "d"),
    "blend-kitty": (ORANGE, "D"),
    "blend-noise": (ORANGE, "h"),
    "wanet": (GREEN, "^"),
    "iab": (PURPLE, "v"),
    "dynamic": (PURPLE, "<"),
    "refool": (OCHRE, "p"),
    "clb": (SKY, "X"),
    "cl-16": (SKY, "<"),
    "cl-32": (SKY, ">"),
    "sig": (GREEN, "<"),
    "ssba": (PURPLE, ">"),
    "narcissus": (BLACK, "X"),
    "adaptive": (GREY, "*"),
}
GROUPS = {"clean": BLUE, "poisoned": ORANGE, "hard": GREEN}
HATCHES = {"clean": "", "poisoned": "////"}
# Verdicts and outcomes of claims (`words.MARKS`): colour and hatch of a bar, colour and marker of a point.
OUTCOMES: dict[str, tuple[str, str, str]] = {
    "agrees": (GREEN, "", "o"),
    "differs": (ORANGE, "////", "X"),
    "undecided": (OCHRE, "xx", "D"),
    "not comparable": (GREY, "....", "s"),
    "not run": (GRID, "", "."),
    "holds": (GREEN, "", "o"),
    "holds so far": (SKY, "\\\\", "^"),
    "fails": (ORANGE, "////", "X"),
}

RC: Any = {
    "figure.facecolor": BACKGROUND,
    "axes.facecolor": BACKGROUND,
    "savefig.facecolor": BACKGROUND,
    "figure.dpi": 140,
    "savefig.dpi": 140,
    "figure.constrained_layout.use": True,
    "font.size": 10.5,
    "axes.titlesize": 11,
    "axes.labelsize": 10.5,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "lines.linewidth": 2.0,
    "hatch.linewidth": 0.6,
}


def method(name: str) -> dict[str, Any]:
    """Colour and marker of a defense, as keywords for matplotlib; an unknown one is grey."""
    colour, marker = METHODS.get(name, (GREY, "o"))
    return {"color": colour, "marker": marker}


def attack(name: str) -> dict[str, Any]:
    """Colour and marker of an attack."""
    colour, marker = ATTACKS.get(name, (GREY, "o"))
    return {"color": colour, "marker": marker}


@contextmanager
def look() -> Iterator[None]:
    """Within this block figures have the book's look; the caller's settings stay as they are."""
    import matplotlib as mpl

    with mpl.rc_context(RC):
        yield


def contrast(first: str, second: str) -> float:
    """WCAG contrast ratio of two colours (#rrggbb), between 1 and 21."""
    light, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    values = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in values)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
