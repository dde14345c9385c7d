"""One cell as it is asked for, the way to its numbers (paper recipe, profile, the caller's arguments), and as JSON and
back, so that another process runs the very same."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from defenselib import models
from defenselib.attacks import ATTACKS
from defenselib.attacks.base import COUNTS
from defenselib.attacks.poisoning import target_of
from defenselib.defenses import DEFENSES
from defenselib.errors import InvalidValueError, check_choice, check_range, printable
from defenselib.experiments import profile as profiles
from defenselib.experiments.fields import arguments, checked, default_of, hyper_parameters, plain, typed
from defenselib.experiments.profile import PAPER_MODEL
from defenselib.experiments.resolve import facts_of, make_attack, make_defense, rate_of, subset_size
from defenselib.experiments.spec import Resolved, file_name, hash_of
from defenselib.experiments.stops import check_stop

__all__ = ["Experiment", "Resolved", "file_name", "hash_of"]

MEASURES = ("acc", "asr", "ra", "recovered", "losses", "resistance", "sce")
DIAGNOSTICS = ("oracle-split",)
STOP_AFTER = re.compile(r"[^:]+(:[1-9][0-9]*)?")
LAST_SEED = (1 << 63) - 1


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
        for name, kind in hyper_parameters(type(self), ("attack_args", "defense_args")).items():
            object.__setattr__(self, name, checked(name, getattr(self, name), kind))
        check_choice("attack", self.attack, ATTACKS)
        check_choice("defense", self.defense, DEFENSES)
        profiles.load(self.profile)
        if not self.dataset:
            raise InvalidValueError("dataset is '', it must be a name or a path")
        if self.model is not None:
            check_choice("model", self.model, models.available())
        check_range("seed", self.seed, 0, LAST_SEED)
        if self.rate is not None:
            check_range("rate", self.rate, 0.0, 1.0)
        if self.target is not None:
            check_range("target", self.target, 0, float("inf"))
        if self.count is not None:
            check_choice("count", self.count, COUNTS)
        check_range("holdout", self.holdout, 0, float("inf"))
        for name in self.measure:
            check_choice("measure", name, MEASURES)
        if self.stop_after is not None and not STOP_AFTER.fullmatch(self.stop_after):
            raise InvalidValueError(f"stop_after is {self.stop_after!r}, it must be 'stage' or 'stage:epochs'")
        object.__setattr__(self, "measure", tuple(sorted(set(self.measure))))
        self._check_methods()

    def _check_methods(self) -> None:
        for kind in ("attack", "defense"):
            name, given = getattr(self, kind), getattr(self, f"{kind}_args")
            # Copies, so that a dictionary of the caller's can change without changing this.
            own = typed(arguments(kind, name) or {}, given, f"{kind}_args of {name!r}")
            object.__setattr__(self, f"{kind}_args", own)
        if self.diagnostic is not None:
            check_choice("diagnostic", self.diagnostic, DIAGNOSTICS)
            if self.defense != "asd":
                raise InvalidValueError(f"diagnostic {self.diagnostic!r} is for defense 'asd', not {self.defense!r}")

    def resolve(self) -> Resolved:
        """All numbers that this experiment comes down to. A data set given by path must be at hand."""
        profile = profiles.load(self.profile)
        dataset, rule = profile.dataset(self.dataset)
        facts = facts_of(dataset, self.source)
        limit = subset_size(rule, facts, self.holdout)
        train_size = facts.train_size - self.holdout if limit is None else limit
        below = self.upstream()
        attack = make_attack(self.attack, self.attack_args, self.paper, self.seed, profile, facts)
        if self.rate and not attack.poisons:
            raise InvalidValueError(f"attack {attack.name!r} poisons nothing, rate is {self.rate}")
        share = train_size / facts.train_size
        defense = make_defense(self.defense, self.defense_args, self.paper, profile, facts, share)
        check_stop(self.stop_after, defense, facts.classes)
        return Resolved(
            dataset=facts.name,
            location=dataset,
            source=facts.source,
            model=profile.network(self.model or PAPER_MODEL),
            width=64 if profile.width is None else profile.width,
            attack=attack,
            rate=rate_of(self.rate, attack, profile, facts),
            target=target_of(attack, self.target, facts.classes),
            count=self.count or attack.plan.count,
            defense=defense,
            seed=self.seed,
            train_size=train_size,
            profile=profile.name,
            history_test=profile.history_test,
            paper=self.paper,
            asked=printable(self.dataset),
            limit=limit,
            subset_seed=0 if limit is None else rule.seed,
            holdout=self.holdout,
            precision=profile.precision,
            stop_after=self.stop_after,
            measure=self.measure,
            diagnostic=self.diagnostic,
            upstream=None if below is None else below.resolve(),
        )

    def upstream(self) -> Experiment | None:
        """The experiment whose model this one starts from, if any.

        A post-training defense repairs the undefended model. An attack at rate 0 changes no training image, so its
        undefended model is the one of no attack: only the trigger of the test images differs.
        """
        plain = {"stop_after": None, "measure": ("acc", "asr"), "diagnostic": None}
        if DEFENSES[self.defense].post_training:
            return self.replace(defense="none", defense_args={}, **plain)
        if self.defense == "none" and self.rate == 0 and ATTACKS[self.attack].poisons:
            # One preset for all papers: a clean model has no target, so those of several papers are the same model.
            one = {"attack": "none", "attack_args": {"preset": "asd"}}
            return self.replace(**one, rate=None, target=None, count=None, **plain)
        return None

    def replace(self, **changes: Any) -> Experiment:
        """A copy with other fields."""
        return replace(self, **changes)


def as_dict(experiment: Experiment) -> dict[str, Any]:
    """The fields that are not their default, as JSON values."""
    pairs = ((item, getattr(experiment, item.name)) for item in dataclasses.fields(experiment))
    return {item.name: plain(value) for item, value in pairs if value != default_of(item)}


def from_dict(content: Any, where: str = "specification") -> Experiment:
    """The Experiment of `as_dict`. Errors: UnknownNameError for a field that is none, InvalidValueError for a value of
    another type or range."""
    if not isinstance(content, Mapping):
        raise InvalidValueError(f"{where} is {content!r}, it must be a table of an experiment's fields")
    return Experiment(**typed(hyper_parameters(Experiment), content, where))


def from_json(text: str, where: str = "specification") -> Experiment:
    """The Experiment in a JSON text. Errors: as `from_dict`, and InvalidValueError for what is no JSON."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidValueError(f"{where} is no JSON: {error}") from error
    return from_dict(content, where)
