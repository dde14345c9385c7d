"""The specification of one cell: what was asked (`Experiment`) and what it comes down to in numbers (`Resolved`)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from defenselib import models
from defenselib.attacks import ATTACKS
from defenselib.attacks.base import COUNTS, Attack
from defenselib.defenses import DEFENSES
from defenselib.defenses.base import Defense
from defenselib.errors import InvalidValueError, check_choice, check_range
from defenselib.experiments import profile as profiles
from defenselib.experiments.fields import hyper_parameters, plain, settings, typed

MEASURES = ("acc", "asr", "ra", "recovered", "losses", "resistance", "sce")
DIAGNOSTICS = ("oracle-split",)
STOP_AFTER = re.compile(r"[^:]+(:[1-9][0-9]*)?")
# What a defense's or attack's `args` never hold: the experiment states it elsewhere.
IMPLIED = profiles.ATTACK_RESERVED


@dataclass(frozen=True)
class Experiment:
    """One cell: a data set, an attack on it, a defense, how large (profile), and a seed.

    dataset: a name, or a path to image folders or Parquet files. attack: "none" poisons nothing. paper: whose attack
    presets and training recipes; `attack_args={"preset": ...}` picks one of its variants. model: the papers'
    "resnet18" is what a profile may replace by a smaller one, another name stays. rate, target, count: None takes the
    attack's. stop_after: "stage" or "stage:epochs". holdout: so many training images become the test set instead.
    source: which copy of the data; None takes the one of the committed results. diagnostic: "oracle-split" runs ASD
    with a split that knows the poison, which is no defense.

    Unknown names, hyper-parameters and values out of range raise here or in `resolve`, before any work.
    """

    dataset: str = "cifar10"
    model: str | None = None
    attack: str = "badnets"
    defense: str = "none"
    profile: str = "smoke"
    seed: int = 0
    paper: str | None = None
    rate: float | None = None
    target: int | None = None
    count: str | None = None
    attack_args: Mapping[str, Any] = field(default_factory=dict, hash=False)
    defense_args: Mapping[str, Any] = field(default_factory=dict, hash=False)
    stop_after: str | None = None
    measure: tuple[str, ...] = ("acc", "asr")
    holdout: int = 0
    source: str | None = None
    diagnostic: str | None = None

    def __post_init__(self) -> None:
        check_choice("attack", self.attack, ATTACKS)
        check_choice("defense", self.defense, DEFENSES)
        profiles.load(self.profile)
        if self.model is not None:
            check_choice("model", self.model, models.available())
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise InvalidValueError(f"seed is {self.seed!r}, it must be a whole number from 0 on")
        if self.rate is not None:
            check_range("rate", self.rate, 0.0, 1.0)
        if self.count is not None:
            check_choice("count", self.count, COUNTS)
        check_range("holdout", self.holdout, 0, float("inf"))
        if isinstance(self.measure, str):
            raise InvalidValueError(f"measure is {self.measure!r}, it must be a tuple of names")
        for name in self.measure:
            check_choice("measure", name, MEASURES)
        if self.stop_after is not None and not STOP_AFTER.fullmatch(self.stop_after):
            raise InvalidValueError(f"stop_after is {self.stop_after!r}, it must be 'stage' or 'stage:epochs'")
        self._check_methods()
        # Copies, so that a dictionary of the caller's can change without changing this.
        object.__setattr__(self, "attack_args", dict(self.attack_args))
        object.__setattr__(self, "defense_args", dict(self.defense_args))
        object.__setattr__(self, "measure", tuple(sorted(set(self.measure))))

    def _check_methods(self) -> None:
        allowed = hyper_parameters(ATTACKS[self.attack], ("image_size", "plan")) | {"preset": str | None}
        typed(allowed, self.attack_args, f"attack_args of {self.attack!r}")
        typed(hyper_parameters(DEFENSES[self.defense]), self.defense_args, f"defense_args of {self.defense!r}")
        if self.diagnostic is not None:
            check_choice("diagnostic", self.diagnostic, DIAGNOSTICS)
            if self.defense != "asd":
                raise InvalidValueError(f"diagnostic {self.diagnostic!r} is for defense 'asd', not {self.defense!r}")

    def resolve(self) -> Resolved:
        """All numbers that this experiment comes down to. A data set given by path must be at hand."""
        from defenselib.experiments.resolve import resolve

        return resolve(self)

    def replace(self, **changes: Any) -> Experiment:
        """A copy with other fields."""
        return replace(self, **changes)


@dataclass(frozen=True)
class Resolved:
    """An experiment in numbers. `hash` covers what decides the outcome and names the result.

    dataset: the data set's plain name; location: what loads it, a name or a path. train_size: images that are trained
    on. upstream: the run whose model this one starts from. location, asked, paper, profile, history_test and verdict
    are not hashed: two profiles or papers that agree in all numbers share results.
    """

    dataset: str
    location: str
    source: str
    model: str
    attack: Attack
    rate: float
    target: int | None
    count: str
    defense: Defense
    seed: int
    train_size: int
    profile: str
    history_test: int
    verdict: str
    paper: str | None = None
    asked: str = ""
    limit: int | None = None
    subset_seed: int = 0
    holdout: int = 0
    width: int = 64
    precision: str = "fp32"
    stop_after: str | None = None
    measure: tuple[str, ...] = ("acc", "asr")
    diagnostic: str | None = None
    upstream: Resolved | None = None

    def spec(self) -> dict[str, Any]:
        """What is hashed: fields equal to their default are left out, so that new options orphan no result."""
        chosen = {name: getattr(self, name) for name in _HASHED_IF_SET if getattr(self, name) != _DEFAULTS[name]}
        spec = {
            **{name: getattr(self, name) for name in ("dataset", "source", "model", "rate", "target", "count", "seed")},
            **{name: plain(value) for name, value in chosen.items()},
            "attack": _method(self.attack, self.seed, False),
            "defense": _method(self.defense, self.seed, False),
        }
        if self.upstream is not None:
            spec["upstream"] = self.upstream.hash
        return spec

    def describe(self) -> dict[str, Any]:
        """Everything, defaults included, for whoever reads a result: its `experiment`."""
        names = ("dataset", "source", "limit", "subset_seed", "holdout", "train_size", "paper", "profile", "model")
        more = ("width", "rate", "target", "count", "precision", "seed", "stop_after", "measure", "diagnostic")
        attack = _method(self.attack, self.seed, True)
        defense = _method(self.defense, self.seed, True)
        return {
            **{name: plain(getattr(self, name)) for name in (*names, *more)},
            "asked": self.asked,
            "attack": attack["name"],
            "attack_version": attack["version"],
            "attack_args": attack["args"],
            "defense": defense["name"],
            "defense_version": defense["version"],
            "defense_args": defense["args"],
            "upstream": None if self.upstream is None else self.upstream.hash,
        }

    @cached_property
    def hash(self) -> str:
        """16 hexadecimal digits of the SHA-256 of the canonical JSON of `spec()`."""
        return hash_of(self.spec())

    @property
    def defense_label(self) -> str:
        """The defense's name, "asd+oracle" for a diagnostic."""
        return self.defense.name + ("" if self.diagnostic is None else f"+{self.diagnostic.split('-')[0]}")

    @property
    def stem(self) -> str:
        """Name of the result's files without ending."""
        return f"{file_name(self.dataset)}-{self.attack.name}-{self.defense_label}-s{self.seed}-{self.hash}"


def _method(method: Attack | Defense, seed: int, defaults: bool) -> dict[str, Any]:
    """Name, version and hyper-parameters; of these an attack's size, plan and usual seed stand in the experiment."""
    args = settings(method, IMPLIED if isinstance(method, Attack) else (), defaults)
    if isinstance(method, Attack) and method.seed != seed:
        args["seed"] = method.seed
    return {"name": method.name, "version": method.version, "args": args}


_HASHED_IF_SET = (
    "limit",
    "subset_seed",
    "holdout",
    "width",
    "precision",
    "stop_after",
    "measure",
    "diagnostic",
)
_DEFAULTS = {name: Resolved.__dataclass_fields__[name].default for name in _HASHED_IF_SET}


def file_name(text: str) -> str:
    """`text` with everything replaced that a file's name should not hold."""
    return "".join(c if c.isalnum() or c in "._" else "_" for c in text)


def hash_of(spec: Mapping[str, Any]) -> str:
    """Hash of a specification, whatever the order of its keys."""
    text = json.dumps(spec, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
