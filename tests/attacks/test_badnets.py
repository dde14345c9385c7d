"""Exact pixels of every patch, against references written from the papers' files and code."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from defenselib import attacks
from defenselib.attacks.badnets import PATTERNS
from defenselib.errors import InvalidValueError, UnknownNameError

DBD2 = {(4, 4): (180, 249, 112), (4, 5): (155, 50, 126), (5, 4): (234, 82, 68), (5, 5): (187, 201, 219)}
GRID3 = ((0, 0, 255), (0, 255, 0), (255, 0, 255))
STRIPES = {  # row -> first and last column, colour
    **{row: (15, 22, (2, 160, 56)) for row in range(0, 7)},
    **{row: (4, 27, (2, 160, 56)) for row in range(7, 11)},
    **{row: (2, 26, (255, 246, 0)) for row in range(12, 16)},
    **{row: (2, 25, (235, 135, 27)) for row in range(16, 20)},
    **{row: (3, 29, (218, 37, 28)) for row in range(20, 24)},
    **{row: (4, 29, (91, 25, 115)) for row in range(24, 28)},
    **{row: (6, 27, (0, 90, 158)) for row in range(28, 32)},
}


def reference(pattern: str, image: np.ndarray) -> np.ndarray:
    """One image (3, H, W) with the patch, pixel by pixel."""
    out = image.copy()
    side = image.shape[1]
    if pattern == "dbd2":
        for (row, column), colour in DBD2.items():
            out[:, row, column] = colour
    elif pattern == "dbd4":
        for row in range(4, 8):
            for column in range(4, 8):
                out[:, row, column] = DBD2[(4 + (row - 4) // 2, 4 + (column - 4) // 2)]
    elif pattern == "grid3":
        for row in range(3):
            for column in range(3):
                out[:, side - 3 + row, side - 3 + column] = GRID3[row][column]
    elif pattern == "grid6":
        for row in range(6):
            for column in range(6):
                out[:, side - 6 + row, side - 6 + column] = GRID3[row // 2][column // 2]
    elif pattern == "apple32":
        for row, (left, right, colour) in STRIPES.items():
            for column in range(left, right + 1):
                out[:, row, column] = colour
    else:
        low, high = {
            ("square3", 32): (28, 30), ("white3", 32): (29, 31), ("white3", 64): (58, 63),
            ("square22", 224): (202, 223), ("square22", 32): (29, 31),
        }[pattern, side]  # fmt: skip
        out[:, low : high + 1, low : high + 1] = 255
    return out


def images_of(size: int, count: int = 3) -> torch.Tensor:
    stream = torch.Generator().manual_seed(size)
    return torch.randint(0, 256, (count, 3, size, size), generator=stream).to(torch.uint8)


@pytest.mark.parametrize(
    ("pattern", "size"),
    [("dbd2", 32), ("dbd2", 64), ("dbd4", 32), ("grid3", 32), ("grid6", 64), ("square3", 32), ("white3", 32),
     ("white3", 64), ("square22", 32), ("square22", 224)],
)  # fmt: skip
def test_pixels(pattern: str, size: int) -> None:
    images = images_of(size)
    out = attacks.create("badnets", size, pattern=pattern)(images)
    expected = np.stack([reference(pattern, image) for image in images.numpy()])
    np.testing.assert_array_equal(out.numpy(), expected)


def test_apple() -> None:
    images = images_of(64, 2)
    out = attacks.create("badnets", 64, pattern="apple32")(images).numpy()
    expected = np.stack([reference("apple32", image) for image in images.numpy()])
    rows = [row for row in range(64) if row != 11]  # row 11 is between two stripes, its colour is ours
    np.testing.assert_array_equal(out[:, :, rows], expected[:, :, rows])
    changed = (out != images.numpy()).any(axis=(0, 1))
    assert changed[:32, 2:30].sum() == changed.sum()
    assert abs(int(changed.sum()) - 604) < 80  # the original covers 604 pixels


@pytest.mark.parametrize(
    ("pattern", "pixels"), [("dbd2", 4), ("dbd4", 16), ("grid3", 9), ("square3", 9), ("white3", 9)]
)
def test_pixels_changed_on_grey(pattern: str, pixels: int) -> None:
    grey = torch.full((1, 3, 32, 32), 128, dtype=torch.uint8)
    attack = attacks.create("badnets", pattern=pattern)
    out = attack(grey)
    assert int((out != grey).all(1).sum()) == int((out != grey).any(1).sum()) == pixels
    assert torch.equal(attack(out), out)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_idempotent(pattern: str) -> None:
    attack = attacks.create("badnets", 64, pattern=pattern)
    once = attack(images_of(64))
    assert torch.equal(attack(once), once)


@pytest.mark.parametrize(
    ("name", "preset", "size", "pattern"),
    [("badnets", None, 32, "dbd2"), ("badnets", "asd", 224, "apple32"), ("badnets", "vab", 32, "dbd2"),
     ("badnets", "vab", 224, "apple32"), ("badnets", "bsd", 32, "dbd2"), ("badnets", "dst_dbr", 32, "grid3"),
     ("badnets", "dst_dbr", 224, "square22"), ("badnets", "aabl", 32, "grid3"), ("badnets", "aabl", 64, "grid6"),
     ("badnets-all2all", "dst_dbr", 32, "square3"), ("badnets-all2all", "bsd", 32, "dbd2"), ("none", None, 32, "dbd2")],
)  # fmt: skip
def test_presets_choose_the_pattern(name: str, preset: str | None, size: int, pattern: str) -> None:
    assert attacks.create(name, size, preset=preset).pattern == pattern  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "preset", "plan"),
    [("badnets", None, (0.05, 3, "bernoulli-nontarget")), ("badnets", "bsd", (0.05, 3, "bernoulli-nontarget")),
     ("badnets", "vab", (0.1, 0, "exact-all")), ("badnets", "aabl", (0.1, 0, "exact-all")),
     ("badnets", "dst_dbr", (0.1, 0, "exact-nontarget")), ("badnets-all2all", "dst_dbr", (0.1, None, "exact-all")),
     ("badnets-all2all", None, (0.05, None, "exact-all")), ("none", None, (0.0, 3, "bernoulli-nontarget"))],
)  # fmt: skip
def test_presets_choose_the_plan(name: str, preset: str | None, plan: tuple[float, int | None, str]) -> None:
    made = attacks.create(name, preset=preset).plan
    assert (made.rate, made.target, made.count) == plan


def test_bad_patterns_are_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown pattern 'grid'; did you mean 'grid[36]'\?"):
        attacks.create("badnets", pattern="grid")
    with pytest.raises(InvalidValueError, match="does not fit into an image of 28x28"):
        attacks.create("badnets", 28, pattern="apple32")
    with pytest.raises(InvalidValueError, match="does not fit"):
        attacks.create("badnets", 5, pattern="dbd2")


def test_last_class_moves_to_the_first() -> None:
    attack = attacks.create("badnets-all2all")
    assert attack.relabel(torch.tensor([0, 8, 9]), None, 10).tolist() == [1, 9, 0]
