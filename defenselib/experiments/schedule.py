"""What a profile makes of a paper's schedule: optimiser steps, exposures to poison and passes, stage by stage.

A shortened schedule keeps a method in its regime if three things survive: the steps of the optimiser, the exposures
to poison (poisoned samples times passes), and how accurate a model is when a rule starts to rely on it. Passes over
the data do not have to: where a paper counts in them, a smaller data set needs more of them, or smaller batches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from defenselib.errors import InvalidValueError
from defenselib.experiments.experiment import Experiment, Resolved
from defenselib.experiments.profile import LeftOutError
from defenselib.experiments.resolve import facts_of

# Whose recipes and presets a method's paper schedule is; without a name: the library's defaults, which are ASD's.
PAPERS = {"asd": "asd", "bsd": "bsd", "vab": "vab", "dst": "dst_dbr", "dbr": "dst_dbr", "aabl": "aabl"}

WHAT = ("steps", "exposures", "passes")


@dataclass(frozen=True)
class Stage:
    """A stage of a method. passes: over the training set, of samples that the optimiser sees, views not counted twice.
    exposures: how often it sees a poisoned sample with the attacker's label."""

    name: str
    steps: int
    passes: float
    exposures: float


@dataclass(frozen=True)
class Sizes:
    """total: training images, of which `poisoned` are; the attack's plan says how many are to be expected."""

    total: int
    poisoned: int

    def epochs(self, name: str, count: int, batch_size: int, samples: int | None = None, poisoned: int = -1) -> Stage:
        """`count` passes over so many samples (None: all) in batches."""
        samples = self.total if samples is None else samples
        poisoned = self.poisoned if poisoned < 0 else poisoned
        steps = count * -(-samples // batch_size)
        return Stage(name, steps, count * samples / self.total, float(count * poisoned))

    def mixmatch(self, name: str, count: int, defense: Any) -> Stage:
        """`count` epochs of as many labelled as unlabelled samples, where no poison is among the labelled."""
        steps = count * defense.iterations
        return Stage(name, steps, 2 * steps * defense.batch_size / self.total, 0.0)

    @property
    def clean(self) -> int:
        return self.total - self.poisoned

    def share(self, share: float) -> int:
        return max(1, int(self.total * share))


Rule = Callable[[Any, Sizes], list[Stage]]


def stages(resolved: Resolved) -> list[Stage]:
    """The stages of a resolved experiment. Where a method splits its data the split is taken to be right."""
    sizes = Sizes(resolved.train_size, expected_poison(resolved))
    found = rule_of(resolved.defense.name)(resolved.defense, sizes)
    below = [] if resolved.upstream is None else stages(resolved.upstream)
    return [*(Stage(f"before: {item.name}", item.steps, item.passes, item.exposures) for item in below), *found]


def rule_of(defense: str) -> Rule:
    """How the stages of a defense follow from its settings. Errors: InvalidValueError for one without a schedule."""
    if defense not in RULES:
        raise InvalidValueError(f"defense {defense!r} has no schedule; add its stages to RULES in {__name__}")
    return RULES[defense]


def expected_poison(resolved: Resolved) -> int:
    """Poisoned training samples that the plan of the attack leads to expect, all classes taken to be of one size."""
    classes = facts_of(resolved.location, resolved.source).classes
    share = {"exact-all": 1.0, "exact-target": 1 / classes}.get(resolved.count, 1 - 1 / classes)
    if resolved.target is None:
        share = 1.0
    return round(resolved.rate * share * resolved.train_size)


def derived(profile: str, paper: str = "paper", dataset: str = "cifar10", attack: str = "badnets") -> pd.DataFrame:
    """Every method's stages at a profile beside those of another, one row a stage.

    Columns: defense, stage, then steps, exposures and passes, each with the suffix of `paper` and of the profile.
    Empty where the profile leaves the data set out. Raises UnknownNameError for a profile that does not exist.
    """
    columns = [f"{what}_{name}" for what in WHAT for name in dict.fromkeys((paper, profile))]
    rows = []
    for defense in RULES:
        cell = Experiment(dataset=dataset, attack=attack, defense=defense, paper=PAPERS.get(defense), profile=paper)
        try:
            here = stages(cell.replace(profile=profile).resolve())
            pairs = zip(stages(cell.resolve()), here, strict=True)
        except LeftOutError:
            continue
        for there, mine in pairs:
            both = (there, mine) if profile != paper else (mine,)
            numbers = [getattr(item, what) for what in WHAT for item in both]
            rows.append({"defense": defense, "stage": mine.name, **dict(zip(columns, numbers, strict=True))})
    return pd.DataFrame(rows, columns=["defense", "stage", *columns])


def _passes(clean: bool = False, **parts: tuple[str, str]) -> Rule:
    """Passes over all samples, or the clean ones that a repair is given: for every stage the fields that hold its
    epochs and its batch size."""

    def rule(d: Any, n: Sizes) -> list[Stage]:
        given = (n.share(d.clean_share), 0) if clean else ()
        return [n.epochs(name, getattr(d, count), getattr(d, batch), *given) for name, (count, batch) in parts.items()]

    return rule


def _asd(d: Any, n: Sizes) -> list[Stage]:
    parts = {"class-aware": d.stage1_end, "class-agnostic": d.stage2_end - d.stage1_end}
    found = [n.mixmatch(name, count, d) for name, count in parts.items()]
    late = d.epochs - d.stage2_end
    virtual = n.epochs("one virtual model", d.virtual_epochs, d.virtual_batch_size)
    return [*found, n.mixmatch("meta-split", late, d), virtual]


def _bsd(d: Any, n: Sizes) -> list[Stage]:
    batch = d.altruistic_batch_size
    return [
        n.epochs("altruist, warm-up", d.warmup_epochs, batch),
        n.epochs("altruist, main loop", d.stage2_end, batch),
        n.mixmatch("until OSS", d.stage1_end, d),
        n.mixmatch("first pools", d.pool_epochs, d),
        n.mixmatch("completion", d.stage2_end - d.pool_end, d),
        n.mixmatch("drop", d.epochs - d.stage2_end, d),
    ]


def _vab(d: Any, n: Sizes) -> list[Stage]:
    first = n.epochs("Victim, first epoch", 1, d.victim_batch_size)
    late = d.epochs - d.clean_end
    rounds = d.clean_end // d.victim_interval + late // d.victim_interval_suppression
    return [
        first,
        n.epochs("Victim, later", d.warmup_epochs - 1 + rounds, d.victim_batch_size, n.poisoned),
        n.epochs("Beneficiary, clean", d.clean_end, d.batch_size, n.clean, 0),
        n.epochs("Beneficiary, suppression", late, d.batch_size, n.clean, 0),
    ]


_distinguishing = _passes(implant=("sd_epochs", "sd_batch_size"), spread=("sd_tuning_epochs", "sd_batch_size"))


def _dst(d: Any, n: Sizes) -> list[Stage]:
    pool = n.share(d.clean_share) + n.share(d.poison_share)
    extractor = n.epochs("semi-contrast", d.epochs, d.batch_size, poisoned=0)
    return [*_distinguishing(d, n), extractor, n.epochs("linear", d.linear_epochs, d.linear_batch_size, pool, 0)]


def _dbr(d: Any, n: Sizes) -> list[Stage]:
    suspected = n.share(d.poison_share)
    unlearn = n.epochs("unlearn", d.rounds, d.batch_size, suspected, min(suspected, n.poisoned))
    return [*_distinguishing(d, n), unlearn, n.epochs("relearn", d.rounds, d.batch_size, n.share(d.clean_share), 0)]


def _abl(d: Any, n: Sizes) -> list[Stage]:
    isolated = n.share(d.isolated_share)
    caught = min(isolated, n.poisoned)
    rest = n.total - isolated
    return [
        n.epochs("isolate", d.isolation_epochs, d.batch_size),
        n.epochs("finetune", d.finetuning_epochs, d.batch_size, rest, n.poisoned - caught),
        n.epochs("unlearn", d.unlearning_epochs, d.batch_size, isolated, caught),
    ]


def _dbd(d: Any, n: Sizes) -> list[Stage]:
    return [
        n.epochs("simclr", d.simclr_epochs, d.simclr_batch_size, poisoned=0),
        n.epochs("linear", d.linear_epochs, d.linear_batch_size),
        n.mixmatch("mixmatch", d.epochs, d),
    ]


def _contrast(name: str, exposed: bool) -> Rule:
    def rule(d: Any, n: Sizes) -> list[Stage]:
        features = n.epochs(name, d.epochs, d.batch_size, poisoned=-1 if exposed else 0)
        return [features, n.epochs("linear", d.linear_epochs, d.linear_batch_size)]

    return rule


RULES: Mapping[str, Rule] = {
    "none": _passes(train=("epochs", "batch_size")),
    "asd": _asd,
    "bsd": _bsd,
    "vab": _vab,
    "dst": _dst,
    "dbr": _dbr,
    "aabl": lambda d, n: [
        n.epochs("naive", d.naive_epochs, d.batch_size),
        n.epochs("adversarial", d.epochs, d.batch_size, n.clean, 0),
    ],
    "adv-train": _passes(adversarial=("epochs", "batch_size")),
    "abl": _abl,
    "dbd": _dbd,
    "dbd-meta-split": lambda d, n: [
        *_dbd(d, n),
        n.epochs("one virtual model", d.virtual_epochs, d.virtual_batch_size),
    ],
    "cbd": _passes(backdoor=("backdoor_epochs", "batch_size"), train=("epochs", "batch_size")),
    "spectral": lambda d, n: [n.epochs("retrain", d.epochs, d.batch_size, n.total - n.share(d.removed_share), 0)],
    "simclr-baseline": _contrast("simclr", False),
    "supcon-baseline": _contrast("supcon", True),
    "ft": _passes(clean=True, tune=("epochs", "batch_size")),
    "fp": _passes(clean=True, tune=("epochs", "batch_size")),
    "nad": _passes(clean=True, teacher=("teacher_epochs", "batch_size"), distil=("epochs", "batch_size")),
    "anp": lambda d, n: [Stage("mask", d.iterations, d.iterations * d.batch_size / n.total, 0.0)],
    "mcr": _passes(clean=True, end=("epochs", "batch_size"), curve=("curve_epochs", "curve_batch_size")),
}
