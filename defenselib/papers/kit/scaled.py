"""What stands beside a figure that a shortened schedule misses: the same training at twice the schedule, and what its
clean pool let in, epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from defenselib.experiments.result import Result
from defenselib.papers.kit.frame import mean_of
from defenselib.papers.kit.grid import Answer, Grid
from defenselib.papers.kit.request import SEVERAL, Cell, Thin, checked_request
from defenselib.papers.kit.table import number_of


@dataclass(frozen=True)
class Twice:
    """A cell as the profile has it, and the hyper-parameters that make up the length of its schedule."""

    cell: Cell
    schedule: tuple[str, ...]

    @property
    def longer(self) -> Cell:
        return replace(self.cell, times=dict.fromkeys(self.schedule, 2.0))


def doubled(
    paper: str,
    pairs: Sequence[Twice],
    profile: str = "laptop",
    store: Any = None,
    numbers: Sequence[str] = ("acc", "asr"),
) -> pd.DataFrame:
    """Cells beside the same at twice the schedule: dataset, attack, defense, variant, then each of `numbers` and its
    `twice_` (percent; means over the seeds that both were run with, NaN for what was not run). Reads only."""
    grid, rows = _grid(paper, profile, store), []
    for pair in pairs:
        usual, longer = (_by_seed(grid.answer(cell)) for cell in (pair.cell, pair.longer))
        both = usual.keys() & longer.keys()
        if both:
            usual, longer = ({seed: found[seed] for seed in sorted(both)} for found in (usual, longer))
        row: dict[str, Any] = {"dataset": pair.cell.dataset, "attack": pair.cell.attack, "defense": pair.cell.defense}
        row["variant"] = ", ".join(f"{k}={v}" for k, v in pair.cell.options.get("defense_args", {}).items())
        for name in numbers:
            for prefix, found in (("", usual), ("twice_", longer)):
                row[prefix + name] = mean_of(number_of(result, name) for result in found.values())
        rows.append(row)
    return pd.DataFrame(rows)


def history(paper: str, cell: Cell, profile: str = "laptop", store: Any = None) -> pd.DataFrame:
    """History of the runs of a cell, one row an epoch and seed (epoch, acc, asr, clean_size, clean_poisoned,
    clean_purity, seed); empty if there is none. Reads only."""
    results = _grid(paper, profile, store).answer(cell).results
    frames = [result.history_frame().assign(seed=result.experiment["seed"]) for result in results]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({"epoch": [], "seed": []})


def _grid(paper: str, profile: str, store: Any) -> Grid:
    request = checked_request(paper, profile, store=store)
    return Grid(paper, request, lambda cell, profile: SEVERAL, Thin())


def _by_seed(answer: Answer) -> dict[int, Result]:
    return {result.experiment["seed"]: result for result in answer.results}
