"""Rows that several trainings answer together: bounds, averages, ratios, places on a curve."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from defenselib.experiments.result import Result
from defenselib.papers.kit import frame as frames
from defenselib.papers.kit import verdict
from defenselib.papers.kit.exhibit import Exhibit
from defenselib.papers.kit.frame import Row, entry, machine_of
from defenselib.papers.kit.gates import Gating
from defenselib.papers.kit.grid import Grid, mode_of
from defenselib.papers.kit.request import Cell, Request
from defenselib.papers.kit.table import judged
from defenselib.plots import words

# There is no single undefended model that a drop over several trainings could be taken against.
NO_LEVEL = "levels of accuracy are not comparable at this profile"
Found = Sequence["tuple[Result, ...]"]  # the results of each cell, one a seed


@dataclass(frozen=True)
class Number:
    """A number made of several trainings: all the cells that it needs, and what it takes from their results."""

    cells: tuple[Cell, ...]
    value: Callable[[Found], float]


@dataclass(frozen=True, kw_only=True)
class Composed(Exhibit):
    """Rows of which each is made of one or several cells. number: what makes it, or why nothing does.

    A number that the paper prints as a bound (`bound`: 1 for a lower, -1 for an upper one, 0 for none) agrees where it
    lies on that side.
    """

    number: Callable[[Row], Number | str]
    bound: Callable[[Row], int] = lambda row: 0

    def _reproduce(self, request: Request) -> pd.DataFrame:
        rows, grid = self._printed(), self.grid(request)
        gating = Gating(self.paper, self.references, grid)
        found = [_composed(self.number(row), grid, gating, str(row["metric"])) for row in frames.records(rows)]
        frame = judged(rows, found, self.paper, (), request.profile)
        mode = mode_of(request.profile)
        if mode == "order":
            level = (frame["metric"] == "acc") & frame["reproduced"].notna()
            frame.loc[level, ["verdict", "reason"]] = [verdict.NOT_COMPARABLE, NO_LEVEL]
        if mode != "numbers":
            return frame
        sides = [self.bound(row) for row in frames.records(frame)]
        for label, side in zip(frame.index, sides, strict=True):
            if side and frame.loc[label, "verdict"] in (verdict.AGREES, verdict.DIFFERS):
                agrees = side * (frame.loc[label, "reproduced"] - float(frame.loc[label, "published"])) >= 0
                frame.loc[label, "verdict"] = verdict.AGREES if agrees else verdict.DIFFERS
        return frame


def _composed(number: Number | str, grid: Grid, gating: Gating, metric: str) -> dict[str, Any]:
    if isinstance(number, str):
        return entry([], reason=number)
    answers = [grid.answer(cell) for cell in number.cells]
    named = [
        (words.value(cell.attack, "attack"), cell, answer) for cell, answer in zip(number.cells, answers, strict=True)
    ]
    missing = [(name, answer.reason) for name, _, answer in named if not answer.results]
    if missing:
        lacking, reasons = (dict.fromkeys(told) for told in zip(*missing, strict=True))
        of_all = f"needs {len(answers)} trainings, {len(missing)} missing ({', '.join(lacking)}): "
        return entry([], reason=("" if len(answers) == 1 else of_all) + "; ".join(reasons))
    value = number.value([answer.results for answer in answers])
    results = [result for answer in answers for result in answer.results]
    reason = f"over {len(answers)} trainings" if len(answers) > 1 else answers[0].reason
    reason = "no such place in these results" if math.isnan(value) else reason
    made = entry([value], map(machine_of, results), reason)
    if mode_of(grid.request.profile) != "none":
        gates = ((name, gating.gate(cell, answer).of(metric)) for name, cell, answer in named)
        made["gate"] = "; ".join(dict.fromkeys(f"{name}: {gate}" for name, gate in gates if gate))
    return {**made, "source": frames.sources_of(results), "results": frames.hashes_of(results)}
