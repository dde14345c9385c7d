"""The stages that are named before the work, shared ones and those to stop after, are those that methods ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from defenselib import attacks, defenses
from defenselib.experiments.shared import stages_of
from defenselib.experiments.stops import RULES, SHARED
from defenselib.learning.context import Context, TensorDict
from defenselib.models import build_model

from ..attacks.conftest import random_dataset
from ..attacks.test_every_attack import QUICK
from ..defenses.test_every_defense import KINDS, backdoored, fit, poisoned_by
from ..defenses.tiny import TINY


class Asked:
    """A cache that keeps nothing, and the first words of the keys that it was asked for."""

    def __init__(self) -> None:
        self.stages: set[str] = set()
        self.making = False

    def __call__(self, key: str, make: Callable[[], TensorDict]) -> TensorDict:
        self.stages.add(key.partition(" ")[0])
        self.making = True
        try:
            return make()
        finally:
            self.making = False


CHOICES: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in defenses.available()]
CHOICES += [("aabl", {"split": "dst-clean"}), ("dst", {"extractor": "ctl"}), ("dst", {"extractor": "s-ctl"})]


OTHERWISE: list[tuple[str, dict[str, Any]]] = [
    ("aabl", {"training": "naive"}),
    ("asd", {"seed_source": "shapes", "transfer_epochs": 1}),
    ("bsd", {"all_to_all": True, "initial_pool": "union"}),
    ("vab", {"warmup": "automatic", "automatic_epochs": 2}),
    ("vab", {"semi_supervised": False}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "more"), CHOICES + OTHERWISE)
def test_of_a_defense(name: str, more: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    asked, settings, poisoned = Asked(), TINY[name] | more, poisoned_by(KINDS["dirty label"])
    backdoored(lambda: Context(model_factory=lambda: build_model("resnet10", 10, 32, width=8)))  # before it is watched
    ran: dict[str, int] = {}
    within: set[str] = set()
    epochs = Context.epochs

    def watched(self: Context, stage: str, n: int, **state: Any) -> Iterator[int]:
        if "model" in state and n:
            ran[stage] = n
            within.update({stage} if asked.making else ())
        return epochs(self, stage, n, **state)

    monkeypatch.setattr(Context, "epochs", watched)
    fit(name, poisoned, settings, cache=asked)
    defense = defenses.create(name, **settings)
    assert asked.stages == set(stages_of(defense))
    assert list(RULES[name](defense, 10).items()) == list(ran.items()) and within == set(ran) & set(SHARED)


@pytest.mark.slow
@pytest.mark.parametrize("name", attacks.available())
def test_of_an_attack(name: str) -> None:
    asked, made = Asked(), attacks.create(name, **QUICK.get(name, {}))
    target = None if made.all_to_all else 3
    tool = Context(model_factory=lambda: build_model("resnet10", 10, 32, width=8), cache=asked)
    made.prepare(random_dataset(80).train, target, tool)
    assert asked.stages == set(stages_of(made))
