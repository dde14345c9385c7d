"""At the profile `demo` attacks take and defenses defend: minutes a cell, so mostly nightly. Tested is what the
committed table says of seed 0: a pair that met its goals must meet them again. What is open stands on the page with it.

`pytest -m demo tests/defenses/test_demo.py` runs them all. The README's first pair is part of `make test` too: the
book's build trains it, and tests/book looks at what came out.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from defenselib.experiments import Experiment, Result, Store, run
from defenselib.experiments.drawn import TABLE

# The README's first command.
FIRST = ("asd", "badnets")
# What an undefended model reaches at the least.
UNDEFENDED_ACC = 95.0
TAKES = {"badnets": 95.0}
TAKES_AT_LEAST = 85.0


def held() -> list[tuple[str, str]]:
    """The pairs (defense, attack) that met their goals with seed 0."""
    with (Path(__file__).parents[2] / TABLE).open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["seed"] == "0" and row["gates"] == "hold"]
    return [(row["defense"], row["attack"]) for row in rows]


ATTACKS = [attack for defense, attack in held() if defense == "none"]
DEFENDED = [pair for pair in held() if pair[0] != "none"]


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
    assert undefended.acc >= UNDEFENDED_ACC and undefended.asr >= TAKES.get(attack, TAKES_AT_LEAST)
    assert min(undefended.per_class) > 0


def test_the_table_has_what_the_profile_is_for() -> None:
    assert set(ATTACKS) == {"badnets", "blend", "trojan", "sig", "wanet"}
    assert FIRST in DEFENDED and {"asd", "bsd", "vab", "dst", "dbr", "abl"} <= {defense for defense, _ in DEFENDED}


@pytest.mark.demo
@pytest.mark.parametrize(("defense", "attack"), DEFENDED)
def test_the_defense_defends(defense: str, attack: str, store: Store) -> None:
    defended = result_of(defense, attack, store)
    assert defended.asr <= 5.0
    # A model that never names the target class has no attack success either.
    assert defended.per_class[defended.experiment["target"]] >= 80.0
    assert min(defended.per_class) > 0, f"dead classes: {defended.per_class}"
    assert defended.acc >= result_of("none", attack, store).acc - 5.0
