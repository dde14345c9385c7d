"""The tidy frame of every exhibit: printed rows, answers, averages, verdicts, the best of several profiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from defenselib.experiments import profile as profiles
from defenselib.learning.evaluation import der
from defenselib.papers.kit import printed, times, verdict
from defenselib.papers.kit.grid import Answer, Cell, Grid

if TYPE_CHECKING:
    from defenselib.experiments.result import Result

Row = Mapping[str, Any]
FOUND = ("reproduced", "n", "sd", "verdict", "profile", "ran_on", "reason")
AVERAGE, WORST = "average", "worst"
NO_NUMBER = "the paper prints no number here; the claims say what is seen"


def empty_rows(rows: Iterable[Row]) -> pd.DataFrame:
    """A frame with the columns of a CSV; what a row does not give is missing."""
    listed = list(rows)
    columns: dict[str, Any] = {name: [row.get(name) for row in listed] for name in printed.COLUMNS}
    return pd.DataFrame({**columns, "published": np.array(columns["published"], dtype="float64")})


def records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as dictionaries by column."""
    return cast("list[dict[str, Any]]", rows.to_dict("records"))


def entry(numbers: Sequence[float], ran_on: Iterable[str] = (), reason: str = "") -> dict[str, Any]:
    """Mean, n and sd (n - 1) over the seeds; NaN and 0 where there are none."""
    # Plain Python: a page of the book takes thousands of such means, each of a few numbers.
    found = [float(number) for number in numbers if not pd.isna(number)]
    mean = math.fsum(found) / len(found) if found else math.nan
    squares = math.fsum((number - mean) ** 2 for number in found)
    return {
        "reproduced": mean,
        "n": len(found),
        "sd": math.sqrt(squares / (len(found) - 1)) if len(found) > 1 else math.nan,
        "ran_on": ", ".join(dict.fromkeys(ran_on)) if found else "",
        "reason": reason,
    }


def finish(rows: pd.DataFrame, found: Sequence[Row], profile: str) -> pd.DataFrame:
    """The printed columns of `rows` followed by those of `found`, with types fixed."""
    types = {"reproduced": "float64", "n": "int64", "sd": "float64"}
    made: dict[str, Any] = {name: [row.get(name) for row in found] for name in FOUND}
    made |= {name: np.array(made[name], dtype=kind) for name, kind in types.items()}
    # Built at once with its types: converting column by column took most of the time of a page of verdicts.
    columns: dict[str, Any] = {str(name): rows[name] for name in rows}
    return pd.DataFrame({**columns, **made, "profile": profile}, index=rows.index)


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
    cell_of: Callable[[Row], Cell | str | None],
    value: Callable[[Row, Result], float],
    before: Callable[[Cell], Cell],
    instead: Callable[[Row], Cell] | None = None,
) -> list[dict[str, Any]]:
    """One entry a row of a table, with what the verdict needs beside it (undefended, no_attack)."""
    partners = needs_partners(grid.request.profile)
    means = parts_of_averages(rows)
    found: list[dict[str, Any]] = []
    for position, row in enumerate(records(rows)):
        cell = "" if position in means else cell_of(row)
        if cell is None or isinstance(cell, str):
            found.append(entry([], reason="nothing to run" if cell is None else cell))
            continue
        answer = grid.answer(cell)
        if not answer.results and instead is not None and (other := grid.stored(instead(row))).results:
            answer = other
        if row["metric"] == "der":
            found.append(_der(answer, cell, grid, before))
            continue
        made = _of(answer, row, value)
        if partners and answer.results and row["metric"] == "acc":
            made.update(_partners(cell, grid, row, value, before))
        found.append(made)
    return average(rows, found, means)


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
        late = times.reason(answer.results[0]) if row["metric"] in ("seconds", "hours") else ""
        reason = late or f"the result holds no {row['metric']}"
    return entry(numbers, map(machine_of, answer.results), reason)


def _partners(
    cell: Cell, grid: Grid, row: Row, value: Callable[[Row, Result], float], before: Callable[[Cell], Cell]
) -> dict[str, float]:
    asked = {key: cell.options[key] for key in ("model",) if key in cell.options}
    cells = {"undefended": before(cell), "no_attack": Cell(cell.dataset, "none", "none", asked)}
    return {name: _of(grid.answer(one, partner=True), row, value)["reproduced"] for name, one in cells.items()}


def ders(found: Answer, plain: Answer) -> list[float]:
    """DER seed by seed, in percent, over the seeds that the undefended model has as well."""
    first = {result.experiment["seed"]: result for result in plain.results}
    pairs = [(first[r.experiment["seed"]], r) for r in found.results if r.experiment["seed"] in first]
    return [der(one.acc, one.asr, other.acc, other.asr) for one, other in pairs]


def _der(answer: Answer, cell: Cell, grid: Grid, before: Callable[[Cell], Cell]) -> dict[str, Any]:
    if cell.defense == "none":
        return entry([], reason="an undefended model has no DER")
    plain = grid.answer(before(cell), partner=True) if answer.results else Answer()
    numbers, reason = ders(answer, plain), answer.reason
    if answer.results and not numbers:
        reason = "needs the undefended model under the same attack, which was not run"
    return entry(numbers, map(machine_of, answer.results), reason)


# A row of one of these called "average" is the mean of the rows that agree with it in the other columns named; one
# called "worst" holds their lowest ACC or RA, their highest ASR. An attack's rows without attack are no part.
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
        average = rows[axis].isin([AVERAGE, WORST]).to_numpy()
        if not average.any():
            continue
        whole = average | (rows[axis] == "none").to_numpy()
        keys = rows[same].astype(object).fillna("").astype(str).agg("/".join, axis=1).to_numpy()
        for position in average.nonzero()[0]:
            here = (rates == rates[position]) | pd.isna(rates[position])
            parts = [int(i) for i in ((keys == keys[position]) & ~whole & here).nonzero()[0]]
            if parts:
                found[int(position)] = parts
    return found


def average(
    rows: pd.DataFrame, found: list[dict[str, Any]], means: Mapping[int, list[int]] | None = None
) -> list[dict[str, Any]]:
    """Fill the rows that are averages from their parts; with a part missing the reason lists it. means: what
    `parts_of_averages` says of the rows, where it was asked already."""
    for position, parts in (parts_of_averages(rows) if means is None else means).items():
        axis = next(axis for axis in AVERAGED if rows[axis].iloc[position] in (AVERAGE, WORST))
        asked, metric = str(rows[axis].iloc[position]), str(rows["metric"].iloc[position])
        missing = [str(rows[axis].iloc[i]) for i in parts if math.isnan(found[i]["reproduced"])]
        if missing:
            kind = "data set" if axis == "dataset" else axis
            found[position] = entry([], reason=f"{asked} of {len(parts)} {kind}s, missing: {', '.join(missing)}")
            continue
        numbers = [found[i]["reproduced"] for i in parts]
        if asked == WORST:
            numbers = [max(numbers) if metric == "asr" else min(numbers)]
        made = entry(numbers, [found[i]["ran_on"] for i in parts])
        made |= {"n": min(found[i]["n"] for i in parts), "sd": math.nan}
        for partner in ("undefended", "no_attack"):
            numbers = [found[i].get(partner, math.nan) for i in parts]
            made[partner] = sum(numbers) / len(numbers)
        found[position] = made
    return found


def judged(
    rows: pd.DataFrame, found: list[dict[str, Any]], paper: str, references: Sequence[str], profile: str
) -> pd.DataFrame:
    """The finished frame of a table, each row with its verdict; references: tables that print undefended models."""
    mode = mode_of(profile)
    for row, made in zip(records(rows), found, strict=True):
        if math.isnan(made["reproduced"]):
            made["verdict"] = verdict.NOT_RUN
            continue
        dataset, attack, metric = (str(row[name]) for name in ("dataset", "attack", "metric"))
        same = {"poisoning_rate": row["poisoning_rate"], "model": row["model"]}
        plain = [printed.undefended(paper, key, dataset, attack, metric, same) for key in references]
        case = verdict.Comparison(
            metric=metric,
            defense=str(row["defense"]),
            published=float(row["published"]),
            reproduced=made["reproduced"],
            printed_undefended=next((value for value in plain if not math.isnan(value)), math.nan),
            undefended=made.get("undefended", math.nan),
            no_attack=made.get("no_attack", math.nan),
        )
        made["verdict"], reason = verdict.judge(case, mode)
        made["reason"] = "; ".join(part for part in (reason, made["reason"]) if part)
    return finish(rows, found, profile)


def measured(
    cell: Cell,
    grid: Grid,
    measure: Callable[[Cell, tuple[Result, ...]], list[dict[str, Any]]],
    profile: str,
) -> pd.DataFrame:
    """The rows of one cell of a figure; without a result one row that says why."""
    where: dict[str, Any] = {"dataset": cell.dataset, "attack": cell.attack, "defense": cell.defense}
    where |= {"target": cell.options.get("target"), "poisoning_rate": cell.options.get("rate")}
    answer = grid.answer(cell)
    points = measure(cell, answer.results) if answer.results else []
    if not points:
        reason = answer.reason or "the result does not hold what the figure shows"
        return unanswered(empty_rows([where]), profile, reason)
    machines = ", ".join(dict.fromkeys(map(machine_of, answer.results)))
    rows = [{**where, "variant": point["variant"], "metric": point["metric"]} for point in points]
    added = {"ran_on": machines, "verdict": verdict.NOT_RUN, "reason": NO_NUMBER}
    return finish(empty_rows(rows), [{**point, **added} for point in points], profile)
