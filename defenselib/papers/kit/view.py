"""One profile's numbers as a claim sees them: rows by column, curves by their end, metrics made of others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import pandas as pd

from defenselib.papers.kit import frame as frames
from defenselib.plots.words import missing

KEYS = ("dataset", "model", "attack", "target", "poisoning_rate", "defense")
OF_ATTACK = ("target", "poisoning_rate")
AVERAGED, AGGREGATES = ("dataset", "attack", "target"), (frames.AVERAGE, frames.WORST)
Found = dict[str, Any]
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
        # Plain rows: claims take thousands of small selections, each of which costs a frame as much as a large one.
        rows, names = frames.records(frame), list(map(str, frame.columns))
        # Axes that a cell states before it is run: one that states none is not on them, while what only results have
        # (panels, epochs) may be anything.
        there = (name for name in names for row in rows if missing(row["metric"]) and not missing(row[name]))
        self._fill(rows, names, mode, frozenset(there) if known is None else known)

    def _fill(self, rows: list[Found], names: Sequence[str], mode: str, known: frozenset[str]) -> None:
        self.rows, self.columns, self.mode, self.known = rows, names, mode, known
        self.keys = [name for name in (*KEYS, *(n for n in names if n not in frames.STANDARD)) if name in names]

    def _of(self, rows: list[Found], without: str | None = None) -> View:
        """The same of other rows, or without a column."""
        made = View.__new__(View)
        made._fill(rows, [name for name in self.columns if name != without], self.mode, self.known)
        return made

    @property
    def profiles(self) -> set[str]:
        return {row["profile"] for row in self.rows}

    def select(self, metric: str, **where: Any) -> list[Found]:
        """The rows of a metric in which every named column has the given value, or one of a tuple, or none of
        `other_than`; averages only where they are named. Rows without a metric count where nothing speaks against."""
        rows = [row for row in self._named(where) if row["metric"] == metric or missing(row["metric"])]
        # So that the row of a cell that was not run pairs with those of cells that were.
        given = {k: v for k, v in where.items() if k in self.columns and not isinstance(v, tuple | list | Not)}
        if not given or not any(missing(row["metric"]) for row in rows):
            return rows
        return [row | {name: value for name, value in given.items() if missing(row[name])} for row in rows]

    def number(self, metric: str, **where: Any) -> float:
        """The first number of a selection; NaN where it has none."""
        return next((n for row in self.select(metric, **where) if not math.isnan(n := row["reproduced"])), math.nan)

    def only(self, **where: Any) -> View:
        """The rows that `select` would name, of every metric."""
        named = set(map(id, self._named(where)))
        return self._of([row for row in self.rows if id(row) in named or missing(row["metric"])])

    def _named(self, where: Mapping[str, Any]) -> list[Found]:
        """The rows of every metric, and those without one, that a selection names."""
        rows = self.rows
        for column in AVERAGED:
            if column in self.columns and not _names_average(where.get(column)):
                rows = [row for row in rows if row[column] not in AGGREGATES]
        for column, wanted in where.items():
            known, hit = column in self.known, _test(wanted)
            if column in self.columns:
                rows = [row for row in rows if hit(row[column]) or (not known and _open(row, column))]
            else:
                rows = [row for row in rows if missing(row["metric"])]
        return rows

    def reduced(self, axis: str, how: str) -> View:
        """The same with the rows along an axis made one, in the order of the axis; with the attacks go their rates and
        targets. A mean, sum, largest or least number is missing where one of its parts is."""
        if axis not in self.columns:
            return self
        rows = [row for row in self.rows if axis not in AVERAGED or row[axis] not in AGGREGATES]
        gone = [name for name in OF_ATTACK if axis == "attack" and name in self.keys]
        keys = [name for name in self.keys if name != axis and name not in gone]
        curves = grouped([row for row in rows if not missing(row["metric"])], [*keys, "metric"])
        absent = grouped([row for row in rows if missing(row["metric"])], keys)
        # A cell that was not run lies on every curve that it would be a point of; alone it stays one row.
        lacking = [[cell for cell in absent if _on_curve(cell[0], part[0], keys, self.known)] for part in curves]
        met = [id(cell) for cells in lacking for cell in cells]
        ends = [_one_of(part, axis, how, not cells) for part, cells in zip(curves, lacking, strict=True)]
        made = [end | dict.fromkeys(gone, math.nan) for end in ends]
        return self._of([*made, *(cell[0] for cell in absent if id(cell) not in met)], without=axis)

    def derived(self, name: str, weights: Mapping[str, float]) -> View:
        """The same with a further metric, the weighted sum of others of the same cell ({"acc": 1, "asr": -1})."""
        cells = grouped([row for row in self.rows if row["metric"] in weights], self.keys)
        by_metric = [{row["metric"]: row for row in cell} for cell in cells]
        made = [_sum_of(cell, name, weights) for cell in by_metric if cell.keys() == weights.keys()]
        return self._of([*self.rows, *made])


def _names_average(wanted: Any) -> bool:
    named = wanted if isinstance(wanted, tuple | list) else (wanted,)
    return any(name in AGGREGATES for name in named if isinstance(name, str))


def _test(wanted: Any) -> Callable[[Any], bool]:
    if isinstance(wanted, Not):
        return lambda value: value not in wanted.values
    if isinstance(wanted, tuple | list):
        return lambda value: value in wanted
    return lambda value: bool(value == wanted)


def _open(row: Found, column: str) -> bool:
    return missing(row["metric"]) and missing(row[column])


def grouped(rows: Iterable[Found], keys: Sequence[str]) -> list[list[Found]]:
    """The rows that agree in all of these columns together, in the order of their first."""
    groups: dict[tuple[Any, ...], list[Found]] = {}
    for row in rows:
        groups.setdefault(tuple(None if missing(row[key]) else row[key] for key in keys), []).append(row)
    return list(groups.values())


def _on_curve(cell: Found, part: Found, keys: Sequence[str], known: frozenset[str]) -> bool:
    """Whether the keys of a cell that was not run are those of `part`, or unknown (on an axis not in `known`)."""
    return all(
        (missing(cell[key]) and (key not in known or missing(part[key]))) or cell[key] == part[key] for key in keys
    )


def _one_of(part: Sequence[Found], axis: str, how: str, whole: bool) -> Found:
    """One row of a curve's rows; whole: no point of it was left out."""
    ordered = sorted(part, key=lambda row: (missing(row[axis]), 0 if missing(row[axis]) else row[axis]))
    there = [row["reproduced"] for row in ordered if not math.isnan(row["reproduced"])]
    complete = bool(there) and ((len(there) == len(ordered) and whole) or how in ("first", "last"))
    seeds = set.intersection(*(set(row["by_seed"]) for row in ordered)) if complete else set()
    called = [row["false_target"] for row in ordered]
    known = how in ("first", "last") or not any(map(math.isnan, called))
    return {
        **ordered[-1],
        "published": math.nan,  # that of one row is not that of all
        "reproduced": REDUCTIONS[how](there) if complete else math.nan,
        "by_seed": {seed: REDUCTIONS[how]([row["by_seed"][seed] for row in ordered]) for seed in seeds},
        "gate": "; ".join(dict.fromkeys(row["gate"] for row in ordered if row["gate"])),
        "false_target": REDUCTIONS[how](called) if known else math.nan,  # as the ASR that it is held against
    }


def _sum_of(by_metric: Mapping[str, dict[str, Any]], name: str, weights: Mapping[str, float]) -> dict[str, Any]:
    made = {**next(iter(by_metric.values())), "metric": name, "published": math.nan}
    made["reproduced"] = math.fsum(weight * by_metric[one]["reproduced"] for one, weight in weights.items())
    seeds = set.intersection(*(set(row["by_seed"]) for row in by_metric.values()))
    made["by_seed"] = {
        seed: math.fsum(weight * by_metric[one]["by_seed"][seed] for one, weight in weights.items()) for seed in seeds
    }
    made["spread"] = math.hypot(*(weight * by_metric[one]["spread"] for one, weight in weights.items()))
    made["gate"] = "; ".join(dict.fromkeys(row["gate"] for row in by_metric.values() if row["gate"]))
    return made
