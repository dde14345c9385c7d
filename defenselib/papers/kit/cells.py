"""Which cells stand behind an exhibit, row by row, and which of them the store lacks."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import pandas as pd

from defenselib.papers.kit import frame as frames
from defenselib.papers.kit.claims import Claim
from defenselib.papers.kit.composed import Composed
from defenselib.papers.kit.exhibit import Exhibit, Series
from defenselib.papers.kit.frame import Row
from defenselib.papers.kit.gates import keeps_labels, printed_rate, triggered, undecided, undefended
from defenselib.papers.kit.grid import mode_of
from defenselib.papers.kit.request import Cell
from defenselib.papers.kit.table import GATED, Table, no_attack
from defenselib.papers.kit.view import View
from defenselib.plots import words

Choice = tuple[Cell, ...]  # any of them does; the first is the one to run


@dataclass(frozen=True)
class Gated:
    """What the gate of a number may ask: what the trigger does to a clean model, where the undefended one leaves open
    whether the attack took. printed, keeps_labels: see `gates.took`."""

    clean: Cell
    undefended: Choice
    printed: float
    keeps_labels: bool


@dataclass(frozen=True)
class Need:
    """What a number rests on. row: where it stands in its exhibit. made_of: the cells that it is read from, all of
    them. judged_by: what its verdict is taken against (the undefended model, the one without attack). gated: what its
    gates may ask besides."""

    row: Row
    made_of: tuple[Choice, ...]
    judged_by: tuple[Choice, ...] = ()
    gated: tuple[Gated, ...] = ()


@singledispatch
def needs(exhibit: Exhibit, profile: str) -> list[Need]:
    """The numbers of an exhibit that trainings answer: a row of a table, a cell of a figure. Those that nothing answers
    are left out."""
    return []


@needs.register
def _of_table(exhibit: Table, profile: str) -> list[Need]:
    means, listed, mode = exhibit.means, exhibit.listed, mode_of(profile)
    own = [None if place in means else _of_row(exhibit, row, mode) for place, row in enumerate(listed)]
    found = [need for need in own if need is not None]
    for place, parts in means.items():
        mine = [need for need in (own[part] for part in parts) if need is not None]
        if len(mine) == len(parts):
            found.append(Need(listed[place], *(_together(mine, name) for name in ("made_of", "judged_by", "gated"))))
    return found


def _together(parts: Sequence[Need], name: str) -> tuple[Any, ...]:
    return tuple(choice for need in parts for choice in getattr(need, name))


def _gates(exhibit: Exhibit, cell: Cell, before: Choice) -> tuple[Gated, ...]:
    """What the gate of a defended cell may ask."""
    rate, keeps = printed_rate(exhibit.paper, exhibit.references, cell), keeps_labels(cell)
    return (Gated(triggered(cell), before, rate, keeps),) if undecided(math.nan, rate, keeps) else ()


def _of_row(table: Table, row: Row, mode: str) -> Need | None:
    cell = table.cell(row)
    if cell is None or isinstance(cell, str):
        return None
    metric, defended = str(row["metric"]), cell.defense != "none"
    before = table.before(cell)
    attacked = mode != "none" and defended and cell.attack != "none"
    gates = _gates(table, cell, before) if attacked and metric in GATED else ()
    if metric == "der":
        return Need(row, ((cell,), before), gated=gates) if defended else None
    own = (cell,) if table.instead is None else (cell, table.instead(row))
    partners: tuple[Choice, ...] = ()
    if (
        mode != "none"
        and metric in GATED
        and defended
        and (cell.attack != "none" or (metric, mode) == ("acc", "order"))
    ):
        partners = (before,)
    if mode == "order" and metric == "acc" and not defended:
        partners = ((no_attack(cell),),)
    return Need(row, (own,), partners, gates)


@needs.register
def _of_series(exhibit: Series, profile: str) -> list[Need]:
    found = []
    for cell in exhibit.cells:
        row, before = exhibit.where(cell), exhibit.before(cell)
        gated = mode_of(profile) != "none" and "none" not in (cell.defense, cell.attack)
        found.append(Need(row, ((cell,),), *(((before,), _gates(exhibit, cell, before)) if gated else ())))
    return found


@needs.register
def _of_composed(exhibit: Composed, profile: str) -> list[Need]:
    found = []
    for row in frames.records(exhibit._printed()):
        number = exhibit.number(row)
        if isinstance(number, str):
            continue
        asked = str(row["metric"]) in GATED - {"acc"} and mode_of(profile) != "none"
        gated = [cell for cell in number.cells if asked and "none" not in (cell.defense, cell.attack)]
        before = [(undefended(cell),) for cell in gated]
        gates = [one for cell, plain in zip(gated, before, strict=True) for one in _gates(exhibit, cell, plain)]
        found.append(Need(row, tuple((cell,) for cell in number.cells), tuple(before), tuple(gates)))
    return found


def spoken_of(claims: Sequence[Claim], listed: Sequence[Need], profile: str) -> list[list[Claim]]:
    """Which claims speak of each number of an exhibit: those with a point there. A column that a point does not name
    may have any value."""
    found: list[list[Claim]] = [[] for _ in listed]
    if not listed or not claims:
        return found
    rows = frames.unanswered(frames.rows_of([need.row for need in listed]), profile, "")
    view = View(rows, mode_of(profile), known=frozenset())  # what a cell does not state may be anything here
    for claim in claims:
        places = {repr(point.where): point.where for point in claim.expression.points(view)}
        for mine, need in zip(found, listed, strict=True):
            if any(_fits(where, need.row) for where in places.values()):
                mine.append(claim)
    return found


def _fits(where: Row, row: Row) -> bool:
    # "no defense → ASD" and "wanet to badnets" stand for both ends of a step.
    return all(_same(value, row[key], key) for key, value in where.items() if key in row)


def _same(named: Any, value: Any, axis: str) -> bool:
    if pd.isna(named) or pd.isna(value):
        return True
    # Ends of steps are words, 2 or 2.0.
    said = {words.value(value, axis), str(value), f"{value:g}" if isinstance(value, float) else str(value)}
    return bool(named == value) or not said.isdisjoint(re.split(" → | to ", str(named)))
