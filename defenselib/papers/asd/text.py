"""ASD's numbers that are made of several trainings: times by stage, bounds and averages of the running text."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from defenselib.papers.asd import cells
from defenselib.papers.asd.cells import ATTACKS, CIFAR, UpTo, pretrained
from defenselib.papers.asd.measures import HARD_SHARE
from defenselib.papers.bsd.cells import settings
from defenselib.papers.kit import frame as frames
from defenselib.papers.kit import printed, times, verdict
from defenselib.papers.kit.claims import RANK
from defenselib.papers.kit.exhibit import Exhibit, Row
from defenselib.papers.kit.grid import Cell, Grid, Request, Thin
from defenselib.papers.vab.measures import mean
from defenselib.papers.vab.text import Found, Number

if TYPE_CHECKING:
    from defenselib.experiments.result import Result

# The stages of epochs that make up a printed stage, by defense; ASD's three are one loop of epochs.
STAGES = {"abl": ("isolate", "finetune", "unlearn"), "dbd": ("simclr", "linear", "dbd")}
# Table 3's seconds are whole seconds an epoch times these (stages 1, 2, 3; ASD's third has 10 on GTSRB).
EPOCHS = {"abl": (20, 70, 5), "dbd": (1000, 10, 190), "asd": (60, 30, 30)}
NO_LEVEL = "levels of accuracy are not comparable at this profile"
BOUNDS = {"lower bound": 1.0, "upper bound": -1.0}  # how a note begins: the side that the number may lie on


@dataclass(frozen=True, kw_only=True)
class Composed(Exhibit):
    """Rows of which each is made of one or several cells. number: what makes it, or why nothing does."""

    number: Callable[[Row], Number | str]

    @property
    def status(self) -> str:
        return "available"

    def _reproduce(self, request: Request) -> pd.DataFrame:
        rows, grid = self._printed(), self.grid(request)
        found = [self._entry(self.number(row), grid) for row in frames.records(rows)]
        judged = frames.judged(rows, found, self.paper, (), request.profile)
        mode = frames.mode_of(request.profile)
        if mode == "numbers":
            bounds = [bound(row) for row in frames.records(judged)]
            judged["verdict"] = [words or old for words, old in zip(bounds, judged["verdict"], strict=True)]
        if mode == "order":
            # There is no single undefended model that a drop over several attacks could be taken against.
            level = (judged["metric"] == "acc") & judged["reproduced"].notna()
            judged.loc[level, "reason"] = NO_LEVEL
        return judged

    def _entry(self, number: Number | str, grid: Grid) -> dict[str, Any]:
        if isinstance(number, str):
            return frames.entry([], reason=number)
        answers = [grid.answer(cell) for cell in number.cells]
        reasons = list(dict.fromkeys(answer.reason for answer in answers if not answer.results))
        if reasons:
            missing = sum(not answer.results for answer in answers)
            words = f"needs {len(answers)} cells, {missing} missing: " if len(answers) > 1 else ""
            return frames.entry([], reason=words + "; ".join(reasons))
        machines = [frames.machine_of(result) for answer in answers for result in answer.results]
        words = f"over {len(answers)} cells" if len(answers) > 1 else answers[0].reason
        return frames.entry([number.value([answer.results for answer in answers])], machines, words)


def bound(row: Row) -> str:
    """The verdict on a number that the paper prints as a bound, where it was run; nothing for other numbers."""
    side = next((side for words, side in BOUNDS.items() if str(row["note"]).startswith(words)), None)
    if side is None or math.isnan(row["reproduced"]):
        return ""
    return verdict.AGREES if side * (row["reproduced"] - float(row["published"])) >= 0 else verdict.DIFFERS


def seconds(result: Result, names: Sequence[str]) -> float:
    """What stages cost; one that another cell has computed costs as much."""
    return sum(cost for name, cost in result.stages.items() if name.removesuffix(" (shared)") in names)


def mean_seconds(*names: str) -> Callable[[Found], float]:
    """Mean over the seeds, of the results whose times count."""

    def value(found: Found) -> float:
        made = frames.entry([times.counted(result, seconds(result, names)) for result in found[0]])
        return float(made["reproduced"])

    return value


def difference(found: Found) -> float:
    """Seconds of ASD's epochs in the first cell beyond those in the second."""
    first, second = (mean_seconds("asd")([results]) for results in found)
    return first - second


def stage_time(row: Row) -> Number:
    """Table 3. The attack is not stated; BadNets answers. Of ASD's stages the paper's own boundaries: a run that stops
    there."""
    dataset, defense, stage = str(row["dataset"]), str(row["defense"]), settings(row["variant"])["stage"]
    whole = Cell(dataset, "badnets", defense)
    if defense != "asd":
        names = STAGES[defense]
        return Number((whole,), mean_seconds(*(names if stage == "total" else names[int(stage) - 1 : int(stage)])))
    one, two = (UpTo(dataset, "badnets", "asd", {"stop_after": "asd"}, stage=place) for place in (1, 2))
    if stage == "total":
        return Number((whole,), mean_seconds("asd"))
    return {
        "1": Number((one,), mean_seconds("asd")),
        "2": Number((two, one), difference),
        "3": Number((whole, two), difference),
    }[stage]


def per_epoch() -> pd.DataFrame:
    """Table 3's printed seconds by epoch: dataset, defense, stage, seconds, epochs, seconds an epoch."""
    rows = printed.table("asd", "table-3")
    made = []
    for row in frames.records(rows[rows["variant"] != "stage=total"]):
        stage = int(settings(row["variant"])["stage"])
        epochs = EPOCHS[row["defense"]][stage - 1]
        if (row["dataset"], row["defense"], stage) == ("gtsrb", "asd", 3):
            epochs = 10
        where = {name: row[name] for name in ("dataset", "defense")}
        made.append({**where, "stage": stage, "seconds": float(row["published"]), "epochs": epochs})
    found = pd.DataFrame(made)
    return found.assign(**{"seconds an epoch": found["seconds"] / found["epochs"]})


def _average(metric: str) -> Callable[[Found], float]:
    return lambda found: sum(mean(results, metric) for results in found) / len(found)


def _extreme(metric: str, side: Callable[[list[float]], float]) -> Callable[[Found], float]:
    return lambda found: side([mean(results, metric) for results in found])


def _of_first(value: Callable[[Result], float]) -> Callable[[Found], float]:
    return lambda found: float(value(found[0][0]))


def _after_pretraining(metric: str) -> Callable[[Found], float]:
    """Mean over seeds, then over attacks."""
    return lambda found: (
        sum(sum(pretrained(result, metric) for result in results) / len(results) for results in found) / len(found)
    )


def _ratio(found: Found) -> float:
    return mean_seconds(*STAGES["dbd"])([found[0]]) / mean_seconds("asd")([found[1]])


def _counted(row: Row, said: dict[str, str]) -> Number:
    """Rows with an `item`: counts of the method, and the ratio of two times."""
    if said["item"] == "time_over_asd":
        pair = tuple(Cell(str(row["dataset"]), "badnets", name) for name in ("dbd", "asd"))
        return Number(pair, _ratio)
    if said["item"] == "stage3_epochs":
        defense = "dbd-meta-split" if said["split"] == "meta-split" else "dbd"
        return Number(
            (Cell(CIFAR, "badnets", defense),), _of_first(lambda result: result.experiment["defense_args"]["epochs"])
        )
    value = _of_first(lambda result: result.clean_given)
    if said["item"] == "clean_hard_samples":
        value = _of_first(lambda result: round(HARD_SHARE * result.experiment["train_size"]))
    return Number((Cell(CIFAR, "badnets", str(row["defense"])),), value)


def said(row: Row) -> Number | str:
    """A row of text-1. A bound over several trainings is held against the extreme of all of them."""
    words, metric = settings(row["variant"]), str(row["metric"])
    if "item" in words:
        return _counted(row, words)
    if row["attack"] == "adaptive":
        return Number((Cell(CIFAR, "adaptive", str(row["defense"])),), _average(metric))
    if words.get("split") == "meta-split":
        return Number((Cell(CIFAR, "badnets", "dbd-meta-split"),), _average(metric))
    if "without" in words:
        return Number(tuple(cells.without(attack, "stage3") for attack in ATTACKS), _average(metric))
    side = min if str(row["note"]).startswith("lower bound") else max
    if "poisoned_seeds" in words:
        chosen = tuple(cells.seeded(attack, count) for attack in ATTACKS for count in (1, 2, 3))
        return Number(chosen, _extreme(metric, side))
    started = tuple(cells.transferred(attack) for attack in ATTACKS)
    if words["phase"] == "pretraining":
        return Number(started, _after_pretraining(metric))
    return Number(started, _extreme(metric, side))


def framework(store: Any = None) -> pd.DataFrame:
    """Table 1's words beside what the best results under BadNets on CIFAR-10 show of them: defense, property, printed,
    measured ("" where nothing can be measured, or nothing was run)."""
    made = []
    for row in frames.records(printed.table("asd", "table-1")):
        name, asked = str(row["defense"]), settings(row["variant"])["property"]
        result = _best_result(name, store)
        words = "" if result is None else _measured(result, name, asked)
        made.append({"defense": name, "property": asked, "printed": row["published"], "measured": words})
    return pd.DataFrame(made)


def _best_result(defense: str, store: Any) -> Result | None:
    for profile in RANK:
        grid = Grid("asd", Request(profile, False, Thin(), None, store), lambda cell, where: (0,), Thin())
        answer = grid.answer(Cell(CIFAR, "badnets", defense))
        if answer.results:
            return answer.results[0]
    return None


def _measured(result: Result, defense: str, asked: str) -> str:
    pools = [row for row in result.history if row.get("clean_size")]
    before = {"abl": STAGES["abl"][:1], "dbd": STAGES["dbd"][:2], "asd": ()}[defense]
    if asked == "pool-initialization":
        whole = seconds(result, STAGES.get(defense, ("asd",)))
        return f"the first pool after {100 * seconds(result, before) / whole:.0f} % of the time" if whole else ""
    if asked == "pool-maintenance":
        return f"pools built: {len(pools)}"
    # ABL's clean pool is everything but the isolated percent: that hard samples are in it says nothing.
    if asked == "clean-hard-sample-selection" and defense != "abl" and pools and "hard_clean" in pools[-1]:
        hard = 100 * pools[-1]["hard_clean"] / (HARD_SHARE * result.experiment["train_size"])
        return f"hard clean samples in the last pool: {hard:.0f} %"
    return ""
