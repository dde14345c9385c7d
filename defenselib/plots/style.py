"""One look for every figure of the book: a palette, fixed colours and markers for methods and attacks, legible fonts
(all in `style.toml`).

Figures carry an opaque white background: the book's dark theme shows pictures on white, and a transparent one with
dark letters would not be legible everywhere else. Every colour has a contrast of at least 3:1 with it, and colour is
never the only sign: methods have markers, groups have hatches and line styles, words stand beside marks.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from defenselib.plots.words import label, run_label

__all__ = ["attack", "label", "look", "method", "run_label"]
_LOOKS = tomllib.loads(Path(__file__).with_name("style.toml").read_text(encoding="utf-8"))
_PALETTE: dict[str, str] = _LOOKS["palette"]
BACKGROUND, INK, GRID = (_PALETTE[name] for name in ("background", "ink", "grid"))
BLUE, ORANGE, GREEN, PURPLE, SKY, OCHRE, BLACK, GREY = (
    _PALETTE[name] for name in ("blue", "orange", "green", "purple", "sky", "ochre", "black", "grey")
)


def _coloured(table: str) -> dict[str, Any]:
    """A table of looks with its colours, which come first, in numbers."""
    return {name: (_PALETTE[colour], *signs) for name, (colour, *signs) in _LOOKS[table].items()}


METHODS: dict[str, tuple[str, str]] = _coloured("defenses")
ATTACKS: dict[str, tuple[str, str]] = _coloured("attacks")
# Verdicts and outcomes of claims (`words.MARKS`): colour and hatch of a bar, colour and marker of a point.
OUTCOMES: dict[str, tuple[str, str, str]] = _coloured("outcomes")
GROUPS = {"clean": BLUE, "poisoned": ORANGE, "hard": GREEN}
HATCHES = {"clean": "", "poisoned": "////"}
RC: Any = {name: _PALETTE.get(value, value) for name, value in _LOOKS["matplotlib"].items()}


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
