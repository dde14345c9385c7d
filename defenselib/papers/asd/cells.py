"""Which training answers a number of ASD's tables and figures (Gao et al., CVPR 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from defenselib.papers.bsd.cells import settings
from defenselib.papers.kit.exhibit import Row, metric_of
from defenselib.papers.kit.grid import Cell

if TYPE_CHECKING:
    from defenselib.experiments.experiment import Experiment
    from defenselib.experiments.result import Result

CIFAR = "cifar10"
ATTACKS = ("badnets", "blend", "wanet", "clb")  # of all ablations
SEEDS = 10  # a class: what the counts of Table 5 are out of
# Table 6 takes its clean samples from ImageNet, for which there is no loader: other natural images stand in.
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
SPEEDS = (1.0, 2.0, 5.0)
STAGE_ENDS = {1: "stage1_end", 2: "stage2_end"}


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
        end = found.resolve().describe()["defense_args"][STAGE_ENDS[self.stage]]
        return found.replace(stop_after=f"asd:{end}")


def asd(attack: str, **arguments: Any) -> Cell:
    """ASD on CIFAR-10, with other hyper-parameters where some are given."""
    return Cell(CIFAR, attack, "asd", {"defense_args": arguments} if arguments else {})


def transferred(attack: str) -> Cell:
    return Transferred(CIFAR, attack, "asd", {"defense_args": {"seed_source": STAND_IN}})


def learner(row: Row) -> Cell:
    """Table 4."""
    ssl = settings(row["variant"])["ssl"]
    return asd(str(row["attack"])) if ssl == "mixmatch" else asd(str(row["attack"]), ssl=ssl)


def poisoned_seeds(row: Row) -> Cell:
    """Table 5."""
    return seeded(str(row["attack"]), int(settings(row["variant"])["poisoned_seeds"]))


def seeded(attack: str, poisoned: int) -> Cell:
    """Ten seeds a class at every profile, of which so many of the target class are poisoned: fewer of a smaller set
    would make another share. Without poison it is the usual run."""
    return asd(attack, seeds_per_class=SEEDS, poisoned_seeds=poisoned) if poisoned else asd(attack)


def transfer(row: Row) -> Cell:
    """Table 6: one run answers for the model after pre-training and for the final one."""
    return transferred(str(row["attack"]))


def transfer_value(row: Row, result: Result) -> float:
    """Table 6: after pre-training, on the test images of the history, or at the end."""
    if settings(row["variant"])["phase"] == "asd":
        return metric_of(row, result)
    return pretrained(result, str(row["metric"]))


def pretrained(result: Result, metric: str) -> float:
    """acc or asr after the last epoch of the pre-training."""
    values = [float(entry[metric]) for entry in result.history if entry["stage"] == "linear"]
    return values[-1] if values else float("nan")


def without(attack: str, stage: str) -> Cell:
    """Figure 6: rate 0.2, except for the clean-label attack."""
    return Cell(CIFAR, attack, "asd", {} if attack == "clb" else {"rate": 0.2}, STAGES[stage])


def faster(attack: str, speed: float) -> Cell:
    """Figure 7."""
    return Cell(CIFAR, attack, "asd", times={} if speed == 1.0 else {"growth_per_class": speed})


FIGURE_1 = (
    # ABL does not rank its samples at the end: the losses of its final model are measured afterwards.
    Cell(CIFAR, "wanet", "abl", {"measure": ("acc", "asr", "sce")}),
    Cell(CIFAR, "wanet", "dbd"),
    Cell(CIFAR, "wanet", "asd"),
)
FIGURE_3 = (asd("badnets"),)
# The attack of Figure 4 is not named in the paper; BadNets is the natural choice.
FIGURE_4 = (Cell(CIFAR, "badnets", "none"), asd("badnets"))
FIGURE_5 = tuple(Cell(CIFAR, "badnets", name) for name in ("dbd", "dbd-meta-split", "asd"))
FIGURE_6 = tuple(without(attack, stage) for attack in ATTACKS for stage in STAGES)
FIGURE_7 = tuple(faster(attack, speed) for attack in ATTACKS for speed in SPEEDS)
