"""One profile's numbers as a claim sees them: rows by column, curves by their end, metrics made of others."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import pandas as pd

from defenselib.papers.kit import frame as frames

KEYS = ("dataset", "model", "attack", "target", "poisoning_rate", "defense")
AVERAGED, AGGREGATES = ("dataset", "attack", "target"), (frames.AVERAGE, frames.WORST)
Values = Sequence[float]
# How numbers along an axis become one; of curves whose missing points are no rows, those that are there count.
REDUCTIONS: Mapping[str, Callable[[Values], float]] = {
    "first": lambda values: values[0],
    "last": lambda values: values[-1],
    "mean": fmean,
    "sum": math.fsum,
    "max": max,
    "min": min,
    "span": lambda values: max(values) - min(values),
}


@dataclass(frozen=True)
class Not:
    """In a selection: every value but these."""

    values: tuple[Any, ...]

    def __str__(self) -> str:
        return f"not {', '.join(map(str, self.values))}"


def other_than(*values: Any) -> Not:
    return Not(values)


class View:
    """The rows of one profile. A row that was not run has no number; of a figure's cell that was not run there is one
    row without a metric, which stands for all that the cell would show."""

    def __init__(self, frame: pd.DataFrame, mode: str, known: frozenset[str] | None = None) -> None:
        # Columns of texts are Arrow arrays, which are slow to read one by one; attributes are copied, deeply, into
        # whatever is taken from a frame.
        self.frame = frame.astype({name: object for name, kind in frame.dtypes.items() if kind == "str"})
        self.frame.attrs = {}
        self.mode = mode
        # Axes that a cell states before it is run: one that states none is not on them, while what only results have
        # (panels, epochs) may be anything.
        there = frame.loc[frame["metric"].isna()].notna().any()
        self.known = frozenset(map(str, there[there].index)) if known is None else known
        self.keys = [name for name in (*KEYS, *frames.axes(frame)) if name in frame.columns]

    def select(self, metric: str, **where: Any) -> pd.DataFrame:
        """The rows of a metric in which every named column has the given value, or one of a tuple, or none of
        `other_than`; averages only where they are named. Rows without a metric count where nothing speaks against."""
        rows = self.frame
        placeholder = rows["metric"].isna().to_numpy()
        keep = (rows["metric"] == metric).to_numpy() | placeholder
        for column in AVERAGED:
            if column in rows and not _names_average(where.get(column)):
                keep = keep & ~rows[column].isin(AGGREGATES).to_numpy()
        for column, wanted in where.items():
            if column not in rows:
                keep = keep & placeholder
                continue
            hit = _matches(rows[column], wanted)
            open_to_all = placeholder & rows[column].isna().to_numpy() & (column not in self.known)
            keep = keep & (hit | open_to_all)
        if not (keep & placeholder).any():
            return rows[keep]
        # So that the row of a cell that was not run pairs with those of cells that were.
        fixed = {
            name: value for name, value in where.items() if name in rows and not isinstance(value, tuple | list | Not)
        }
        return rows[keep].fillna(fixed)

    def only(self, **where: Any) -> View:
        """The rows that `select` would name, of every metric."""
        keep = self.frame["metric"].isna().to_numpy()
        for metric in self.frame["metric"].dropna().unique():
            keep = keep | self.frame.index.isin(self.select(metric, **where).index)
        return View(self.frame[keep], self.mode, self.known)

    def reduced(self, axis: str, how: str) -> View:
        """The same with the rows along an axis made one, in the order of the axis. A mean, sum, largest or least number
        is missing where one of its parts is."""
        if axis not in self.frame:
            return self
        rows = self.frame[~self.frame[axis].isin(AGGREGATES)] if axis in AVERAGED else self.frame
        keys = [name for name in self.keys if name != axis]
        ran, absent = rows[rows["metric"].notna()], rows[rows["metric"].isna()]
        groups = [part for _, part in ran.groupby([*keys, "metric"], dropna=False, sort=False)]
        # A cell that was not run lies on every curve that it would be a point of; alone it stays one row.
        lacking = [_on_curve(absent, part, keys, self.known) for part in groups]
        alone = [part.iloc[[0]] for _, part in absent.groupby(keys, dropna=False, sort=False)]
        met = set().union(*(set(found.index) for found in lacking))
        made = [_one_of(part, axis, how, len(found)) for part, found in zip(groups, lacking, strict=True)]
        made += [{str(k): v for k, v in part.iloc[0].items()} for part in alone if part.index[0] not in met]
        return View(pd.DataFrame(made, columns=rows.columns).drop(columns=axis), self.mode, self.known)

    def derived(self, name: str, weights: Mapping[str, float]) -> View:
        """The same with a further metric, the weighted sum of others of the same cell ({"acc": 1, "asr": -1})."""
        parts = self.frame[self.frame["metric"].isin(weights)]
        made = []
        for _, part in parts.groupby(self.keys, dropna=False, sort=False):
            by_metric = {row["metric"]: row for row in frames.records(part)}
            if by_metric.keys() == weights.keys():
                made.append(_sum_of(by_metric, name, weights))
        return (
            View(pd.concat([self.frame, pd.DataFrame(made)], ignore_index=True), self.mode, self.known)
            if made
            else self
        )


def _names_average(wanted: Any) -> bool:
    named = wanted if isinstance(wanted, tuple | list) else (wanted,)
    return any(name in AGGREGATES for name in named if isinstance(name, str))


def _matches(column: pd.Series, wanted: Any) -> Any:
    if isinstance(wanted, Not):
        return (~column.isin(wanted.values)).to_numpy()
    if isinstance(wanted, tuple | list):
        return column.isin(list(wanted)).to_numpy()
    return (column == wanted).to_numpy()


def _on_curve(absent: pd.DataFrame, part: pd.DataFrame, keys: Sequence[str], known: frozenset[str]) -> pd.DataFrame:
    """The rows of cells that were not run whose keys are those of `part`, or unknown (on an axis not in `known`)."""
    for key in keys:
        if absent.empty:
            break
        value = part[key].iloc[0]
        same = absent[key].isna() if pd.isna(value) else absent[key] == value
        absent = absent[same if key in known else same | absent[key].isna()]
    return absent


def _one_of(part: pd.DataFrame, axis: str, how: str, lacking: int) -> dict[str, Any]:
    ordered = part.sort_values(axis, kind="stable") if part[axis].notna().any() and len(part) > 1 else part
    numbers = ordered["reproduced"].tolist()
    made = {str(name): value for name, value in ordered.iloc[-1].items()}
    there = [number for number in numbers if not math.isnan(number)]
    complete = bool(there) and ((len(there) == len(numbers) and not lacking) or how in ("first", "last"))
    seeds = set.intersection(*(set(found) for found in ordered["by_seed"])) if complete else set()
    made["reproduced"] = REDUCTIONS[how](there) if complete else math.nan
    made["by_seed"] = {seed: REDUCTIONS[how]([found[seed] for found in ordered["by_seed"]]) for seed in seeds}
    made["gate"] = "; ".join(dict.fromkeys(gate for gate in ordered["gate"] if gate))
    return made


def _sum_of(by_metric: Mapping[str, dict[str, Any]], name: str, weights: Mapping[str, float]) -> dict[str, Any]:
    made = {**next(iter(by_metric.values())), "metric": name}
    made["reproduced"] = math.fsum(weight * by_metric[one]["reproduced"] for one, weight in weights.items())
    seeds = set.intersection(*(set(row["by_seed"]) for row in by_metric.values()))
    made["by_seed"] = {
        seed: math.fsum(weight * by_metric[one]["by_seed"][seed] for one, weight in weights.items()) for seed in seeds
    }
    made["spread"] = math.hypot(*(weight * by_metric[one]["spread"] for one, weight in weights.items()))
    made["gate"] = "; ".join(dict.fromkeys(row["gate"] for row in by_metric.values() if row["gate"]))
    return made
