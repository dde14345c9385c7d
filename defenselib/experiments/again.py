"""From a result back to the question: the shortest Experiment that comes down to the same numbers today."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from defenselib import attacks, defenses
from defenselib.errors import DefenseLibError
from defenselib.experiments.experiment import Experiment
from defenselib.experiments.fields import ATTACK_RESERVED
from defenselib.experiments.profile import PAPER_MODEL
from defenselib.experiments.result import Result

_SAME = ("attack", "defense", "seed", "paper", "stop_after", "measure", "holdout", "diagnostic")
_USUAL: Mapping[str, Any] = {
    "source": None, "model": None, "count": None, "target": None, "rate": None, "attack_args": {}, "defense_args": {}
}  # fmt: skip


def experiment_of(result: Result) -> Experiment | None:
    """The Experiment whose hash is the result's, with as little said as that takes: what paper, profile and method set
    by themselves is left out. None where no Experiment has this hash today: a profile or a method has changed since."""
    full = _everything(result)
    if full is None or not _gives(full, result.hash):
        return None
    found = full
    for name, usual in _USUAL.items():
        for value in _shorter(name, getattr(found, name), usual, found.attack):
            shorter = found.replace(**{name: value})
            if _gives(shorter, result.hash):
                found = shorter
                break
    for name in ("attack_args", "defense_args"):
        for key in getattr(found, name):
            rest = {other: value for other, value in getattr(found, name).items() if other != key}
            if _gives(shorter := found.replace(**{name: rest}), result.hash):
                found = shorter
    return found


def _everything(result: Result) -> Experiment | None:
    """Every field as the result states it; the papers' network where a profile has put its own in its place."""
    told = result.experiment
    fields = {name: told[name] for name in _SAME}
    fields |= {"dataset": told["asked"] or told["dataset"], "profile": result.profile}
    fields |= {name: told[name] for name in _USUAL}
    for kind, registry in (("attack", attacks.ATTACKS), ("defense", defenses.DEFENSES)):
        fields[f"{kind}_args"] = {
            **_added_since(registry.get(told[kind]), told[f"{kind}_args"]),
            **told[f"{kind}_args"],
        }
    for model in (told["model"], PAPER_MODEL):
        try:
            made = Experiment(**{**fields, "model": model})
        except DefenseLibError:
            continue
        if _gives(made, result.hash):
            return made
    return None


def _added_since(method: Any, told: Mapping[str, Any]) -> dict[str, Any]:
    """Options that a method got after the result was made, at the default that changes nothing, against any preset."""
    known = () if method is None else dataclasses.fields(method)
    found = {item.name: item.default for item in known if item.metadata.get("hyper_parameter", True)}
    return {name: value for name, value in found.items() if name not in {*told, *ATTACK_RESERVED}}


def _shorter(name: str, value: Any, usual: Any, attack: str) -> Iterator[Any]:
    if value == usual:
        return
    yield usual
    if name == "attack_args":
        yield from ({"preset": preset} for preset in attacks.presets(attack))


def _gives(experiment: Experiment, key: str) -> bool:
    try:
        return experiment.resolve().hash == key
    except DefenseLibError:
        return False
