"""From an Experiment to numbers: paper recipe, profile and the caller's arguments, in this order."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from defenselib import attacks, defenses
from defenselib import data as datasets
from defenselib.attacks import ATTACKS
from defenselib.attacks.base import Attack
from defenselib.defenses import DEFENSES
from defenselib.defenses.base import Defense
from defenselib.errors import InvalidValueError, check_range
from defenselib.experiments import profile as profiles
from defenselib.experiments.experiment import Experiment, Resolved
from defenselib.experiments.fields import default_of, hyper_parameters, typed
from defenselib.experiments.profile import Profile
from defenselib.experiments.recipes import recipe

# The papers' model where they name no other; what a profile's [model] name stands in for.
PAPER_MODEL = "resnet18"


@dataclass(frozen=True)
class Facts:
    """What must be known of a data set to resolve an experiment on it. image_size: side in pixels."""

    name: str
    train_size: int
    classes: int
    source: str
    image_size: int = 32


def resolve(experiment: Experiment) -> Resolved:
    """See `Experiment.resolve`."""
    profile = profiles.load(experiment.profile)
    dataset, rule = profile.dataset(experiment.dataset)
    facts = facts_of(dataset, experiment.source)
    limit = _size(rule, facts, experiment.holdout)
    train_size = facts.train_size - experiment.holdout if limit is None else limit
    below = upstream_of(experiment)
    attack = _attack(experiment, profile, facts)
    if experiment.rate and not attack.poisons:
        raise InvalidValueError(f"attack {attack.name!r} poisons nothing, rate is {experiment.rate}")
    defense = _defense(experiment, profile, facts.name, train_size / facts.train_size)
    model = experiment.model or PAPER_MODEL
    return Resolved(
        dataset=facts.name,
        location=dataset,
        source=facts.source,
        model=profile.model if profile.model is not None and model == PAPER_MODEL else model,
        width=64 if profile.width is None else profile.width,
        attack=attack,
        rate=_rate(experiment, profile, facts, attack),
        target=_target(experiment, attack, facts.classes),
        count=experiment.count or attack.plan.count,
        defense=defense,
        seed=experiment.seed,
        train_size=train_size,
        profile=profile.name,
        history_test=profile.history_test,
        verdict=profile.verdict,
        paper=experiment.paper,
        asked=experiment.dataset,
        limit=limit,
        subset_seed=0 if limit is None else rule.seed,
        holdout=experiment.holdout,
        precision=profile.precision,
        stop_after=experiment.stop_after,
        measure=experiment.measure,
        diagnostic=experiment.diagnostic,
        upstream=None if below is None else below.resolve(),
    )


def upstream_of(experiment: Experiment) -> Experiment | None:
    """The experiment whose model this one starts from, if any.

    A post-training defense repairs the undefended model. An attack at rate 0 changes no training image, so its
    undefended model is the one of no attack: only the trigger of the test images differs.
    """
    plain = {"stop_after": None, "measure": ("acc", "asr"), "diagnostic": None}
    if DEFENSES[experiment.defense].post_training:
        return experiment.replace(defense="none", defense_args={}, **plain)
    if experiment.defense == "none" and experiment.rate == 0 and ATTACKS[experiment.attack].poisons:
        # One preset for all papers: a clean model has no target, so those of several papers are the same model.
        one = {"attack": "none", "attack_args": {"preset": "asd"}}
        return experiment.replace(**one, rate=None, target=None, count=None, **plain)
    return None


def facts_of(name: str, source: str | None) -> Facts:
    """Facts of a data set: from the table of known ones, else from the data, which must then be at hand."""
    if name in datasets.available():
        info = datasets.info(name)
        chosen = source or info.source
        if chosen is not None:
            return Facts(name, info.train_size, info.num_classes, chosen)
    full = datasets.load_dataset(name)
    return Facts(
        full.name, len(full.train), full.num_classes, source or datasets.source_of(full), full.train.image_size
    )


def _size(rule: profiles.DataRule, facts: Facts, holdout: int) -> int | None:
    """Training images to be drawn; None for all that the holdout leaves."""
    available = facts.train_size - holdout
    if available < 1:
        raise InvalidValueError(f"holdout {holdout} leaves none of {facts.train_size} training images")
    # Drawn on the fly, so there is no end to them.
    if rule.limit is None or (rule.limit >= available and facts.name != "shapes"):
        return None
    return None if rule.limit == available else rule.limit


def _attack(experiment: Experiment, profile: Profile, facts: Facts) -> Attack:
    name = experiment.attack
    given = dict(experiment.attack_args)
    preset = given.pop("preset", experiment.paper)
    given = typed(hyper_parameters(attacks.ATTACKS[name], ("image_size", "plan")), given, f"attack_args of {name!r}")
    section = {key: value for key, value in _of_profile(profile, name, facts).items() if key != "rate"}
    hyper = {"seed": experiment.seed, **section, **given}
    return attacks.create(name, image_size=facts.image_size, preset=preset, **hyper)


def _of_profile(profile: Profile, attack: str, facts: Facts) -> dict[str, Any]:
    section = profile.attack.get(attack)
    return {} if section is None else section.on(facts.name)


def _rate(experiment: Experiment, profile: Profile, facts: Facts, attack: Attack) -> float:
    """Share of poisoned samples: the caller's, else the profile's, else the paper's."""
    if experiment.rate is not None:
        return float(experiment.rate)
    return float(_of_profile(profile, experiment.attack, facts).get("rate", attack.plan.rate))


def _target(experiment: Experiment, attack: Attack, classes: int) -> int | None:
    if attack.all_to_all:
        if experiment.target is not None:
            raise InvalidValueError(f"attack {experiment.attack!r} has no target class, target must be None")
        return None
    target = attack.plan.target if experiment.target is None else experiment.target
    if target is None:
        raise InvalidValueError(f"attack {experiment.attack!r} needs a target class")
    return int(check_range("target", target, 0, classes - 1))


def _defense(experiment: Experiment, profile: Profile, dataset: str, scale: float) -> Defense:
    """Defaults, the paper's recipe (counts per class scaled), the profile, the caller: the later wins."""
    cls = defenses.DEFENSES[experiment.defense]
    allowed = hyper_parameters(cls)
    where = f"defense {experiment.defense!r}"
    hyper = typed(allowed, recipe(experiment.defense, dataset, experiment.paper), f"recipe of {where}")
    hyper |= _scaled(cls, hyper, scale)
    section = profile.defense.get(experiment.defense)
    every = {key: value for key, value in profile.every.items() if key in allowed}
    for layer in (every, {} if section is None else section.on(dataset), experiment.defense_args):
        hyper |= typed(allowed, layer, where)
    return defenses.create(experiment.defense, **hyper)


def _scaled(cls: type[Defense], hyper: dict[str, Any], scale: float) -> dict[str, int]:
    """Counts that a paper gives per class of the full set, for a subset of share `scale`; at least 1."""
    result = {}
    for item in dataclasses.fields(cls):
        value = hyper.get(item.name, default_of(item))
        if item.metadata.get("per_class") and value:
            result[item.name] = max(1, int(value * scale + 0.5))
    return result
