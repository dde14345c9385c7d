"""The five papers: `papers.get("asd").exhibit("table-2").reproduce(profile="laptop")`."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from defenselib.errors import check_choice
from defenselib.lazy import attributes
from defenselib.papers.titles import TITLES

if TYPE_CHECKING:
    from defenselib.papers.kit.claims import Claim
    from defenselib.papers.kit.exhibit import Drawing, Exhibit, Paper, Series
    from defenselib.papers.kit.request import Cell
    from defenselib.papers.kit.table import Table

KEYS = tuple(TITLES)

__all__ = ["Cell", "Claim", "Drawing", "Exhibit", "Paper", "Series", "Table", "available", "get"]


@cache
def get(key: str) -> Paper:
    """The paper of a key; an unknown key raises and names the nearest."""
    # A paper is read when it is asked for: its drawings need matplotlib, and most runs none of them.
    module = import_module(f"{__name__}.{check_choice('paper', key, KEYS)}.exhibits")
    paper: Paper = module.PAPER
    return paper


def available() -> tuple[str, ...]:
    """The keys of all papers."""
    return KEYS


__getattr__, __dir__ = attributes(
    __name__,
    {
        "kit.claims": ("Claim",),
        "kit.exhibit": ("Drawing", "Exhibit", "Paper", "Series"),
        "kit.request": ("Cell",),
        "kit.table": ("Table",),
    },
)
