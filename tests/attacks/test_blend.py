"""Blend against exact rational arithmetic, the printed values, and its pictures."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from defenselib import attacks
from defenselib.attacks import kitty
from defenselib.attacks.blend import _mix, picture
from defenselib.errors import DataError, InvalidValueError, UnknownNameError

STRIP = [0, 14, 19, 13, 255, 241, 237, 244, 2, 15, 19, 11, 253, 240, 237, 246]
STRIP += [4, 17, 19, 9, 251, 239, 238, 248, 6, 18, 18, 7, 249, 238, 238, 250]


def flat_picture(folder: Path, level: int, size: int = 4) -> Path:
    path = folder / f"level{level}.png"
    Image.fromarray(np.full((size, size, 3), level, np.uint8)).save(path)
    return path


@pytest.mark.parametrize(
    ("u", "t", "alpha", "expected"),
    [(100, 200, 0.1, 110), (101, 200, 0.1, 110), (255, 0, 0.1, 229), (0, 255, 0.2, 51), (37, 201, 0.2, 69)],
)
def test_printed_values(tmp_path: Path, u: int, t: int, alpha: float, expected: int) -> None:
    attack = attacks.create("blend", 4, picture=str(flat_picture(tmp_path, t)), alpha=alpha)
    images = torch.full((1, 3, 4, 4), u, dtype=torch.uint8)
    assert (attack(images) == expected).all()


@pytest.mark.parametrize("alpha", [0.0, 0.0001, 0.05, 0.1, 0.125, 0.2, 0.3333, 0.5, 0.9999, 1.0])
@pytest.mark.parametrize("name", ["noise", "strip-imagenet"])
def test_exact_for_every_grey_level(name: str, alpha: float) -> None:
    size = 16
    attack = attacks.create("blend", size, picture=name, alpha=alpha)
    t = picture(name, size)[0]
    levels = torch.arange(256, dtype=torch.uint8)[:, None, None, None].expand(256, 3, size, size)
    got = attack(levels)[:, 0].numpy()
    share = Fraction(str(alpha))
    for row, column in ((0, 0), (0, 3), (5, 8), (15, 15)):
        value = Fraction(float(t[row, column]))
        expected = [min(255, max(0, math.floor((1 - share) * u + share * value))) for u in range(256)]
        assert got[:, row, column].tolist() == expected


def test_reference_in_floats() -> None:
    """floor((1-a) x + a t) in float64; a whole-number result may come out one level lower there, never otherwise."""
    attack = attacks.create("blend-kitty", preset="dst_dbr")
    stream = torch.Generator().manual_seed(3)
    images = torch.randint(0, 256, (8, 3, 32, 32), generator=stream).to(torch.uint8)
    mixed = 0.8 * images.numpy().astype(np.float64) + 0.2 * kitty.draw(32).numpy()
    whole = np.abs(mixed - np.round(mixed)) < 1e-9
    expected = np.where(whole, np.round(mixed), np.floor(mixed))
    np.testing.assert_array_equal(attack(images).numpy(), expected)


def test_linear_before_the_floor() -> None:
    attack = attacks.create("blend-noise")
    low, high = (torch.full((1, 3, 32, 32), level, dtype=torch.uint8) for level in (50, 150))
    assert torch.equal(attack(high).int() - attack(low).int(), torch.full((1, 3, 32, 32), 90, dtype=torch.int32))


def test_strip_of_cifar() -> None:
    attack = attacks.create("blend-strip")
    assert picture("strip-cifar", 32)[1, 7].tolist() == STRIP
    grey = torch.full((1, 3, 32, 32), 128, dtype=torch.uint8)
    out = attack(grey)
    assert out[0, 2, 9, :12].tolist() == [102, 105, 106, 105, 153, 150, 149, 151, 102, 105, 106, 104]
    assert (out == out[:1, :1, :1]).all()


def test_strip_of_imagenet_is_signed() -> None:
    attack = attacks.create("blend-strip", 224)
    assert attack.picture == "strip-imagenet"  # type: ignore[attr-defined]
    out = attack(torch.full((1, 3, 224, 224), 128, dtype=torch.uint8))
    assert (int(out.min()), int(out.max())) == (98, 106)
    dark = attack(torch.zeros(1, 3, 224, 224, dtype=torch.uint8))
    assert (int(dark.min()), int(dark.max())) == (0, 4)


def test_cat_is_a_stand_in_of_the_same_statistics() -> None:
    cat = kitty.draw(32).double()
    assert np.allclose(cat.mean((1, 2)), (213, 191, 199), atol=6)
    assert np.allclose(cat.std((1, 2)), (64, 92, 77), atol=6)
    assert kitty.draw(32).dtype == torch.uint8
    assert kitty.draw(224).shape == (3, 224, 224)
    small = torch.nn.functional.interpolate(kitty.draw(224)[None].double(), 32, mode="area")[0]
    assert (small - cat).abs().max() < 8


def test_noise_follows_the_seed() -> None:
    first, again, other = (picture("noise", 64, seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert abs(float(first.mean()) - 127.5) < 3
    assert abs(float(first.std()) - 73.9) < 2


def test_blend_is_the_cat_and_noise_on_large_images() -> None:
    grey = torch.full((2, 3, 32, 32), 90, dtype=torch.uint8)
    assert torch.equal(attacks.create("blend")(grey), attacks.create("blend-kitty")(grey))
    chosen = {
        (preset, size): attacks.create("blend", size, preset=preset).picture  # type: ignore[attr-defined]
        for preset, size in (("asd", 224), ("aabl", 64), ("aabl", 32), ("dst_dbr", 224))
    }
    assert list(chosen.values()) == ["noise", "noise", "kitty", "kitty"]
    assert attacks.create("blend-kitty", preset="dst_dbr").alpha == 0.2  # type: ignore[attr-defined]
    assert attacks.create("blend-noise").plan == attacks.create("badnets").plan


def test_own_picture_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = flat_picture(tmp_path, 200)
    attack = attacks.create("blend", 8, picture=path, alpha=0.5)
    black = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    assert (attack(black) == 100).all()
    Image.fromarray(np.full((16, 9, 3), 50, np.uint8)).save(path)
    assert (attack(black) == 25).all()


def test_large_batches_go_through_in_pieces() -> None:
    attack = attacks.create("blend")
    images = torch.arange(256, dtype=torch.uint8).repeat(3)[:700, None, None, None].expand(700, 3, 32, 32)
    assert torch.equal(attack(images)[512:], attack(images[512:].clone()))


def test_bad_pictures_and_alphas_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing\.png"):
        attacks.create("blend", picture=str(tmp_path / "missing.png"))
    with pytest.raises(UnknownNameError, match=r"unknown picture 'kity'; did you mean 'kitty'\?"):
        attacks.create("blend", picture="kity")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"broken\.png"):
        attacks.create("blend", picture=str(broken))(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    for alpha in (-0.1, 1.5, float("nan"), 0.12345):
        with pytest.raises(InvalidValueError, match="alpha"):
            attacks.create("blend", alpha=alpha)


def test_pictures_are_made_once() -> None:
    attack = attacks.create("blend")
    attack(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    made = _mix.cache_info().misses
    attack(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    assert _mix.cache_info().misses == made
