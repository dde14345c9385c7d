"""Which trainings answer the numbers of ASD's tables, figures and text (Gao et al., CVPR 2023)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

import pandas as pd

from defenselib.experiments.experiment import Experiment
from defenselib.experiments.result import Result
from defenselib.papers.asd.measures import HARD_SHARE
from defenselib.papers.kit.composed import Number
from defenselib.papers.kit.frame import Row, counted, mean_of
from defenselib.papers.kit.request import Cell
from defenselib.papers.kit.table import metric_of

CIFAR = "cifar10"
ATTACKS = ("badnets", "blend", "wanet", "clb")  # of all ablations
SEEDS = 10  # a class: what the counts of Table 5 are out of
# Table 6 takes its clean samples from ImageNet, how cut to the size of CIFAR-10 it does not say: natural images that
# have that size stand in.
STAND_IN = "cifar100"
# Figure 6, by the stage left out, in multiples of the usual ends: no epoch of stage 1; stage 1 goes on to T2; stage 2
# goes on to T3. How the paper spends the epochs of a stage that is left out, it does not say.
STAGES: Mapping[str, Mapping[str, float]] = {
    "nothing": {},
    "stage1": {"stage1_end": 0.0},
    "stage2": {"stage1_end": 1.5},
    "stage3": {"stage2_end": 4 / 3},
}
# Figure 7: growth of the pool in stage 1 against the usual one. It is n * floor(e / t), so that a larger n does what a
# smaller t does, also where a short schedule has t = 1 already. The paper's pairs are only in its picture.
SPEEDS = (1, 2, 5)
# The stages of epochs that make up a printed stage of Table 3, by defense; ASD's three are one loop of epochs.
TIMED = {"abl": ("isolate", "finetune", "unlearn"), "dbd": ("simclr", "linear", "dbd"), "asd": ("asd",)}


@dataclass(frozen=True)
class Transferred(Cell):
    """ASD from clean samples of another data set; at `smoke` of the drawn one, so that nothing is downloaded, and with
    few epochs of pre-training."""

    def experiment(self, paper: str, profile: str, seed: int) -> Experiment:
        found = super().experiment(paper, profile, seed)
        small = {"seed_source": "shapes", "transfer_epochs": 2} if profile == "smoke" else {}
        return found.replace(defense_args={**found.defense_args, **small})


@dataclass(frozen=True)
class UpTo(Cell):
    """ASD that stops after its stage 1 or 2, wherever the profile has its end (its options only say that it stops)."""

    stage: int = 1

    def experiment(self, paper: str, profile: str, seed: int) -> Experiment:
        found = super().experiment(paper, profile, seed)
        end = found.resolve().describe()["defense_args"][f"stage{self.stage}_end"]
        return found.replace(stop_after=f"asd:{end}")


def asd(attack: str, **arguments: Any) -> Cell:
    """ASD on CIFAR-10, with other hyper-parameters where some are given."""
    return Cell(CIFAR, attack, "asd", {"defense_args": arguments} if arguments else {})


def up_to(dataset: str, stage: int) -> Cell:
    return UpTo(dataset, "badnets", "asd", {"stop_after": "asd"}, stage=stage)


def variant(row: Row) -> Cell:
    """Tables 4 to 6, by what their rows vary: learner, poisoned seeds, where the clean samples come from."""
    attack = str(row["attack"])
    if "ssl" in row:
        return asd(attack) if row["ssl"] == "mixmatch" else asd(attack, ssl=row["ssl"])
    return seeded(attack, int(row["poisoned_seeds"])) if "poisoned_seeds" in row else transferred(attack)


def seeded(attack: str, poisoned: int) -> Cell:
    """Ten seeds a class at every profile, of which so many of the target class are poisoned: fewer of a smaller set
    would make another share. Without poison it is the usual run."""
    return asd(attack, seeds_per_class=SEEDS, poisoned_seeds=poisoned) if poisoned else asd(attack)


def transferred(attack: str) -> Cell:
    """Table 6: one run answers for the model after pre-training and for the final one."""
    return Transferred(CIFAR, attack, "asd", {"defense_args": {"seed_source": STAND_IN}})


def transfer_value(row: Row, result: Result) -> float:
    """Table 6: after pre-training, on the test images of the history, or at the end; an undefended model has only an
    end."""
    if row["phase"] == "asd" or result.experiment["defense"] == "none":
        return metric_of(row, result)
    return pretrained(result, str(row["metric"]))


def pretrained(result: Result, metric: str) -> float:
    """acc or asr after the last epoch of the pre-training."""
    values = [float(row[metric]) for row in result.history if row["stage"] == "linear"]
    return values[-1] if values else float("nan")


def without(attack: str, stage: str) -> Cell:
    """Figure 6: rate 0.2, except for the clean-label attack."""
    return Cell(CIFAR, attack, "asd", {} if attack == "clb" else {"rate": 0.2}, STAGES[stage])


def left_out(cell: Cell) -> Mapping[str, Any]:
    return {"without": next(name for name, ends in STAGES.items() if dict(ends) == dict(cell.times))}


def faster(attack: str, speed: int) -> Cell:
    """Figure 7."""
    return Cell(CIFAR, attack, "asd", times={} if speed == 1 else {"growth_per_class": speed})


def speed(cell: Cell) -> Mapping[str, Any]:
    return {"speed": cell.times.get("growth_per_class", 1)}


FIGURES: Mapping[str, tuple[Cell, ...]] = {
    # ABL does not rank its samples at the end: the losses of its final model are measured afterwards.
    "figure-1": (
        Cell(CIFAR, "wanet", "abl", {"measure": ("acc", "asr", "sce")}),
        Cell(CIFAR, "wanet", "dbd"),
        Cell(CIFAR, "wanet", "asd"),
    ),
    "figure-3": (asd("badnets"),),
    # The attack of Figure 4 is not named in the paper; BadNets is the natural choice.
    "figure-4": (Cell(CIFAR, "badnets", "none"), asd("badnets")),
    "figure-5": tuple(Cell(CIFAR, "badnets", name) for name in ("dbd", "dbd-meta-split", "asd")),
    "figure-6": tuple(without(attack, stage) for attack in ATTACKS for stage in STAGES),
    "figure-7": tuple(faster(attack, speed) for attack in ATTACKS for speed in SPEEDS),
}


def over(
    cells: Sequence[Cell], value: Callable[[Result], float], made: Callable[[list[float]], float] = fmean
) -> Number:
    """What `made` makes of the cells' numbers, each the mean over the seeds that have one."""

    def number(found: Sequence[tuple[Result, ...]]) -> float:
        return float(made([mean_of(map(value, results)) for results in found]))

    return Number(tuple(cells), number)


def seconds(result: Result, names: Sequence[str]) -> float:
    """What the named stages cost; one that another cell has computed costs as much."""
    return sum(cost for name, cost in result.stages.items() if name.removesuffix(" (shared)") in names)


def spent(result: Result, names: Sequence[str] = ()) -> float:
    """Seconds of these stages, or of all that are the defense's, where they count."""
    return counted(result, seconds(result, names or TIMED[result.experiment["defense"]]))


def stage_time(row: Row) -> Number:
    """Table 3. The attack is not stated; BadNets answers. Of ASD's stages the paper's own boundaries: a run that stops
    there."""
    dataset, defense, stage = str(row["dataset"]), str(row["defense"]), row["stage"]
    whole = Cell(dataset, "badnets", defense)
    if stage == "total":
        return over((whole,), spent)
    if defense != "asd":
        return over((whole,), partial(spent, names=TIMED[defense][int(stage) - 1 :][:1]))
    ends = (up_to(dataset, 1), up_to(dataset, 2), whole)
    if stage == 1:
        return over(ends[:1], spent)
    return over((ends[int(stage) - 1], ends[int(stage) - 2]), spent, lambda both: both[0] - both[1])


def given(row: Row) -> dict[str, Any]:
    """What a row says, without the columns that are empty in it."""
    return {name: value for name, value in row.items() if not pd.isna(value)}


def said(row: Row) -> Number:
    """A row of text-1. A bound over several trainings is held against the extreme of all of them."""
    asked, value = given(row), partial(metric_of, row)
    side = min if row["metric"] == "acc" else max
    if "item" in asked:
        return _item(asked)
    if row["attack"] == "adaptive":
        return over((Cell(CIFAR, "adaptive", str(row["defense"])),), value)
    if "split" in asked:
        return over((Cell(CIFAR, "badnets", "dbd-meta-split"),), value)
    if "without" in asked:
        return over([without(attack, asked["without"]) for attack in ATTACKS], value)
    if "poisoned_seeds" in asked:
        return over([seeded(attack, count) for attack in ATTACKS for count in (1, 2, 3)], value, side)
    started = [transferred(attack) for attack in ATTACKS]
    if row["phase"] == "pretraining":
        return over(started, partial(pretrained, metric=str(row["metric"])))
    return over(started, value, side)


def bound(row: Row) -> int:
    """Which numbers of text-1 are bounds: ACC at least, ASR at most, of compressed DBD, poisoned seeds, transfer."""
    asked = given(row)
    bounded = "item" not in asked and ({"split", "poisoned_seeds"} & set(asked) or asked.get("phase") == "asd")
    return {"acc": 1, "asr": -1}[str(row["metric"])] if bounded else 0


def _item(asked: Mapping[str, Any]) -> Number:
    """Counts of the method, and the ratio of two times."""
    name = "dbd-meta-split" if asked.get("split") == "meta-split" else asked["defense"]
    plain = Cell(asked["dataset"], "badnets", name)
    if asked["item"] == "time_over_asd":
        return over((plain, Cell(plain.dataset, "badnets", "asd")), spent, lambda both: both[0] / both[1])
    if asked["item"] == "stage3_epochs":
        return over((plain,), lambda result: result.experiment["defense_args"]["epochs"])
    if asked["item"] == "clean_hard_samples":
        return over((plain,), lambda result: round(HARD_SHARE * result.experiment["train_size"]))
    return over((plain,), lambda result: result.clean_given)
