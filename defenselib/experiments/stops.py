"""Where a training can be stopped (`Experiment.stop_after`): the stages of every defense, known before any work."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from defenselib.defenses import Defense
from defenselib.defenses.aabl import DST_PARTS
from defenselib.defenses.bsd import COMBINED
from defenselib.defenses.distinguish import Distinguishing
from defenselib.errors import InvalidValueError

Stages = dict[str, int]
# Stages that a cell may find in the store: a training that stops within one has to make it.
SHARED = ("simclr", "ss-ctl", "implant", "spread", "naive", "nad-teacher", "mcr-end", "mcr-curve")


def check_stop(stop_after: str | None, defense: Defense, classes: int) -> None:
    """Refuse a stage that the defense does not have, and more epochs than it has. classes: of the data set.

    A defense that is not ours is left alone: what stages it has shows when it runs. Errors: InvalidValueError.
    """
    rule = RULES.get(defense.name)
    if stop_after is None or rule is None:
        return
    name, _, epochs = stop_after.partition(":")
    known = rule(defense, classes)
    if name not in known:
        near = difflib.get_close_matches(name[:99], known, n=1, cutoff=0.5)
        hint = f", did you mean {near[0]!r}?" if near else ";"
        raise InvalidValueError(
            f"stop_after is {stop_after!r}{hint} defense {defense.name!r} "
            + (f"has the stages {', '.join(known)}" if known else "has no stage that leaves a model")
        )
    if epochs and int(epochs) > known[name]:
        raise InvalidValueError(
            f"stop_after is {stop_after!r}, "
            f"but stage {name!r} of defense {defense.name!r} has {known[name]} epochs here"
        )


def in_shared_stage(stop_after: str | None) -> bool:
    """Whether the training stops within a stage that the store may hold."""
    return stop_after is not None and stop_after.partition(":")[0] in SHARED


def _fields(**parts: str) -> Callable[[Any, int], Stages]:
    """By stage, the field that holds its epochs; a dash of its name is an underscore here."""
    return lambda defense, _: {name.replace("_", "-"): getattr(defense, field) for name, field in parts.items()}


def _distinguishing(defense: Any) -> Stages:
    return {"implant": defense.sd_epochs, "spread": defense.sd_tuning_epochs}


def _aabl(defense: Any, _: int) -> Stages:
    whole = defense.split in DST_PARTS
    first = _distinguishing(Distinguishing()) if whole else {"naive": defense.naive_epochs, "split": 1}
    return first | {"adversarial" if defense.training == "adversarial" else "train": defense.epochs}


def _asd(defense: Any, _: int) -> Stages:
    moved = defense.seed_source is not None
    first = {"transfer": defense.transfer_epochs, "linear": defense.linear_epochs} if moved else {}
    return first | {"asd": defense.epochs}


def _bsd(defense: Any, classes: int) -> Stages:
    every = range(classes) if defense.all_to_all and defense.initial_pool in COMBINED else ()
    oss = {f"oss/{target}": defense.stage1_end for target in every}
    return {"warmup": defense.warmup_epochs} | oss | {"bsd": defense.end}


def _dst(defense: Any, _: int) -> Stages:
    extractor = {"ctl": "simclr", "s-ctl": "supcon"}.get(defense.extractor, defense.extractor)
    return _distinguishing(defense) | {extractor: defense.epochs, "linear": defense.linear_epochs}


def _vab(defense: Any, _: int) -> Stages:
    first = defense.automatic_epochs if defense.warmup == "automatic" else defense.warmup_epochs
    late = defense.epochs - defense.clean_end
    return {"warmup": first, "clean": defense.clean_end} | ({"suppression": late} if late > 0 else {})


RULES: Mapping[str, Callable[[Any, int], Stages]] = {
    "none": _fields(train="epochs"),
    "aabl": _aabl,
    "abl": _fields(isolate="isolation_epochs", finetune="finetuning_epochs", unlearn="unlearning_epochs"),
    "adv-train": _fields(adversarial="epochs"),
    "anp": _fields(),  # what it trains is a mask
    "asd": _asd,
    "bsd": _bsd,
    "cbd": _fields(backdoor="backdoor_epochs", train="epochs"),
    "dbd": _fields(simclr="simclr_epochs", linear="linear_epochs", dbd="epochs"),
    "dbd-meta-split": _fields(simclr="simclr_epochs", linear="linear_epochs", dbd="epochs"),
    "dbr": lambda defense, _: _distinguishing(defense) | {"removal": defense.rounds},
    "dst": _dst,
    "fp": _fields(fp="epochs"),
    "ft": _fields(ft="epochs"),
    "mcr": _fields(mcr_end="epochs", mcr_curve="curve_epochs"),
    "nad": _fields(nad_teacher="teacher_epochs", nad="epochs"),
    "simclr-baseline": _fields(simclr="epochs", linear="linear_epochs"),
    "spectral": _fields(train="epochs"),
    "supcon-baseline": _fields(supcon="epochs", linear="linear_epochs"),
    "vab": _vab,
}
