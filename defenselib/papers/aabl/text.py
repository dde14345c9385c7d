"""The numbers that stand only in A-ABL's text (Zhao and Wressnegger, AISec 2024): bounds over cells, shares, counts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from defenselib.papers.kit import frame as frames
from defenselib.papers.kit import printed
from defenselib.papers.kit.exhibit import Exhibit, Row
from defenselib.papers.kit.grid import Answer, Cell, Grid, Request

# Rows that no training answers, by metric.
ELSEWHERE = {
    "eps_255": "no number of a cell; the claims on Figures 3 and 6 judge it",
    "isolation_share": "a setting of another method, nothing to run",
    "asr": "the definition of a failure, nothing to run",
}


@dataclass(frozen=True, kw_only=True)
class Text(Exhibit):
    """splits: cells over which gamma and the share of benign samples kept have their minimum. rates: by attack, the
    cell of a low poisoning rate. shares: by attack ("" for most of them) the cell whose poisoned share is counted."""

    splits: tuple[Cell, ...]
    rates: Mapping[str, Cell]
    shares: Mapping[str, Cell]

    @property
    def status(self) -> str:
        return "available"

    def _reproduce(self, request: Request) -> pd.DataFrame:
        rows, grid = self._printed(), self.grid(request)
        found = [self._entry({key: _plain(value) for key, value in row.items()}, grid) for row in frames.records(rows)]
        return frames.judged(rows, found, self.paper, (), request.profile)

    def _entry(self, row: Row, grid: Grid) -> dict[str, Any]:
        metric, attack = str(row["metric"]), str(row["attack"])
        if metric in ("gamma", "benign_kept"):
            return self._least(metric, grid)
        if metric in ("benign_share", "altered_share"):
            answer = grid.answer(self.shares[attack])
            return _of(answer, [_share(metric, result) for result in answer.results])
        if attack in self.rates:
            answer = grid.answer(self.rates[attack])
            return _of(answer, [result.asr for result in answer.results])
        if metric == "count":
            return frames.entry([], reason=_counted(str(row["variant"]).partition("=")[2]))
        return frames.entry([], reason=ELSEWHERE[metric])

    def _least(self, metric: str, grid: Grid) -> dict[str, Any]:
        answers = {cell.attack: grid.answer(cell) for cell in self.splits}
        found = {
            name: frames.entry([result.metrics[metric] for result in answer.results])["reproduced"]
            for name, answer in answers.items()
        }
        missing = [name for name, value in found.items() if math.isnan(value)]
        if len(missing) == len(found):
            return frames.entry([], reason=answers[self.splits[0].attack].reason)
        machines = [frames.machine_of(result) for answer in answers.values() for result in answer.results]
        words = f"lowest of {len(found) - len(missing)} attacks" + (f", missing: {', '.join(missing)}" * bool(missing))
        return frames.entry([min(value for value in found.values() if not math.isnan(value))], machines, words)


def _plain(value: Any) -> Any:
    return "" if pd.isna(value) else value


def _of(answer: Answer, numbers: list[float]) -> dict[str, Any]:
    return frames.entry(numbers, map(frames.machine_of, answer.results), answer.reason)


def _share(metric: str, result: Any) -> float:
    altered = result.poisoned_count + (result.cross_count if metric == "altered_share" else 0)
    share = 100.0 * altered / int(result.experiment["train_size"])
    return share if metric == "altered_share" else 100.0 - share


def _counted(what: str) -> str:
    """How many attacks, data sets or networks the paper's own tables hold."""
    tables = pd.concat([printed.table("aabl", key) for key in printed.tables("aabl") if key != "text-1"])
    column, other = {
        "attacks": ("attack", {"none", "average", "worst"}),
        "datasets": ("dataset", set()),
        "architectures": ("model", set()),
        "additional-architectures": ("model", set(printed.table("aabl", "table-3")["model"].dropna())),
    }[what]
    names = [str(name) for name in dict.fromkeys(tables[column].dropna()) if name not in other]
    return f"the paper's tables have {len(names)}: {', '.join(names)}"
