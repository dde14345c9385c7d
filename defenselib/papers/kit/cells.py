"""Which cells stand behind an exhibit, row by row, and which of them the store lacks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import pandas as pd

from defenselib.experiments.experiment import Experiment
from defenselib.papers.kit import frame as frames
from defenselib.papers.kit.claims import Claim
from defenselib.papers.kit.composed import Composed
from defenselib.papers.kit.exhibit import Exhibit, Series
from defenselib.papers.kit.frame import Row
from defenselib.papers.kit.grid import mode_of
from defenselib.papers.kit.request import Cell, Request
from defenselib.papers.kit.table import GATED, Table, no_attack
from defenselib.papers.kit.view import View
from defenselib.plots import words

Choice = tuple[Cell, ...]  # any of them does; the first is the one to run


@dataclass(frozen=True)
class Need:
    """What a number rests on. row: where it stands in its exhibit. made_of: the cells that it is read from, all of
    them. judged_by: what its verdict is taken against (the undefended model, the one without attack)."""

    row: Row
    made_of: tuple[Choice, ...]
    judged_by: tuple[Choice, ...] = ()


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
            found.append(Need(listed[place], *(_together(mine, name) for name in ("made_of", "judged_by"))))
    return found


def _together(parts: Sequence[Need], name: str) -> tuple[Choice, ...]:
    return tuple(choice for need in parts for choice in getattr(need, name))


def _of_row(table: Table, row: Row, mode: str) -> Need | None:
    cell = table.cell(row)
    if cell is None or isinstance(cell, str):
        return None
    metric, defended = str(row["metric"]), cell.defense != "none"
    before = table.before(cell)
    undefended = before if isinstance(before, tuple) else (before,)
    if metric == "der":
        return Need(row, ((cell,), undefended)) if defended else None
    own = (cell,) if table.instead is None else (cell, table.instead(row))
    partners: tuple[Choice, ...] = ()
    if (
        mode != "none"
        and metric in GATED
        and defended
        and (cell.attack != "none" or (metric, mode) == ("acc", "order"))
    ):
        partners = (undefended,)
    if mode == "order" and metric == "acc" and not defended:
        partners = ((no_attack(cell),),)
    return Need(row, (own,), partners)


@needs.register
def _of_series(exhibit: Series, profile: str) -> list[Need]:
    found = []
    for cell in exhibit.cells:
        row: dict[str, Any] = {"dataset": cell.dataset, "attack": cell.attack, "defense": cell.defense}
        row |= {"target": cell.options.get("target"), "poisoning_rate": cell.options.get("rate"), **exhibit.axes(cell)}
        before = exhibit.before(cell)
        gated = mode_of(profile) != "none" and "none" not in (cell.defense, cell.attack)
        partners: tuple[Choice, ...] = (before if isinstance(before, tuple) else (before,),) if gated else ()
        found.append(Need(row, ((cell,),), partners))
    return found


@needs.register
def _of_composed(exhibit: Composed, profile: str) -> list[Need]:
    rows = frames.records(exhibit._printed())
    made = ((row, exhibit.number(row)) for row in rows)
    return [Need(row, tuple((cell,) for cell in number.cells)) for row, number in made if not isinstance(number, str)]


def cells_of(exhibit: Exhibit, request: Request) -> tuple[Experiment, ...]:
    """The distinct experiments that `exhibit.reproduce(run=True)` would look up or run, those that numbers are judged
    by included. What a gate asks only after it has seen a result (the trigger on a clean model) is none of them."""
    grid = exhibit.grid(request)
    found: dict[Experiment, None] = {}

    def taken(choices: Sequence[Choice], partner: bool) -> bool:
        asked = [grid.wanted(choice[0], partner) for choice in choices]
        for cell, seeds, _ in asked:
            found.update({cell.experiment(exhibit.paper, request.profile, seed): None for seed in seeds})
        return all(seeds for _, seeds, _ in asked)

    for need in needs(exhibit, request.profile):
        if taken(need.made_of, False):  # what nobody runs, nobody judges
            taken(need.judged_by, True)
    return tuple(found)


def spoken_of(claims: Sequence[Claim], listed: Sequence[Need], profile: str) -> list[list[Claim]]:
    """Which claims speak of each number of an exhibit: those with a point there. A column that a point does not name
    may have any value."""
    found: list[list[Claim]] = [[] for _ in listed]
    if not listed:
        return found
    view = View(frames.unanswered(frames.rows_of([need.row for need in listed]), profile, ""), mode_of(profile))
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
