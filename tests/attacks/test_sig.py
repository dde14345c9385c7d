"""SIG against the printed vectors of each paper's variant and exact arithmetic."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from defenselib import attacks
from defenselib.attacks.sig import stripes
from defenselib.errors import InvalidValueError, UnknownNameError

WRAPPED = [0, 18, 14, 249, 236, 249, 14, 18, 0, 238, 242, 7, 20, 7, 242, 238]
ADDED_40 = [128, 164, 156, 112, 88, 112, 156, 164, 128, 91, 99, 143, 168, 143, 99, 91]
ADDED_60 = [128, 183, 170, 105, 68, 105, 170, 183, 128, 72, 85, 150, 188, 150, 85, 72]


def levels(size: int = 32) -> torch.Tensor:
    """One flat image of each grey level."""
    return torch.arange(256, dtype=torch.uint8)[:, None, None, None].expand(256, 3, size, size)


def row_of(out: torch.Tensor, level: int = 128) -> list[int]:
    """The row that all rows and channels of one image are equal to."""
    assert (out == out[:, :1, :1]).all()
    return [int(value) for value in out[level, 0, 0]]


def reference(size: int, delta: float, image_weight: float, pattern_weight: float, wrap: bool) -> np.ndarray:
    """floor(clip(a u + b t)) in float64, (256, size); a result within 1e-7 of a whole number is taken for it."""
    pattern = np.array([delta * math.sin(2 * math.pi * 6 * j / size) for j in range(size)])
    if wrap:
        pattern = np.trunc(np.round(pattern, 9)) % 256
    mixed = np.clip(image_weight * np.arange(256)[:, None] + pattern_weight * pattern, 0, 255)
    return np.where(np.abs(mixed - np.round(mixed)) < 1e-7, np.round(mixed), np.floor(mixed))


def test_stronger_at_test_in_dst() -> None:
    attack = attacks.create("sig", preset="dst_dbr")
    assert row_of(attack(levels())) == ADDED_40 * 2
    assert row_of(attack.trigger(levels())) == ADDED_60 * 2


def test_same_at_test_in_bsd_and_by_default() -> None:
    for attack in (attacks.create("sig"), attacks.create("sig", preset="bsd")):
        assert row_of(attack(levels())) == row_of(attack.trigger(levels())) == ADDED_40 * 2
    # A changed amplitude holds for both as well.
    weak = attacks.create("sig", delta=20)
    assert torch.equal(weak(levels()), weak.trigger(levels()))


def test_wrapped_blend_of_vab() -> None:
    assert stripes(32, 20, 6, wrap=True) == WRAPPED * 2
    attack = attacks.create("sig", preset="vab")
    out = attack(levels())
    assert row_of(out)[:12] == [115, 117, 116, 140, 138, 140, 116, 117, 115, 139, 139, 115]
    u = torch.arange(256)[:, None]
    # (9 u + t) / 10 in whole numbers
    assert torch.equal(out[:, 1, 5].long(), (9 * u + torch.tensor(WRAPPED * 2)) // 10)
    assert torch.equal(attack.trigger(levels()), out)


def test_snippet_with_swapped_weights() -> None:
    attack = attacks.create("sig", delta=20, image_weight=0.2, pattern_weight=0.8)
    assert row_of(attack(levels()))[:5] == [25, 40, 36, 19, 9]


@pytest.mark.parametrize("size", [32, 50])
@pytest.mark.parametrize(
    "hyper",
    [
        {"delta": 40.0}, {"delta": 20.0}, {"delta": 30.0}, {"delta": 255.0}, {"delta": 0.0},
        {"delta": 20.0, "wrap": True, "image_weight": 0.9, "pattern_weight": 0.1},
        {"delta": 60.0, "wrap": True, "image_weight": 0.5, "pattern_weight": 0.5},
        {"delta": 60.0, "image_weight": 0.5, "pattern_weight": 0.5},
        {"delta": 255.0, "image_weight": 0.9999}, {"delta": 60.0, "wrap": True},
        {"delta": 33.3, "image_weight": 0.0, "pattern_weight": 1.0},
    ],
)  # fmt: skip
def test_every_grey_level(size: int, hyper: dict[str, Any]) -> None:
    out = attacks.create("sig", size, **hyper)(levels(size))
    weights = hyper.get("image_weight", 1.0), hyper.get("pattern_weight", 1.0)
    expected = reference(size, hyper["delta"], *weights, hyper.get("wrap", False))
    np.testing.assert_array_equal(out[:, 0, 0].numpy(), expected)
    assert (out == out[:, :1, :1]).all()


@pytest.mark.parametrize("wrap", [True, False])
def test_imagenet_of_vab_in_both_readings(wrap: bool) -> None:
    attack = attacks.create("sig", 224, preset="vab", wrap=wrap)
    some = levels(224)[::51]
    expected = reference(224, 60, 0.5, 0.5, wrap)[::51]
    out = attack(some)
    np.testing.assert_array_equal(out[:, 2, 7].numpy(), expected)
    assert (out == out[:, :1, :1]).all()
    # The signed sine halves the brightness, the wrapped one keeps much of it.
    assert bool(out.float().mean() > 90) == wrap


@pytest.mark.parametrize("delta", [0.0, 7.5, 40.0, 255.0])
def test_zero_crossings_leave_the_image(delta: float) -> None:
    out = attacks.create("sig", delta=delta)(levels())
    for column in (0, 8, 16, 24):
        assert torch.equal(out[..., column], levels()[..., column])


def test_presets() -> None:
    plans = {
        (preset, size): attacks.create("sig", size, preset=preset).plan
        for preset, size in (("bsd", 32), ("vab", 32), ("vab", 224), ("dst_dbr", 32))
    }
    assert {plan.count for plan in plans.values()} == {"exact-target"}
    assert [(plan.rate, plan.target) for plan in plans.values()] == [(0.25, 3), (0.1, 0), (0.5, 0), (0.1, 0)]
    assert attacks.create("sig").plan == plans["bsd", 32]
    imagenet: Any = attacks.create("sig", 224, preset="vab")
    assert (imagenet.delta, imagenet.image_weight, imagenet.pattern_weight, imagenet.wrap) == (60, 0.5, 0.5, True)
    assert imagenet.clean_label


def test_bad_values_are_refused() -> None:
    for hyper, what in (
        ({"delta": 256}, "delta"), ({"delta": float("nan")}, "delta"), ({"delta": 200, "test_factor": 1.5}, "test_"),
        ({"test_factor": -1}, "test_factor"), ({"frequency": 0}, "frequency"), ({"frequency": 17}, "frequency"),
        ({"image_weight": 1.1}, "image_weight"), ({"image_weight": 0.12345}, "four decimals"),
        ({"pattern_weight": -0.1}, "pattern_weight"),
    ):  # fmt: skip
        with pytest.raises(InvalidValueError, match=what):
            attacks.create("sig", **hyper)
    with pytest.raises(UnknownNameError, match="did you mean 'dst_dbr'"):
        attacks.create("sig", preset="dst_dbrr")
