"""The five papers: `papers.get("asd").exhibit("table-2").reproduce(profile="laptop")`."""

from __future__ import annotations

from defenselib.errors import check_choice
from defenselib.papers.aabl import exhibits as aabl
from defenselib.papers.asd import exhibits as asd
from defenselib.papers.bsd import exhibits as bsd
from defenselib.papers.dst_dbr import exhibits as dst_dbr
from defenselib.papers.kit.claims import Claim
from defenselib.papers.kit.exhibit import Exhibit, Paper, Series
from defenselib.papers.kit.grid import Cell
from defenselib.papers.kit.table import Table
from defenselib.papers.vab import exhibits as vab

PAPERS: dict[str, Paper] = {
    "asd": asd.PAPER,
    "bsd": bsd.PAPER,
    "vab": vab.PAPER,
    "dst_dbr": dst_dbr.PAPER,
    "aabl": aabl.PAPER,
}


def get(key: str) -> Paper:
    """The paper of a key; an unknown key raises and names the nearest."""
    return PAPERS[check_choice("paper", key, PAPERS)]


def available() -> tuple[str, ...]:
    """The keys of all papers."""
    return tuple(PAPERS)


__all__ = ["PAPERS", "Cell", "Claim", "Exhibit", "Paper", "Series", "Table", "available", "get"]
