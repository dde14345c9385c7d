"""Tables of a paper: from printed rows to the cells that answer them, what gates and verdicts need, and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

import pandas as pd

from defenselib.experiments.result import Result
from defenselib.learning.evaluation import der
from defenselib.papers.kit import frame as frames
from defenselib.papers.kit import printed, verdict
from defenselib.papers.kit.exhibit import Exhibit
from defenselib.papers.kit.frame import Row, entry, machine_of, seed_of, spreads
from defenselib.papers.kit.gates import Before, Gating, undefended_alone
from defenselib.papers.kit.grid import Answer, Grid, mode_of
from defenselib.papers.kit.request import Cell, Request
from defenselib.plots import words

GATED = {"acc", "asr", "der", *verdict.OF_POISON}
BESIDE = ("drop", "no_attack", "acc", "gate", "false_target", "spread")  # of a number: what its verdict may need


def number_of(result: Result, metric: str) -> float:
    """acc, asr or ra of a result, or one of its metrics; NaN where it has none."""
    value = getattr(result, metric) if metric in ("acc", "asr", "ra") else result.metrics.get(metric)
    return math.nan if value is None else float(value)


def metric_of(row: Row, result: Result) -> float:
    """The number of a result that a row asks for: acc, asr, ra, seconds or hours of the result, or one of its metrics.

    DER is no number of a single result: a table takes it seed by seed, with the undefended model (`Table.before`).
    """
    name = str(row["metric"])
    if name in verdict.TIMES:
        return frames.counted(result, result.seconds / (3600 if name == "hours" else 1))
    return number_of(result, name)


def plain_cell(row: Row) -> Cell:
    """The cell of a row that is fixed by data set, attack and defense alone."""
    return Cell(str(row["dataset"]), str(row["attack"]), str(row["defense"]))


def no_attack(cell: Cell) -> Cell:
    """The model without attack and defense that an undefended accuracy is judged by where orders are compared."""
    return Cell(cell.dataset, "none", "none", {k: v for k, v in cell.options.items() if k == "model"})


def paired(found: Answer, plain: Answer) -> dict[int, tuple[Result, Result]]:
    """By seed, a result and the undefended model's, for the seeds that both have."""
    before = {seed_of(result): result for result in plain.results}
    return {seed_of(one): (one, before[seed_of(one)]) for one in found.results if seed_of(one) in before}


def ders(found: Answer, plain: Answer) -> dict[int, float]:
    """DER by seed, in percent, over the seeds that the undefended model has as well."""
    pairs = paired(found, plain).items()
    return {seed: der(before.acc, before.asr, one.acc, one.asr) for seed, (one, before) in pairs}


@dataclass(frozen=True, kw_only=True)
class Table(Exhibit):
    """A table: every row of the CSV is one number of one cell; rows of attack, data set or target `average` are means
    of the others.

    cell: the cell that answers a row; None, or the reason in words, for a row that nothing answers. value: the number
    it takes from a result. before: the undefended cells that a row's DER, drop of ACC and gate are taken against, see
    `gates.Gating`. no_target: why a printed number is none to be reached (a misprint); empty for the others. instead:
    a cell whose result holds the same number, for where that one was run and this one was not.
    """

    cell: Callable[[Row], Cell | str | None] = plain_cell
    value: Callable[[Row, Result], float] = metric_of
    before: Before = undefended_alone
    instead: Callable[[Row], Cell] | None = None
    no_target: Callable[[Row], str] = lambda row: ""

    @cached_property
    def listed(self) -> list[dict[str, Any]]:
        """The printed rows. Shared: do not write to them."""
        return frames.records(self._printed())

    @cached_property
    def means(self) -> dict[int, list[int]]:
        """Positions of the rows that are averages: those of their parts."""
        return frames.parts_of_averages(self._printed())

    def _reproduce(self, request: Request) -> pd.DataFrame:
        return _Answering(self, request).frame()


class _Answering:
    """A table at work, at one profile: each undefended model and gate is looked up once."""

    def __init__(self, table: Table, request: Request) -> None:
        self.table = table
        self.profile = request.profile
        self.mode = mode_of(request.profile)
        self.rows = table._printed()
        self.grid: Grid = table.grid(request)
        self.gating = Gating(table.paper, table.references, self.grid, table.before)

    def frame(self) -> pd.DataFrame:
        means, listed = self.table.means, self.table.listed
        found = [entry([]) if place in means else self._answer(row) for place, row in enumerate(listed)]
        frames.fill_averages(self.rows, found, means)
        made = judged(self.rows, found, self.table.paper, self.table.references, self.profile)
        for place, row in enumerate(listed):
            reason = self.table.no_target(row)
            if reason and not math.isnan(made["reproduced"].iloc[place]):
                made.loc[made.index[place], ["verdict", "reason"]] = [verdict.NOT_COMPARABLE, f"no target: {reason}"]
        return made

    def _answer(self, row: Row) -> dict[str, Any]:
        cell = self.table.cell(row)
        if cell is None or isinstance(cell, str):
            return entry([], reason="nothing to run" if cell is None else cell)
        answer = self.grid.answer(cell)
        if not answer.results and self.table.instead is not None:
            other = self.grid.stored(self.table.instead(row))
            answer = other if other.results else answer
        made = self._ders(cell, answer) if row["metric"] == "der" else _of(answer, row, self.table.value)
        made["source"] = frames.sources_of(answer.results)
        plain = self.gating.plain(cell).results if row["metric"] == "der" and answer.results else ()
        made["results"] = frames.hashes_of((*answer.results, *plain))
        return made | self._beside(cell, answer, row) if answer.results and self.mode != "none" else made

    def _ders(self, cell: Cell, answer: Answer) -> dict[str, Any]:
        if cell.defense == "none":
            return entry([], reason="an undefended model has no DER")
        numbers, reason = ders(answer, self.gating.plain(cell)) if answer.results else {}, answer.reason
        if answer.results and not numbers:
            reason = "needs the undefended model under the same attack and with the same seed, which was not run"
        return entry(list(numbers.values()), map(machine_of, answer.results), reason, list(numbers))

    def _beside(self, cell: Cell, answer: Answer, row: Row) -> dict[str, Any]:
        """What the verdict needs beside a number."""
        metric = str(row["metric"])
        beside: dict[str, Any] = {"acc": fmean(result.acc for result in answer.results)}
        rates = [result.metrics["false_target"] for result in answer.results if "false_target" in result.metrics]
        beside["false_target"] = fmean(rates) if rates else math.nan
        if metric == "acc" and cell.defense == "none" and self.mode == "order":
            clean = self.grid.answer(no_attack(cell), partner=True)
            beside["no_attack"] = _of(clean, row, self.table.value)["reproduced"]
        if metric == "acc" and cell.defense != "none" and self.mode == "order":
            pairs = paired(answer, self.gating.plain(cell)).values()
            drops = [self.table.value(row, before) - self.table.value(row, one) for one, before in pairs]
            beside["drop"] = fmean(drops) if drops else math.nan
        if metric in GATED:
            gate = self.gating.gate(cell, answer)
            beside |= {"reason": _joined(answer.reason, gate.words)} if metric == "acc" else {"gate": gate.of(metric)}
        return beside


def judged(
    rows: pd.DataFrame, found: list[dict[str, Any]], paper: str, references: Sequence[str], profile: str
) -> pd.DataFrame:
    """The finished frame of a table, each row with its verdict; references: tables that print undefended models."""
    mode, listed, chance = mode_of(profile), frames.records(rows), spreads(rows["metric"], found)
    accuracies = {_key(row): row["published"] for row in listed if row["metric"] == "acc"}
    for row, made in zip(listed, found, strict=True):
        made["spread"] = chance.get(str(row["metric"]), 0.0)
        if math.isnan(made["reproduced"]):
            # It may have been run, and hold no such number, or none that may stand beside others.
            made["verdict"] = verdict.NOT_COMPARABLE if made.get("results") else verdict.NOT_RUN
            continue
        dataset, attack, metric = (str(row[name]) for name in ("dataset", "attack", "metric"))
        same = {"poisoning_rate": row["poisoning_rate"], "model": row["model"]}
        case = verdict.Comparison(
            metric=metric,
            attack=attack,
            defense=str(row["defense"]),
            published=_number(row["published"]),
            reproduced=made["reproduced"],
            printed_undefended=printed.undefended(paper, references, dataset, attack, metric, same),
            printed_acc=_number(accuracies.get(_key(row))),
            **{name: made[name] for name in BESIDE if name in made},
        )
        made["verdict"], reason = verdict.judge(case, mode)
        known = metric == "asr" and not math.isnan(case.false_target)
        called = f"of clean images of other classes {case.false_target:.1f} % are called the target" if known else ""
        made["reason"] = _joined(reason, made["reason"], called)
    return frames.finish(rows, found, profile)


def _of(answer: Answer, row: Row, value: Callable[[Row, Result], float]) -> dict[str, Any]:
    numbers = [value(row, result) for result in answer.results]
    reason = answer.reason
    if answer.results and all(math.isnan(number) for number in numbers):
        late = frames.uncounted(answer.results[0]) if row["metric"] in verdict.TIMES else ""
        reason = late or f"the result holds no {words.value(row['metric'], 'metric')}"
    return entry(numbers, map(machine_of, answer.results), reason, list(map(seed_of, answer.results)))


def _key(row: Row) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in printed.WHERE if name != "metric")


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _joined(*parts: str) -> str:
    return "; ".join(dict.fromkeys(part for part in parts if part))
