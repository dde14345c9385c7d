"""Whether two stores hold the same of a cell, bit for bit: what is compared where a run was disturbed or moved."""

from __future__ import annotations

import json

import numpy as np
import torch

from defenselib.experiments import Store

# What may differ from run to run: when, how long, where, and with how much memory.
OF_THE_RUN = {
    "seconds",
    "stages",
    "cpu_seconds",
    "observer_seconds",
    "created",
    "peak_memory_mb",
    "machine",
    "versions",
}


def assert_same(one: Store, other: Store, key: str) -> None:
    """The numbers, histories and arrays of a result, and the weights of its model."""
    first, second = one.get(key), other.get(key)
    assert first is not None and second is not None, f"no result {key}"
    left, right = (json.loads(result.to_json()) for result in (first, second))
    assert left.keys() == right.keys()
    for name in left.keys() - OF_THE_RUN:
        assert left[name] == right[name], f"{name} of {first.stem}"
    assert first.arrays.keys() == second.arrays.keys() and len(first.arrays) > 0
    for name in first.arrays:
        # Not a number is the same as itself here.
        assert np.array_equal(first.arrays[name], second.arrays[name], equal_nan=_is_float(first.arrays[name])), name
    weights, expected = one.load_model(key), other.load_model(key)
    assert weights is not None and expected is not None and weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected), f"weights of {first.stem}"


def _is_float(array: np.ndarray) -> bool:
    return array.dtype.kind == "f"
