"""Trojan against the trigger's published values, added one pixel at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from defenselib import attacks
from defenselib.errors import InvalidValueError, UnknownNameError

# As published, with the fractions; rows 25 to 27 by columns 25 to 27.
TRIGGER = [
    [[207.3534, 175.3556, 29.3624], [79.3681, 137.3744, 248.3602], [131.3608, 6.3600, 246.3530]],
    [[131.3543, 243.3556, 232.3616], [8.3677, 0.0, 113.3613], [40.3641, 145.3603, 250.3535]],
    [[181.3451, 120.3532, 179.3607], [126.3631, 32.3547, 146.3603], [4.3619, 61.3608, 246.3511]],
]


def reference(image: np.ndarray, start: int, scale: int) -> np.ndarray:
    """One image (3, H, W): trunc(u + T) mod 256 on the patch."""
    out = image.copy()
    for channel in range(3):
        for row in range(3 * scale):
            for column in range(3 * scale):
                u = int(image[channel, start + row, start + column])
                total = u + TRIGGER[channel][row // scale][column // scale]
                out[channel, start + row, start + column] = math.trunc(total) % 256
    return out


def levels(size: int) -> torch.Tensor:
    """One flat image of each grey level."""
    return torch.arange(256, dtype=torch.uint8)[:, None, None, None].expand(256, 3, size, size)


@pytest.mark.parametrize(("size", "preset", "start", "scale"), [(32, "dst_dbr", 25, 1), (64, "aabl", 50, 2)])
def test_every_grey_level(size: int, preset: str, start: int, scale: int) -> None:
    out = attacks.create("trojan", size, preset=preset)(levels(size)).numpy()
    expected = np.stack([reference(image, start, scale) for image in levels(size).numpy()])
    np.testing.assert_array_equal(out, expected)


def test_it_wraps_and_does_not_saturate() -> None:
    attack = attacks.create("trojan")
    out = attack(levels(32))
    assert int(out[100, 0, 25, 25]) == 51
    np.testing.assert_array_equal(out[0, :, 25:28, 25:28].numpy(), np.floor(TRIGGER))
    np.testing.assert_array_equal(out[255, :, 25:28, 25:28].numpy(), (np.floor(TRIGGER) + 255) % 256)


def test_nine_pixels_differ_whatever_the_image() -> None:
    images = torch.randint(0, 256, (4, 3, 32, 32), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    changed = attacks.create("trojan")(images) != images
    assert changed.any(1).flatten(1).sum(1).tolist() == [9] * 4
    assert changed.flatten(1).sum(1).tolist() == [26] * 4  # green of the middle pixel gets 0 added


def test_replaced_values_are_one_fixed_patch() -> None:
    out = attacks.create("trojan", combine="replace")(levels(32))
    np.testing.assert_array_equal(out[:, :, 25:28, 25:28].numpy(), np.floor(TRIGGER)[None].repeat(256, 0))
    out[:, :, 25:28, 25:28] = levels(32)[:, :, 25:28, 25:28]
    assert torch.equal(out, levels(32))


def test_presets() -> None:
    assert attacks.create("trojan").plan == attacks.create("trojan", preset="aabl").plan
    rules = {name: attacks.create("trojan", preset=name).plan for name in ("aabl", "dst_dbr")}
    assert {(plan.rate, plan.target) for plan in rules.values()} == {(0.1, 0)}
    assert [plan.count for plan in rules.values()] == ["exact-all", "exact-nontarget"]
    grey = torch.full((1, 3, 224, 224), 9, dtype=torch.uint8)
    rows = (attacks.create("trojan", 224)(grey) != grey)[0].any(0).any(1).nonzero().flatten()
    assert (int(rows[0]), int(rows[-1])) == (175, 195)


def test_patches_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidValueError, match=r"scale is 5, .* 32x32 pixels; it may be at most 4"):
        attacks.create("trojan", scale=5)
    with pytest.raises(InvalidValueError, match="scale is 0"):
        attacks.create("trojan", scale=0)
    with pytest.raises(UnknownNameError, match=r"combine 'replaced'.*did you mean 'replace'"):
        attacks.create("trojan", combine="replaced")
