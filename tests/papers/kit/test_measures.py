"""What claims on figures are measured by."""

from __future__ import annotations

import math

import numpy as np

from defenselib.experiments.measure.separation import separation
from defenselib.papers.kit.measures import histogram


def test_separation_by_hand():
    assert separation(np.array([3.0, 4.0]), np.array([1.0, 2.0])) == 1.0
    assert separation(np.array([1.0, 3.0]), np.array([2.0])) == 0.5
    assert separation(np.array([2.0]), np.array([2.0])) == 0.5
    assert math.isnan(separation(np.array([]), np.array([2.0])))


def test_separation_is_the_share_of_all_pairs():
    draw = np.random.default_rng(0)
    for _ in range(20):
        poisoned, clean = (draw.integers(0, 6, size=int(n)).astype(float) for n in draw.integers(1, 9, 2))
        pairs = [1.0 if one > two else 0.5 if one == two else 0.0 for one in poisoned for two in clean]
        assert math.isclose(separation(poisoned, clean), np.mean(pairs), abs_tol=1e-12)
        assert math.isclose(separation(poisoned, clean) + separation(clean, poisoned), 1.0)


def test_every_sample_is_in_one_bin():
    edges = np.linspace(0.0, 4.0, 5)
    rows = histogram(np.array([-3.0, 0.5, 1.0, 3.9, 4.0, 99.0]), edges, group="clean")
    assert [(row["low"], row["high"]) for row in rows] == [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0), (3.0, 4.0)]
    assert [row["reproduced"] for row in rows] == [2.0, 1.0, 0.0, 3.0]
    assert {row["group"] for row in rows} == {"clean"}
