"""What the book's build trained: the README's first command prints a defense that defends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from defenselib.experiments import Experiment, Result, Store
from defenselib.experiments.drawn import missed

STORE = Path(__file__).parents[2] / "book" / "_store"


def trained(defense: str) -> Result:
    found = Store(STORE).get(Experiment(dataset="shapes", attack="badnets", defense=defense, profile="demo").resolve())
    if found is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("the book is not compiled: make book")
    return found


def test_the_first_command_defends_against_an_attack_that_takes() -> None:
    undefended, defended = trained("none"), trained("asd")
    assert undefended.made_by_current_code() and defended.made_by_current_code()
    assert missed(undefended, undefended) == [] and missed(defended, undefended) == []
