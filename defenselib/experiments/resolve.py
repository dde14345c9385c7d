"""The parts of an experiment in numbers: paper recipe, profile and the caller's arguments, in this order; the recipes
are what papers set otherwise than a method's defaults, on a data set or of methods that are not their own."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from defenselib import attacks, defenses
from defenselib import data as datasets
from defenselib.attacks.base import Attack
from defenselib.defenses.base import Defense
from defenselib.errors import InvalidValueError
from defenselib.experiments.fields import arguments, default_of, hyper_parameters, typed
from defenselib.experiments.profile import DataRule, Profile


@cache
def _rules() -> list[dict[str, Any]]:
    text = Path(__file__).with_name("recipes.toml").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = tomllib.loads(text)["recipe"]
    return found


def recipe(defense: str, dataset: str, paper: str | None) -> dict[str, Any]:
    """Overrides of `defense`'s defaults on `dataset` in `paper`, as `recipes.toml` has them; the later rule wins."""
    asked, result = {"defenses": defense, "datasets": dataset, "papers": paper}, dict[str, Any]()
    for rule in _rules():
        if all(name in rule.get(axis, (name,)) for axis, name in asked.items()):
            result |= rule["sets"]
    return result


@dataclass(frozen=True)
class Facts:
    """What must be known of a data set to resolve an experiment on it. image_size: side in pixels."""

    name: str
    train_size: int
    classes: int
    source: str
    image_size: int = 32


def facts_of(name: str, source: str | None) -> Facts:
    """Facts of a data set: from the table of known ones, else from the data, which must then be at hand."""
    if name in datasets.available():
        info = datasets.info(name)
        chosen = source or info.source
        if chosen is not None:
            return Facts(name, info.train_size, info.num_classes, chosen, info.image_size)
    full = datasets.load_dataset(name)
    return Facts(
        full.name, len(full.train), full.num_classes, source or datasets.source_of(full), full.train.image_size
    )


def subset_size(rule: DataRule, facts: Facts, holdout: int) -> int | None:
    """Training images to be drawn; None for all that the holdout leaves."""
    available = facts.train_size - holdout
    if available < 1:
        raise InvalidValueError(f"holdout {holdout} leaves none of {facts.train_size} training images")
    # Drawn on the fly, so there is no end to them.
    if rule.limit is None or (rule.limit >= available and facts.name != "shapes"):
        return None
    return None if rule.limit == available else rule.limit


def make_attack(
    name: str, given: Mapping[str, Any], paper: str | None, seed: int, profile: Profile, facts: Facts
) -> Attack:
    """The attack of a paper (or of the preset that is given), with the profile's hyper-parameters and those given."""
    given = dict(given)
    preset = given.pop("preset", paper)
    allowed = {key: kind for key, kind in (arguments("attack", name) or {}).items() if key != "preset"}
    given = typed(allowed, given, f"attack_args of {name!r}")
    section = {key: value for key, value in _of_profile(profile, name, facts).items() if key != "rate"}
    hyper = {"seed": seed, **section, **given}
    return attacks.create(name, image_size=facts.image_size, preset=preset, **hyper)


def _of_profile(profile: Profile, attack: str, facts: Facts) -> dict[str, Any]:
    section = profile.attack.get(attack)
    return {} if section is None else section.on(facts.name)


def rate_of(given: float | None, attack: Attack, profile: Profile, facts: Facts) -> float:
    """Share of poisoned samples: the caller's, else the profile's, else the paper's."""
    if given is not None:
        return float(given)
    return float(_of_profile(profile, attack.name, facts).get("rate", attack.plan.rate))


def make_defense(
    name: str, given: Mapping[str, Any], paper: str | None, profile: Profile, facts: Facts, share: float
) -> Defense:
    """Defaults, the paper's recipe (counts per class times the share of the full set that is trained on), the profile,
    what is given: the later wins."""
    cls, dataset = defenses.DEFENSES[name], facts.name
    allowed = hyper_parameters(cls)
    where = f"defense {name!r}"
    hyper = typed(allowed, recipe(name, dataset, paper), f"recipe of {where}")
    hyper |= _scaled(cls, hyper, share)
    section = profile.defense.get(name)
    every = {key: value for key, value in profile.every.items() if key in allowed}
    for layer in (every, {} if section is None else section.on(dataset), given):
        hyper |= typed(allowed, layer, where)
    padding = hyper.get("padding", 0)
    if padding >= facts.image_size:
        raise InvalidValueError(
            f"padding is {padding}, it must be less than the side of the images, {facts.image_size}"
        )
    return defenses.create(name, **hyper)


def _scaled(cls: type[Defense], hyper: dict[str, Any], scale: float) -> dict[str, int]:
    """Counts that a paper gives per class of the full set, for a subset of share `scale`; at least 1."""
    result = {}
    for item in dataclasses.fields(cls):
        value = hyper.get(item.name, default_of(item))
        if item.metadata.get("per_class") and value:
            result[item.name] = max(1, int(value * scale + 0.5))
    return result
