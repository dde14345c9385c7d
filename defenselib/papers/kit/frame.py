"""The tidy frame of every exhibit: which columns it has, and how rows are made.

Beside the printed columns and what was found (`FOUND`) a frame has one column for each axis of its exhibit (alpha,
epoch, panel, group, ...): numbers as numbers, empty where a row is not on that axis.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from defenselib.experiments import profile as profiles
from defenselib.experiments.result import Result
from defenselib.papers.kit import printed, verdict
from defenselib.plots import words

Row = Mapping[str, Any]
# gate: why a low ASR, or a DER, is nobody's merit (empty: it counts). spread: by how much chance alone moves this
# number at this profile. false_target: share of clean images of other classes that are called the target (NaN: not
# known). by_seed: the number of each seed. source: the copies of the data set that it was made on.
# results: hashes of the results that it is read from; of a DER also those of the undefended model.
FOUND = (
    *("reproduced", "n", "sd", "verdict", "profile", "ran_on", "reason", "gate", "false_target", "spread", "by_seed"),
    *("source", "results"),
)
STANDARD = frozenset((*printed.COLUMNS, *FOUND))
AVERAGE, WORST = "average", "worst"
FEWEST_CELLS = 3  # from which on a pooled spread stands alone
NO_NUMBER = "the paper prints no number here; the claims say what is seen"


def axes(frame: pd.DataFrame) -> list[str]:
    """The columns that are axes of the exhibit."""
    return [str(name) for name in frame.columns if name not in STANDARD]


def rows_of(rows: Iterable[Row]) -> pd.DataFrame:
    """A frame with the columns of a CSV and the axes that the rows name; what a row does not give is missing."""
    listed = list(rows)
    names = dict.fromkeys((*printed.COLUMNS, *(name for row in listed for name in row if name not in FOUND)))
    columns: dict[str, Any] = {name: [row.get(name) for row in listed] for name in names}
    return pd.DataFrame({**columns, "published": np.array(columns["published"], dtype="float64")})


def records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as dictionaries by column."""
    # Column by column: `to_dict` takes texts, which pandas holds as Arrow arrays, one by one through Arrow.
    columns = {str(name): rows[name].to_numpy(dtype=object).tolist() for name in rows}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def entry(
    numbers: Sequence[float], ran_on: Iterable[str] = (), reason: str = "", seeds: Sequence[int] = ()
) -> dict[str, Any]:
    """Mean, n and sd (n - 1) over the seeds; NaN and 0 where there are none. seeds: which seed each number is of."""
    # Plain Python: a page of the book takes thousands of such means, each of a few numbers.
    found = [float(number) for number in numbers if not pd.isna(number)]
    mean = math.fsum(found) / len(found) if found else math.nan
    squares = math.fsum((number - mean) ** 2 for number in found)
    pairs = zip(seeds, numbers, strict=True) if seeds else ()
    return {
        "reproduced": mean,
        "n": len(found),
        "sd": math.sqrt(squares / (len(found) - 1)) if len(found) > 1 else math.nan,
        "ran_on": ", ".join(dict.fromkeys(ran_on)) if found else "",
        "reason": reason,
        "by_seed": {seed: float(number) for seed, number in pairs if not pd.isna(number)},
    }


def mean_of(numbers: Iterable[float | None]) -> float:
    """The mean of those that are there; NaN where none is."""
    return float(entry([math.nan if number is None else float(number) for number in numbers])["reproduced"])


def finish(rows: pd.DataFrame, found: Sequence[Row], profile: str) -> pd.DataFrame:
    """The printed columns and axes of `rows` with what was found in each, types fixed."""
    usual: dict[str, Any] = {"gate": "", "by_seed": {}, "spread": 0.0, "source": "", "results": ()}
    types = {"reproduced": "float64", "n": "int64", "sd": "float64", "false_target": "float64", "spread": "float64"}
    made: dict[str, Any] = {name: [row.get(name, usual.get(name)) for row in found] for name in FOUND}
    made |= {name: np.array(made[name], dtype=kind) for name, kind in types.items()}
    # Built at once with its types: converting column by column took most of the time of a page of verdicts.
    columns: dict[str, Any] = {str(name): rows[name] for name in rows}
    extra = {name: columns.pop(name) for name in axes(rows)}
    return pd.DataFrame({**columns, **made, "profile": profile, **extra}, index=rows.index)


def unanswered(rows: pd.DataFrame, profile: str, reason: str) -> pd.DataFrame:
    """All rows as not run, for one reason."""
    return finish(rows, [{**entry([]), "verdict": "not run", "reason": reason}] * len(rows), profile)


def times_count(result: Result) -> bool:
    """Whether the seconds of a result may stand beside others at its profile: those of a GPU do not at a profile made
    for processors."""
    return profiles.load(result.profile).times == "any" or not result.machine.get("gpu")


def counted(result: Result, seconds: float) -> float:
    """`seconds` of a result where they count, else NaN."""
    return seconds if times_count(result) else math.nan


def uncounted(result: Result) -> str:
    """Why the seconds of a result do not count; empty where they do."""
    if times_count(result):
        return ""
    return f"times at {result.profile} are those of a processor, and this ran on one {result.machine['gpu']}"


def machine_of(result: Result) -> str:
    """A few words on where a result was made: the GPU's name, or the number of CPU cores."""
    gpu, cores = result.machine.get("gpu"), result.machine.get("cores")
    return str(gpu) if gpu else f"{cores} CPU cores" if cores else "unknown"


def sources_of(results: Iterable[Result]) -> str:
    """The copies of data sets that results were made on ("cifar10-jpeg")."""
    return joined(str(result.experiment["source"]) for result in results)


def hashes_of(results: Iterable[Result]) -> tuple[str, ...]:
    """Each result's hash once, in order."""
    return tuple(dict.fromkeys(result.hash for result in results))


def joined(parts: Iterable[str]) -> str:
    """Each of them once, in order."""
    return ", ".join(dict.fromkeys(part for part in parts if part))


def seed_of(result: Result) -> int:
    return int(result.experiment["seed"])


def spreads(metrics: Iterable[str], found: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """By metric, in points: the standard deviation over the seeds, pooled over the cells that have three or more; at
    least an assumed one where fewer than three cells have (one undefended model moves by hundredths)."""
    squares: dict[str, list[float]] = {}
    for metric, made in zip(metrics, found, strict=True):
        if made["n"] >= 3 and not math.isnan(made["sd"]):
            squares.setdefault(str(metric), []).append(made["sd"] ** 2)
    known = dict(verdict.ASSUMED_SPREAD)
    for name, values in squares.items():
        pooled = math.sqrt(math.fsum(values) / len(values))
        known[name] = pooled if len(values) >= FEWEST_CELLS else max(pooled, known.get(name, 0.0))
    return known


# A row of one of these called "average" is the mean of the rows that agree with it in the other columns named; one
# called "worst" holds their lowest ACC or RA, their highest ASR. An attack's rows without attack are no part. What a
# verdict needs beside the number (a drop, what clean images reach) is made of the same rows.
AVERAGED = {
    "attack": ["dataset", "model", "defense", "variant", "metric"],
    "dataset": ["model", "attack", "target", "defense", "variant", "metric"],
    "target": ["dataset", "model", "attack", "defense", "variant", "metric"],
}


def parts_of_averages(rows: pd.DataFrame) -> dict[int, list[int]]:
    """Position of each row that is an average of others: the positions of its parts. One that states a poisoning rate
    is over the rows of this rate alone."""
    found: dict[int, list[int]] = {}
    rates = rows["poisoning_rate"].to_numpy()
    for axis, same in AVERAGED.items():
        whole_rows = rows[axis].isin([AVERAGE, WORST]).to_numpy()
        if not whole_rows.any():
            continue
        left_out = whole_rows | (rows[axis] == "none").to_numpy()
        keys = rows[same].astype(object).fillna("").astype(str).agg("/".join, axis=1).to_numpy()
        for position in whole_rows.nonzero()[0]:
            here = (rates == rates[position]) | pd.isna(rates[position])
            parts = [int(i) for i in ((keys == keys[position]) & ~left_out & here).nonzero()[0]]
            if parts:
                found[int(position)] = parts
    return found


def fill_averages(rows: pd.DataFrame, found: list[dict[str, Any]], means: Mapping[int, list[int]]) -> None:
    """Fill the rows that are averages from their parts; with a part missing the reason lists it."""
    for position, parts in means.items():
        axis = next(axis for axis in AVERAGED if rows[axis].iloc[position] in (AVERAGE, WORST))
        asked, metric = str(rows[axis].iloc[position]), str(rows["metric"].iloc[position])
        missing = [words.value(rows[axis].iloc[i], axis) for i in parts if math.isnan(found[i]["reproduced"])]
        if missing:
            kind = "data set" if axis == "dataset" else axis
            found[position] = entry([], reason=f"{asked} of {len(parts)} {kind}s, missing: {', '.join(missing)}")
            continue
        ordered = sorted(parts, key=lambda i: float(found[i]["reproduced"]))
        of = parts if asked == AVERAGE else [ordered[-1 if metric == "asr" else 0]]
        made = entry(
            [found[i]["reproduced"] for i in of], [machine for i in parts for machine in found[i]["ran_on"].split(", ")]
        )
        made |= {"n": min(found[i]["n"] for i in parts), "sd": math.nan}
        made["source"] = joined(found[i].get("source", "") for i in parts)
        made["results"] = tuple(dict.fromkeys(key for i in parts for key in found[i].get("results", ())))
        closed = [f"{words.value(rows[axis].iloc[i], axis)}: {found[i]['gate']}" for i in parts if found[i].get("gate")]
        made["gate"] = "; ".join(closed)
        for partner in ("drop", "no_attack", "false_target"):
            made[partner] = sum(found[i].get(partner, math.nan) for i in of) / len(of)
        found[position] = made
