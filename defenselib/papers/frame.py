"""The tidy frame of every exhibit: printed rows, answers, averages, verdicts, the best of several profiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from defenselib.experiments import profile as profiles
from defenselib.papers import printed, verdict
from defenselib.papers.grid import Answer, Cell, Grid, Request

if TYPE_CHECKING:
    from defenselib.experiments.result import Result

Row = Mapping[str, Any]
FOUND = ("reproduced", "n", "sd", "verdict", "profile", "ran_on", "reason")
AVERAGE = "average"
NO_NUMBER = "the paper prints no number here; the claims say what is seen"


def empty_rows(rows: Iterable[Row]) -> pd.DataFrame:
    """A frame with the columns of a CSV; what a row does not give is missing."""
    frame = pd.DataFrame([{**dict.fromkeys(printed.COLUMNS), **row} for row in rows], columns=list(printed.COLUMNS))
    return frame.astype({"published": "float64"})


def records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as dictionaries by column."""
    return cast("list[dict[str, Any]]", rows.to_dict("records"))


def entry(numbers: Sequence[float], ran_on: Iterable[str] = (), reason: str = "") -> dict[str, Any]:
    """Mean, n and sd (n - 1) over the seeds; NaN and 0 where there are none."""
    series = pd.Series(list(numbers), dtype="float64").dropna()
    machines = ", ".join(dict.fromkeys(ran_on))
    return {
        "reproduced": series.mean() if len(series) else math.nan,
        "n": len(series),
        "sd": series.std(ddof=1) if len(series) > 1 else math.nan,
        "ran_on": machines if len(series) else "",
        "reason": reason,
    }


def finish(rows: pd.DataFrame, found: Sequence[Row], profile: str) -> pd.DataFrame:
    """The printed columns of `rows` followed by those of `found`, with types fixed."""
    added = pd.DataFrame(list(found), index=rows.index).reindex(columns=list(FOUND))
    added["profile"] = profile
    added = added.astype({"reproduced": "float64", "n": "int64", "sd": "float64"})
    return pd.concat([rows, added], axis=1)


def unanswered(rows: pd.DataFrame, profile: str, reason: str) -> pd.DataFrame:
    """All rows as not run, for one reason."""
    one = {**entry([]), "verdict": verdict.NOT_RUN, "reason": reason}
    return finish(rows, [one] * len(rows), profile)


def machine_of(result: Result) -> str:
    """A few words on where a result was made: the GPU's name, or the number of CPU cores."""
    gpu, cores = result.machine.get("gpu"), result.machine.get("cores")
    return str(gpu) if gpu else f"{cores} CPU cores" if cores else "unknown"


def answered(
    rows: pd.DataFrame,
    grid: Grid,
    cell_of: Callable[[Row], Cell | None],
    value: Callable[[Row, Result], float],
    request: Request,
) -> list[dict[str, Any]]:
    """One entry a row of a table, with what the verdict needs beside it (undefended, no_attack)."""
    partners = needs_partners(request.profile)
    found: list[dict[str, Any]] = []
    for row in records(rows):
        cell = None if row["attack"] == AVERAGE else cell_of(row)
        if cell is None:
            found.append(entry([], reason="" if row["attack"] == AVERAGE else "nothing to run"))
            continue
        answer = grid.answer(cell)
        made = _of(answer, row, value)
        if partners and answer.results and row["metric"] == "acc":
            made.update(_partners(cell, grid, row, value))
        found.append(made)
    return average(rows, found)


def needs_partners(profile: str) -> bool:
    """Whether the profile's verdict compares with undefended models."""
    return mode_of(profile) == "order"


def mode_of(profile: str) -> str:
    """How strictly a profile's numbers are compared: none, order or numbers (see `verdict`)."""
    return profiles.load(profile).verdict


def _of(answer: Answer, row: Row, value: Callable[[Row, Result], float]) -> dict[str, Any]:
    numbers = [value(row, result) for result in answer.results]
    reason = answer.reason
    if answer.results and all(math.isnan(number) for number in numbers):
        reason = f"the result holds no {row['metric']}"
    return entry(numbers, map(machine_of, answer.results), reason)


def _partners(cell: Cell, grid: Grid, row: Row, value: Callable[[Row, Result], float]) -> dict[str, float]:
    asked = {key: cell.options[key] for key in ("rate", "target", "attack_args") if key in cell.options}
    cells = {
        "undefended": Cell(cell.dataset, cell.attack, "none", asked),
        "no_attack": Cell(cell.dataset, "none", "none"),
    }
    return {name: _of(grid.answer(one, partner=True), row, value)["reproduced"] for name, one in cells.items()}


def average(rows: pd.DataFrame, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Fill the rows of attack `average` from their parts; with a part missing the reason lists it."""
    same = ["dataset", "model", "defense", "variant", "metric"]
    keys = rows[same].astype(object).fillna("").astype(str).agg("/".join, axis=1)
    for position, index in enumerate(rows.index):
        if rows.loc[index, "attack"] != AVERAGE:
            continue
        parts = [i for i, key in enumerate(keys) if key == keys[index] and rows["attack"].iloc[i] != AVERAGE]
        missing = [str(rows["attack"].iloc[i]) for i in parts if math.isnan(found[i]["reproduced"])]
        if missing or not parts:
            words = f"average of {len(parts)} attacks, missing: {', '.join(missing)}"
            found[position] = entry([], reason=words)
            continue
        made = entry([found[i]["reproduced"] for i in parts], [found[i]["ran_on"] for i in parts])
        made |= {"n": min(found[i]["n"] for i in parts), "sd": math.nan}
        for partner in ("undefended", "no_attack"):
            numbers = [found[i].get(partner, math.nan) for i in parts]
            made[partner] = sum(numbers) / len(numbers)
        found[position] = made
    return found


def judged(rows: pd.DataFrame, found: list[dict[str, Any]], paper: str, reference: str, profile: str) -> pd.DataFrame:
    """The finished frame of a table, each row with its verdict."""
    mode = mode_of(profile)
    for row, made in zip(records(rows), found, strict=True):
        if math.isnan(made["reproduced"]):
            made["verdict"] = verdict.NOT_RUN
            continue
        dataset, attack, metric = (str(row[name]) for name in ("dataset", "attack", "metric"))
        case = verdict.Comparison(
            metric=metric,
            defense=str(row["defense"]),
            published=float(row["published"]),
            reproduced=made["reproduced"],
            printed_undefended=printed.undefended(paper, reference, dataset, attack, metric),
            undefended=made.get("undefended", math.nan),
            no_attack=made.get("no_attack", math.nan),
        )
        made["verdict"], reason = verdict.judge(case, mode)
        made["reason"] = "; ".join(part for part in (reason, made["reason"]) if part)
    return finish(rows, found, profile)


def measured(
    cells: Sequence[Cell],
    grid: Grid,
    measure: Callable[[Cell, tuple[Result, ...]], list[dict[str, Any]]],
    profile: str,
) -> pd.DataFrame:
    """The rows of a figure, cell by cell; a cell without result keeps one row that says why."""
    rows: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for cell in cells:
        where = {"dataset": cell.dataset, "attack": cell.attack, "defense": cell.defense}
        answer = grid.answer(cell)
        points = measure(cell, answer.results) if answer.results else []
        if not points:
            rows.append(where)
            reason = answer.reason or "the result does not hold what the figure shows"
            found.append({**entry([]), "verdict": verdict.NOT_RUN, "reason": reason})
        machines = ", ".join(dict.fromkeys(map(machine_of, answer.results)))
        for point in points:
            rows.append({**where, "variant": point["variant"], "metric": point["metric"]})
            found.append({**point, "ran_on": machines, "verdict": verdict.NOT_RUN, "reason": NO_NUMBER})
    return finish(empty_rows(rows), found, profile)


def best_rows(levels: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Row by row the first of the profiles (best first) that has a number; else why the last one has none."""
    names = list(levels)
    result = levels[names[-1]].copy()
    for name in reversed(names):
        there = levels[name]["reproduced"].notna()
        result.loc[there, list(FOUND)] = levels[name].loc[there, list(FOUND)]
    return _nowhere(result, names)


def best_series(levels: Mapping[str, pd.DataFrame], cells: Sequence[Cell]) -> pd.DataFrame:
    """Cell by cell the rows of the first profile that has numbers for it."""
    names, parts = list(levels), []
    for cell in cells:
        for name in names:
            frame = levels[name]
            mine = (frame["dataset"] == cell.dataset) & (frame["attack"] == cell.attack)
            part = frame[mine & (frame["defense"] == cell.defense)]
            if part["reproduced"].notna().any():
                break
        parts.append(part)
    return _nowhere(pd.concat(parts, ignore_index=True), names)


def _nowhere(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    nothing = frame["reproduced"].isna()
    frame.loc[nothing, "profile"] = ""
    plain = nothing & (frame["reason"] == "no result in the store")
    frame.loc[plain, "reason"] = f"no result in the store at {', '.join(names)}"
    return frame
