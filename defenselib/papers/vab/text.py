"""The numbers that stand only in V&B's text (Zhu et al., ICCV 2023): bounds and places, each over several cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from defenselib.papers.kit import frame as frames
from defenselib.papers.kit.exhibit import Exhibit, Row
from defenselib.papers.kit.grid import Cell, Grid, Request
from defenselib.papers.vab.measures import deepest_dip, first_drop, highest, mean, mixture_of

if TYPE_CHECKING:
    from defenselib.experiments.result import Result

Found = Sequence["tuple[Result, ...]"]  # the results of each cell, one a seed


@dataclass(frozen=True)
class Number:
    """A number of the text: the cells that it needs, all of them, and what it takes from their results."""

    cells: tuple[Cell, ...]
    value: Callable[[Found], float]


@dataclass(frozen=True, kw_only=True)
class Text(Exhibit):
    """numbers: by variant of the row, with its attack before a bar where the row has one and its data set where two
    rows differ in nothing else: "badnets|item=..."."""

    numbers: Mapping[str, Number]

    @property
    def status(self) -> str:
        return "available"

    def _reproduce(self, request: Request) -> pd.DataFrame:
        rows, grid = self._printed(), self.grid(request)
        found = [self._entry(self.numbers[key_of(row)], grid) for row in frames.records(rows)]
        return frames.judged(rows, found, self.paper, (), request.profile)

    def _entry(self, number: Number, grid: Grid) -> dict[str, Any]:
        answers = [grid.answer(cell) for cell in number.cells]
        missing = [cell.attack for cell, answer in zip(number.cells, answers, strict=True) if not answer.results]
        if missing:
            reasons = dict.fromkeys(answer.reason for answer in answers if not answer.results)
            lacking = ", ".join(dict.fromkeys(missing))
            words = f"needs {len(answers)} cells, {len(missing)} missing ({lacking}): {'; '.join(reasons)}"
            return frames.entry([], reason=words)
        value = number.value([answer.results for answer in answers])
        machines = [frames.machine_of(result) for answer in answers for result in answer.results]
        reason = "no such place in these results" if math.isnan(value) else f"over {len(answers)} cells"
        return frames.entry([value], machines, reason)


def key_of(row: Row) -> str:
    """What `Text.numbers` calls a row."""
    attack: str = "" if pd.isna(row["attack"]) else f"{row['attack']}|"
    dataset = "" if row["dataset"] == "cifar10" else f"{row['dataset']}|"
    scoped = str(row["variant"]) + (f";defense={row['defense']}" if row["defense"] == "none" else "")
    return f"{dataset}{attack}{scoped}" + (f";rate={row['poisoning_rate']:g}" if row["poisoning_rate"] == 0.5 else "")


def least_asr(found: Found) -> float:
    return min(mean(results, "asr") for results in found)


def largest_asr(found: Found) -> float:
    return max(mean(results, "asr") for results in found)


def middle_asr(found: Found) -> float:
    """ "Most attacks" stay at or below their median."""
    return float(np.median([mean(results, "asr") for results in found]))


def largest_drop(found: Found) -> float:
    """Points of ACC; the cells are the undefended ones, then the defended ones, in one order."""
    half = len(found) // 2
    pairs = zip(found[:half], found[half:], strict=True)
    return max(mean(before, "acc") - mean(after, "acc") for before, after in pairs)


def threshold(found: Found) -> float:
    """mu_1 + sigma_1, mean over the cells."""
    return float(np.mean([mixture_of(results[0]).below(1.0) for results in found]))


def place_of(metric: str, kind: str, places: Sequence[float]) -> Callable[[Found], float]:
    """Where along `places`, one a cell, something happens to a metric: "drop", "top" or "dip"."""
    rule = {"drop": first_drop, "top": highest, "dip": deepest_dip}[kind]
    return lambda found: rule([mean(results, metric) for results in found], places)
