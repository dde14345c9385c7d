"""At the profile `demo` attacks take and training-time defenses defend: minutes a cell, so mostly nightly. Tested are
the pairs that have been measured; what is open, and why, stands in the profile.

`pytest -m demo tests/defenses/test_demo.py` runs them all; one pair is part of `make test`.
"""

from __future__ import annotations

import pytest

from defenselib.experiments import Experiment, Result, Store, run

ATTACKS = ("badnets", "blend")
DEFENSES = ("asd", "bsd", "vab", "dst", "dbr", "abl")
# The README's first command.
FIRST = ("asd", "badnets")
# What an undefended model reaches at the least; see the book's table of `demo`.
UNDEFENDED_ACC = 95.0
TAKES = {"badnets": 95.0, "blend": 85.0}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("demo"))


def result_of(defense: str, attack: str, store: Store) -> Result:
    cell = Experiment(dataset="shapes", attack=attack, defense=defense, profile="demo")
    return run(cell, store, device="cpu", progress=False)


@pytest.mark.demo
@pytest.mark.parametrize("attack", ATTACKS)
def test_the_attack_takes(attack: str, store: Store) -> None:
    undefended = result_of("none", attack, store)
    assert undefended.acc >= UNDEFENDED_ACC and undefended.asr >= TAKES[attack]
    assert min(undefended.per_class) > 0


@pytest.mark.parametrize(
    ("defense", "attack"),
    [
        pytest.param(defense, attack, marks=pytest.mark.slow if (defense, attack) == FIRST else pytest.mark.demo)
        for attack in ("badnets",)
        for defense in DEFENSES
    ],
)
def test_the_defense_defends(defense: str, attack: str, store: Store) -> None:
    defended = result_of(defense, attack, store)
    assert defended.asr <= 5.0
    # A model that never names the target class has no attack success either.
    assert defended.per_class[defended.experiment["target"]] >= 80.0
    assert min(defended.per_class) > 0, f"dead classes: {defended.per_class}"
    assert defended.acc >= UNDEFENDED_ACC - 5.0
    if (defense, attack) != FIRST:
        assert defended.acc >= result_of("none", attack, store).acc - 5.0
