"""What holds for every registered defense: it trains under every kind of attack, and every hyper-parameter counts."""

from __future__ import annotations

import copy
import dataclasses
import functools
import hashlib
import importlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from defenselib import attacks, data, defenses
from defenselib.attacks.base import Attack
from defenselib.data.types import PoisonedDataset
from defenselib.defenses.base import Fitted
from defenselib.errors import DefenseLibError, UnknownNameError
from defenselib.experiments.fields import hyper_parameters
from defenselib.learning.context import Context
from defenselib.models import build_model

from . import swept
from .tiny import BESIDE, TINY, granted


def kind_of(attack: Attack) -> str:
    if attack.all_to_all:
        return "all to all"
    return "clean label" if attack.clean_label else "cross samples" if attack.cross_rate else "dirty label"


def kinds() -> dict[str, str]:
    """One attack of every kind, of those that need no training."""
    found: dict[str, str] = {}
    for name in attacks.available():
        attack = attacks.create(name)
        if attack.poisons and type(attack).prepare is Attack.prepare:
            found.setdefault(kind_of(attack), name)
    return found


KINDS = kinds()


@functools.cache
def poisoned_by(name: str) -> PoisonedDataset:
    small = data.load_dataset("shapes", limit=64)
    attack = attacks.create(name)
    count = "exact-target" if attack.clean_label else None
    # With cross samples fewer, so that every class keeps clean ones.
    rate = 0.5 if count else 0.1 if attack.cross_rate else 0.2
    return attacks.poison(small, attack, rate=rate, count=count)


def context_for(defense: defenses.Defense, poisoned: PoisonedDataset, **more: Any) -> Context:
    def fresh(**how: Any) -> Context:
        return Context(model_factory=lambda: build_model("resnet10", 10, 32, width=8), **how)

    upstream = backdoored(fresh) if defense.post_training else None
    return fresh(upstream=upstream, **granted(defense, poisoned), **more)


_UPSTREAM: list[Fitted] = []


def backdoored(fresh: Any) -> Fitted:
    """A model to repair, trained once; a copy, since a defense may change it."""
    if not _UPSTREAM:
        tool = fresh()
        # Long enough to know most of what it saw: a repair that stops when the accuracy falls has something to lose.
        none = defenses.create("none", epochs=16, batch_size=8, learning_rate=0.02, schedule="constant", padding=0)
        _UPSTREAM.append(none.fit(poisoned_by(KINDS["dirty label"]).train, tool.build_model, tool))
    return copy.deepcopy(_UPSTREAM[0])


class Watcher:
    """Keeps the tensors that a defense reports (scores, pools): they are part of what it gives."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def __call__(self, event: str, **what: Any) -> None:
        self.seen += [value.detach().clone() for value in what.values() if isinstance(value, torch.Tensor)]

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def fit(name: str, poisoned: PoisonedDataset, arguments: dict[str, Any], **more: Any) -> Fitted:
    defense = defenses.create(name, **arguments)
    context = context_for(defense, poisoned, **more)
    return defense.fit(poisoned.train.channels_last(), context.build_model, context)


def fingerprint(name: str, poisoned: PoisonedDataset, arguments: dict[str, Any], **more: Any) -> str:
    """Of everything that a defense gives back and reports."""
    watcher = Watcher()
    fitted = fit(name, poisoned, arguments, observer=watcher, **more)
    state = hashlib.sha256()
    tensors = [*fitted.model.state_dict().values(), *fitted.arrays.values(), *watcher.seen]
    for tensor in [*tensors, *([] if fitted.suspects is None else [fitted.suspects])]:
        state.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    state.update(repr(sorted(fitted.metrics.items())).encode())
    return state.hexdigest()


def others(value: Any) -> Iterator[Any]:
    """Candidates near `value`, of its type; not all need to be admissible."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, value - 1, value * 2)
    elif isinstance(value, float):
        yield from (value * 2, value / 2, value + 0.5)
    elif isinstance(value, str):
        yield "something else"
    elif isinstance(value, tuple):
        yield from (value[:-1], (*value, *(value[-1:] or (1,))))


def test_tiny_settings_are_there_for_every_defense_and_no_other() -> None:
    unlike = set(TINY) ^ set(defenses.available())
    assert not unlike, f"tests/defenses/tiny.py needs settings of every defense in TINY, and of no other: {unlike}"
    for name, parameter in BESIDE:
        assert parameter in hyper_parameters(defenses.DEFENSES[name])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", defenses.available())
def test_trains_under_every_kind_of_attack(name: str, kind: str) -> None:
    poisoned = poisoned_by(KINDS[kind])
    before = poisoned.train.images.clone(), poisoned.train.labels.clone()
    stream = torch.get_rng_state()
    fitted = fit(name, poisoned, TINY[name])
    assert torch.equal(poisoned.train.images, before[0]) and torch.equal(poisoned.train.labels, before[1])
    assert torch.equal(torch.get_rng_state(), stream), "draws from the global stream"
    logits = fitted.model.eval()(torch.rand(3, 3, 32, 32))
    assert logits.shape == (3, 10) and logits.isfinite().all()
    if fitted.suspects is not None:
        assert fitted.suspects.dtype == torch.int64 and len(fitted.suspects.unique()) == len(fitted.suspects)
        assert ((fitted.suspects >= 0) & (fitted.suspects < 64)).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", defenses.available())
def test_the_same_seed_gives_the_same_outcome(name: str) -> None:
    poisoned = poisoned_by(KINDS["dirty label"])
    one, two, other = (fingerprint(name, poisoned, TINY[name], seed=seed) for seed in (0, 0, 1))
    assert one == two != other


# What an experiment measures besides, which the method does not look at: `test_dbr.py` tests it.
ASKED = {("dbr", "probe")}
PARAMETERS = [
    pytest.param(name, parameter, marks=pytest.mark.demo if name in swept.recorded() else pytest.mark.slow)
    for name in defenses.available()
    for parameter in hyper_parameters(defenses.DEFENSES[name])
    if (name, parameter) not in ASKED
]


@functools.cache
def tiny_outcome(name: str) -> str:
    return fingerprint(name, poisoned_by(KINDS["dirty label"]), TINY[name])


def test_a_change_of_a_method_or_of_its_settings_has_it_swept_again(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: swept.state(name) for name in ("asd", "none", "nad")}
    monkeypatch.setitem(TINY, "asd", {**TINY["asd"], "epochs": 5})
    monkeypatch.setattr(swept, "code_digest", lambda _, name, **more: f"another {name}" if name == "nad" else "")
    assert swept.state("asd") != before["asd"] and swept.state("nad") != before["nad"]
    assert {*json.loads(swept.RECORD.read_text())} <= {*defenses.available()}


@pytest.mark.parametrize(("name", "parameter"), PARAMETERS)
def test_every_hyper_parameter_changes_the_outcome(name: str, parameter: str) -> None:
    poisoned = poisoned_by(KINDS["dirty label"])
    if (name, parameter) in BESIDE:
        base, other = ({**TINY[name], **more} for more in BESIDE[name, parameter])
        # Which classes so small a model predicts differs from processor to processor.
        targets = range(10) if parameter == "dropping" else (None,)
        assert any(
            fingerprint(name, poisoned, base | more) != fingerprint(name, poisoned, other | more)
            for more in ({} if target is None else {"pseudo_target": target} for target in targets)
        )
        return
    value = getattr(defenses.create(name, **TINY[name]), parameter)
    assert changes(name, poisoned, parameter, value), f"no admissible value other than {value!r} changes anything"


def changes(name: str, poisoned: PoisonedDataset, parameter: str, value: Any) -> bool:
    for candidate in others(value):
        try:
            outcome = fingerprint(name, poisoned, {**TINY[name], parameter: candidate})
        except UnknownNameError as error:
            names = str(error).partition("available: ")[2].split(", ")
            for choice in (item for item in names if item != value):
                if fingerprint(name, poisoned, {**TINY[name], parameter: choice}) != tiny_outcome(name):
                    return True
            continue
        except DefenseLibError:
            continue
        if outcome != tiny_outcome(name):
            return True
    return False


@pytest.mark.parametrize("name", defenses.available())
def test_says_what_it_is(name: str) -> None:
    cls = defenses.DEFENSES[name]
    assert cls.name == name and cls.__doc__ and dataclasses.is_dataclass(cls)
    assert importlib.import_module(cls.__module__).__doc__
