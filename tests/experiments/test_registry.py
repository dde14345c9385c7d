"""Every attack and every defense, at `smoke`: what is registered is tested, unasked."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from defenselib import attacks, defenses
from defenselib.data.types import ImageSet, PoisonedDataset
from defenselib.defenses.base import BuildModel, Fitted
from defenselib.errors import DefenseLibError, UnknownNameError
from defenselib.experiments import Experiment, Store, run
from defenselib.experiments.fields import hyper_parameters
from defenselib.learning.context import Context

# All pairs would be a product of two growing lists: every attack meets the undefended model, every defense BadNets.
PAIRS = [pytest.param("badnets", defense, marks=pytest.mark.slow) for defense in defenses.available()]
# Dynamic is IAB with every target.
PAIRS += [
    pytest.param(attack, "none", marks=pytest.mark.demo if attack == "dynamic" else pytest.mark.slow)
    for attack in attacks.available()
    if attack != "badnets"
]


@pytest.fixture(scope="module")
def repaired(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Keeps the backdoored model, so that not every repair trains it again."""
    return Store(tmp_path_factory.mktemp("repaired"))


@pytest.mark.parametrize(("attack", "defense"), PAIRS)
def test_trains_and_is_given_no_ground_truth(
    attack: str, defense: str, repaired: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[Any, Any, Context]] = []
    cls = defenses.DEFENSES[defense]
    fit = cls.fit

    def watched(self: Any, train: ImageSet, build_model: BuildModel, context: Context) -> Fitted:
        given.append((train, build_model, context))
        fitted = fit(self, train, build_model, context)
        assert isinstance(fitted, Fitted) and isinstance(fitted.model, torch.nn.Module)
        return fitted

    monkeypatch.setattr(cls, "fit", watched)
    # The attack decides nothing about how long to train, so its cell is as short as it can be.
    short = {"epochs": 1} if attack != "badnets" else {}
    experiment = Experiment(attack=attack, defense=defense, defense_args=short)
    store = repaired if defenses.DEFENSES[defense].post_training else Store(tmp_path)
    result = run(experiment, store, device="cpu", progress=False)
    assert 0 <= result.acc <= 100 and (math.isnan(result.asr) or 0 <= result.asr <= 100)
    assert (result.poisoned_count > 0) == attacks.ATTACKS[attack].poisons
    assert given
    for train, _, context in given:
        assert type(train) is ImageSet
        public = {name: value for name, value in vars(context).items() if not name.startswith("_")}
        assert not any(isinstance(value, PoisonedDataset) for value in public.values())
        assert set(public) == {"device", "precision", "flip", "clean", "clean_index", "upstream", "seconds"}
    if not defenses.DEFENSES[defense].post_training:
        assert result.history and {"stage", "epoch", "acc", "asr"} <= set(result.history[0])


@pytest.mark.parametrize("defense", defenses.available())
def test_every_hyper_parameter_of_a_defense_changes_the_hash(defense: str) -> None:
    base = Experiment(defense=defense, profile="paper").resolve()
    for item in dataclasses.fields(base.defense):
        assert_changes(base.hash, item.name, getattr(base.defense, item.name), "defense_args", defense=defense)


@pytest.mark.parametrize("attack", attacks.available())
def test_every_hyper_parameter_of_an_attack_changes_the_hash(attack: str) -> None:
    base = Experiment(attack=attack, profile="paper").resolve()
    for name in hyper_parameters(type(base.attack), ("image_size", "plan")):
        assert_changes(base.hash, name, getattr(base.attack, name), "attack_args", attack=attack)


def assert_changes(before: str, name: str, value: Any, where: str, **method: str) -> None:
    """Some other admissible value of the hyper-parameter gives another hash."""
    for other in others(value):
        if other == value:
            continue
        try:
            after = Experiment(profile="paper", **{where: {name: other}}, **method).resolve().hash  # type: ignore[arg-type]
        except UnknownNameError as error:
            names = str(error).partition("available: ")[2].split(", ")
            other = next(item for item in names if item != value)
            after = Experiment(profile="paper", **{where: {name: other}}, **method).resolve().hash  # type: ignore[arg-type]
        except DefenseLibError:
            continue
        assert after != before, f"{name}={other!r}"
        return
    pytest.fail(f"found no other admissible value of {name} than {value!r}")


def others(value: Any) -> Iterator[Any]:
    """Candidates near `value`, of its type; not all need to be admissible."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, value - 1, value * 2)
    elif isinstance(value, float):
        yield from (value / 2, value * 2, value + 0.5, value + 1.0, (value + 1.0) / 2)
    elif isinstance(value, str):
        yield from ("something else", "b")
    elif isinstance(value, tuple):
        yield from (value[:-1], (*value, *(value[-1:] or (1,))))
    else:
        yield from (0.5, 1, "something else")
