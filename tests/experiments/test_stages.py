"""The shared stages that a plan names are those for which the methods ask while they run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from defenselib import attacks, defenses
from defenselib.experiments.shared import stages_of
from defenselib.learning.context import Context, TensorDict
from defenselib.models import build_model

from ..attacks.conftest import random_dataset
from ..attacks.test_every_attack import QUICK
from ..defenses.test_every_defense import KINDS, fit, poisoned_by
from ..defenses.tiny import TINY


class Asked:
    """A cache that keeps nothing, and the first words of the keys that it was asked for."""

    def __init__(self) -> None:
        self.stages: set[str] = set()

    def __call__(self, key: str, make: Callable[[], TensorDict]) -> TensorDict:
        self.stages.add(key.partition(" ")[0])
        return make()


CHOICES: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in defenses.available()]
CHOICES += [("aabl", {"split": "dst-clean"}), ("dst", {"extractor": "ctl"}), ("dst", {"extractor": "s-ctl"})]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "more"), CHOICES)
def test_of_a_defense(name: str, more: dict[str, Any]) -> None:
    asked, settings = Asked(), TINY[name] | more
    fit(name, poisoned_by(KINDS["dirty label"]), settings, cache=asked)
    assert asked.stages == set(stages_of(defenses.create(name, **settings)))


@pytest.mark.slow
@pytest.mark.parametrize("name", attacks.available())
def test_of_an_attack(name: str) -> None:
    asked, made = Asked(), attacks.create(name, **QUICK.get(name, {}))
    target = None if made.all_to_all else 3
    tool = Context(model_factory=lambda: build_model("resnet10", 10, 32, width=8), cache=asked)
    made.prepare(random_dataset(80).train, target, tool)
    assert asked.stages == set(stages_of(made))
