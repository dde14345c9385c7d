"""What claims on figures are measured by."""

from __future__ import annotations

import math

import numpy as np

from defenselib.experiments.measure.separation import separation


def test_separation_by_hand():
    assert separation(np.array([3.0, 4.0]), np.array([1.0, 2.0])) == 1.0
    assert separation(np.array([1.0, 3.0]), np.array([2.0])) == 0.5
    assert separation(np.array([2.0]), np.array([2.0])) == 0.5
    assert math.isnan(separation(np.array([]), np.array([2.0])))
