"""What was spent: seconds of the committed results, hours that the papers print, and both against the least that a
schedule needs.

Times of two machines never stand in one column: a row names its machine, and a printed time the table that it is from.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from defenselib.cpu.devices import AS_FLOAT32
from defenselib.errors import DataError, DefenseLibError
from defenselib.experiments import Experiment, floors
from defenselib.experiments.result import Result
from defenselib.experiments.schedule import PAPERS, Sizes, expected_poison
from defenselib.experiments.store import results_folder
from defenselib.papers.costs import kind_of
from defenselib.papers.kit import printed
from defenselib.papers.titles import TITLES

BENCH = "bench*.json"  # a file a machine and profile
STEPS = ["machine", "profile", "method", "way", "processes", "steps_per_second"]
HOUR = 3600.0
UNITS = {"seconds": 1 / HOUR, "hours": 1.0}


def machine_of(result: Result) -> str:
    """The kind of a machine as times depend on it: its GPU; else its processor and how that computes in bf16."""
    if result.machine.get("gpu"):
        return kind_of(result.machine)
    arithmetic = result.machine.get("bf16")
    said = {None: "not recorded", AS_FLOAT32: "computed as fp32"}.get(arithmetic, f"in {arithmetic}")
    return f"{kind_of(result.machine)} (bf16 {said})"


def seconds_of(result: Result) -> float:
    """What a cell took: on a processor of that, whatever else the machine did; on a GPU of the clock. NaN where the
    processor's were not recorded."""
    if result.machine.get("gpu"):
        return result.seconds
    return math.nan if result.cpu_seconds is None else result.cpu_seconds


def measured(results: Iterable[Result]) -> pd.DataFrame:
    """A row a profile, data set, method and kind of machine: profile, dataset, defense, machine, gpu, n, unrecorded
    (results without seconds of the processor), seconds (median), adds (median of the schedules' floors, see `floors`),
    pace (multiply-adds a second, median), share.

    share: of the time, what the multiply-adds take at the pace of the undefended training there; NaN without one. A
    defense that repairs a model stands without that model. A method without a schedule has no floor.
    """
    rows = [
        {
            "profile": result.profile,
            "dataset": result.experiment["dataset"],
            "defense": result.experiment["defense"],
            "machine": machine_of(result),
            "gpu": bool(result.machine.get("gpu")),
            "seconds": seconds_of(result),
            "adds": floors.floor_of(result),
        }
        for result in results
    ]
    columns = ["profile", "dataset", "defense", "machine", "gpu", "n", "unrecorded", "seconds", "adds", "pace", "share"]
    if not rows:
        return pd.DataFrame(columns=columns)
    every = pd.DataFrame(rows).assign(pace=lambda frame: frame["adds"] / frame["seconds"])
    found = every.groupby(columns[:5], sort=False, as_index=False).agg(
        n=("seconds", "count"),
        unrecorded=("seconds", lambda taken: int(taken.isna().sum())),
        seconds=("seconds", "median"),
        adds=("adds", "median"),
        pace=("pace", "median"),
    )  # fmt: skip
    plain = found[found["defense"] == "none"].set_index(["profile", "dataset", "machine"])["pace"]
    usual = [plain.get(key, math.nan) for key in zip(found["profile"], found["dataset"], found["machine"], strict=True)]
    return found.assign(share=100 * found["pace"] / usual)[columns]


def printed_times() -> pd.DataFrame:
    """Every run time that a paper prints of a whole method: paper, exhibit, dataset, defense, hours, note."""
    rows = []
    for paper in TITLES:
        for exhibit in printed.tables(paper):
            frame = printed.table(paper, exhibit)
            whole = frame[frame["metric"].isin(list(UNITS)) & (frame["dataset"] != "average")]
            if "stage" in whole:
                whole = whole[whole["stage"].isna() | (whole["stage"] == "total")]
            for row in whole.to_dict("records"):
                hours = float(row["published"]) * UNITS[row["metric"]]
                if not math.isnan(hours):
                    note = row["note"] if isinstance(row["note"], str) else ""
                    rows.append({"paper": paper, "exhibit": exhibit, "dataset": row["dataset"],
                                 "defense": row["defense"], "hours": hours, "note": note})  # fmt: skip
    return pd.DataFrame(rows)


def paper_floor(defense: str, dataset: str) -> float:
    """Multiply-adds that a method needs at least at the papers' own schedule and network; NaN where the data set's size
    is unknown here, or the method has no schedule."""
    from defenselib import data

    cell = Experiment(dataset=dataset, attack="badnets", defense=defense, paper=PAPERS.get(defense), profile="paper")
    try:
        resolved = cell.resolve()
        about = data.info(resolved.dataset)
        adds = floors.adds_of(resolved.model, about.num_classes, about.image_size, resolved.width)
        sizes = Sizes(resolved.train_size, expected_poison(resolved))
        return floors.floor(resolved.defense.name, resolved.defense, sizes, adds)
    except DefenseLibError:
        return math.nan


def bench() -> pd.DataFrame | None:
    """Steps a second as `defenselib.bench` measured them: machine, profile, method (an inner loop), way ("eager",
    "captured"), processes, steps_per_second, a row a number; None where no file is there. Errors: DataError for another
    file."""
    folder = results_folder()
    files = [] if folder is None else sorted((folder / "trials").glob(BENCH))
    return pd.DataFrame([row for file in files for row in _steps(file)], columns=STEPS) if files else None


def _steps(file: Path) -> Iterator[dict[str, Any]]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        about = {"machine": found["machine"]["gpu"] or found["machine"]["cpu"], "profile": found["profile"]}
        for loop, numbers in found["loops"].items():
            for way in ("eager", "captured"):
                for key, processes in ((way, 1), (f"{way}_together", found["processes"])):
                    if not isinstance(numbers[key], str):  # a text says why there is none
                        rate = {"processes": processes, "steps_per_second": float(numbers[key])}
                        yield {**about, "method": loop, "way": way, **rate}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file} holds no steps a second as defenselib.bench writes them: {error!r}") from error
