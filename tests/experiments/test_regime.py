"""The curves of "When does each method work?": AUC by counting pairs, the hardest clean samples, steps, a row."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defenselib.experiments.regime import CURVES, SEEDS, Curve, auc, hardest, measured, steps
from defenselib.experiments.result import Result

BY_KEY = {curve.key: curve for curve in CURVES}


def by_pairs(scores: list[float], poisoned: list[bool]) -> float:
    """How often a poisoned sample scores above a clean one; a tie is half a win."""
    high = [score for score, is_poisoned in zip(scores, poisoned, strict=True) if is_poisoned]
    low = [score for score, is_poisoned in zip(scores, poisoned, strict=True) if not is_poisoned]
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in itertools.product(high, low)]
    return sum(wins) / len(wins)


samples = st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=2, max_size=40)


@given(samples)
def test_auc_counts_pairs_and_turns_around(drawn: list[tuple[int, bool]]) -> None:
    scores, poisoned = [float(score) for score, _ in drawn], [flag for _, flag in drawn]
    high, low = (auc(np.array(scores), np.array(poisoned), side) for side in ("high", "low"))
    if all(poisoned) or not any(poisoned):
        assert math.isnan(high) and math.isnan(low)
    else:
        assert high == pytest.approx(by_pairs(scores, poisoned))
        assert high + low == pytest.approx(1)


def test_the_hardest_tenth_is_clean_and_looks_most_like_poison() -> None:
    scores = np.arange(110.0)
    poisoned = np.zeros(110, dtype=bool)
    poisoned[:10] = True  # low, as poison is not where it is "high"
    near = hardest(scores, poisoned, "high")
    assert near[:10].all() and near[100:].all() and near.sum() == 20
    low = hardest(scores, poisoned, "low")
    assert low[:20].all() and low.sum() == 20


def test_a_perfect_rule_and_one_that_turned_around_are_told_apart() -> None:
    poisoned = np.arange(200) < 20

    def row(values: Any) -> dict[str, Any]:
        arrays = {"scores/entropy/1": np.zeros(200), "scores/entropy/10": values, "is_poisoned": np.packbits(poisoned)}
        history = [{"epoch": 0}, {"clean_poisoned": 5}]
        found = SimpleNamespace(arrays=arrays, history=history, metrics={}, acc=61.234, asr=99.0)
        return measured(BY_KEY["vab"], 3, cast(Result, found))

    good = row(np.where(poisoned, 0.0, 1.0))
    assert (good["auc"], good["auc_hardest"], good["trusted_poison"], good["acc"]) == (1.0, 1.0, 25.0, 61.23)
    bad = row(np.where(poisoned, 1.0, 0.0))
    assert (bad["auc"], bad["auc_hardest"]) == (0.0, 0.0)


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.key)
def test_every_curve_names_fields_of_its_method_and_counts_steps(curve: Curve) -> None:
    asked = curve.experiment(curve.values[-1], SEEDS[0])
    defense = asked.resolve().defense
    assert getattr(defense, curve.setting) == curve.values[-1]
    counted = [steps(curve, curve.experiment(value, SEEDS[0])) for value in curve.values]
    if curve.batch_size is None:
        assert counted == [None] * len(counted)
    else:
        size = getattr(defense, curve.batch_size)
        passes = size if curve.batch_size == "iterations" else math.ceil(2000 / size)
        assert counted == [value * passes for value in curve.values]
    assert min(SEEDS) >= 100, "shown results begin at seed 0"
