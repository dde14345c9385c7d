"""Refool against loops over pixels written from the formulas, limits where the outcome is known, and its draws."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from defenselib import attacks
from defenselib.attacks import optics
from defenselib.attacks.base import uniform
from defenselib.attacks.refool import Refool
from defenselib.data.types import ImageSet
from defenselib.errors import DataError, InvalidValueError, NotPreparedError, UnknownNameError
from defenselib.learning.context import Context
from defenselib.models import build_model

from .conftest import images_of

SIDE = 20
Floats = NDArray[np.float64]


def of(value: float, n: int = 2) -> Tensor:
    return torch.full((n,), value, dtype=torch.float64)


def assert_floor_of(expected: Floats, got: Tensor) -> None:
    """`got` is floor(255 `expected`), cut off; a value within rounding errors of a whole number may go either way."""
    levels = 255 * np.clip(expected, 0, 1)
    close = np.abs(levels - np.round(levels)) < 1e-8
    difference = got.numpy().astype(int) - np.floor(levels).astype(int)
    assert (difference[~close] == 0).all()
    assert np.abs(difference).max() <= 1


def ghost_by_loops(x: Floats, photo: Floats, a: float, weight: float, dy: int, dx: int) -> Floats:
    b, r = x**2.2, photo**2.2
    _, height, width = r.shape
    crop = np.empty((3, height - dy, width - dx))
    for i in range(dy, height):
        for j in range(dx, width):
            crop[:, i - dy, j - dx] = weight * r[:, i, j] + (1 - weight) * r[:, i - dy, j - dx]
    return (a * b + (1 - a) * resized(crop, height, width)) ** (1 / 2.2)


def resized(picture: Floats, height: int, width: int) -> Floats:
    """Bilinear, pixel centres at half-integers, edges repeated."""

    def neighbours(at: int, old: int, new: int) -> tuple[int, int, float]:
        source = min(max((at + 0.5) * old / new - 0.5, 0.0), old - 1.0)
        low = math.floor(source)
        return low, min(low + 1, old - 1), source - low

    out = np.empty((3, height, width))
    for i in range(height):
        top, bottom, down = neighbours(i, picture.shape[1], height)
        for j in range(width):
            left, right, across = neighbours(j, picture.shape[2], width)
            upper = (1 - across) * picture[:, top, left] + across * picture[:, top, right]
            lower = (1 - across) * picture[:, bottom, left] + across * picture[:, bottom, right]
            out[:, i, j] = (1 - down) * upper + down * lower
    return out


def out_of_focus_by_loops(x: Floats, photo: Floats, a: float, sigma: float, attenuation: float) -> Floats:
    b, r = x**2.2, photo**2.2
    _, height, width = r.shape
    reach = math.ceil(2 * sigma)
    taps = np.array([math.exp(-(k**2) / (2 * sigma**2)) for k in range(-reach, reach + 1)])
    taps /= taps.sum()
    padded = np.pad(r, ((0, 0), (reach, reach), (reach, reach)), mode="reflect")
    q = np.empty_like(r)
    for i in range(height):
        for j in range(width):
            patch = padded[:, i : i + len(taps), j : j + len(taps)]
            q[:, i, j] = (patch * np.outer(taps, taps)).sum((1, 2))
    for channel in range(3):
        total = q[channel] + b[channel]
        bright = [value for value in total.flat if value > 1]
        mean = max(1.0, sum(bright) / len(bright)) if bright else 1.0
        q[channel] = np.clip(q[channel] - (mean - 1) * attenuation, 0, 1)
    half = 3.5 / height
    cdf = [0.5 * (1 + math.erf(z / math.sqrt(2))) for z in np.linspace(-3 - half, 3 + half, height + 1)]
    step = np.diff(cdf)
    window = np.sqrt(np.outer(step, step))
    return (a * b + q * (window / window.max()) * (1 - a / 2)) ** (1 / 2.2)


def in_focus_by_loops(x: Floats, photo: Floats) -> Floats:
    weight = x.mean() / (x.mean() + photo.mean())
    return weight * x + (1 - weight) * photo


def pair(photo_level: float = 1.0, side: int = SIDE) -> tuple[Tensor, Tensor]:
    return images_of(2, side, 1), (images_of(2, side, 2) * photo_level).to(torch.uint8)


def scaled(images: Tensor) -> Floats:
    return images.numpy().astype(np.float64) / 255


@pytest.mark.parametrize(("a", "weight", "dy", "dx"), [(0.7, 0.3, 3, 8), (0.55, 0.85, 5, 4), (0.4, 0.6, 8, 3)])
def test_ghost(a: float, weight: float, dy: int, dx: int) -> None:
    x, photo = pair()
    got = optics.ghost(x, photo, of(a), of(weight), torch.tensor([dy, dx]), torch.tensor([dx, dy]))
    for i, (down, right) in enumerate([(dy, dx), (dx, dy)]):
        assert_floor_of(ghost_by_loops(scaled(x[i]), scaled(photo[i]), a, weight, down, right), got[i])


@pytest.mark.parametrize(("a", "sigma"), [(0.95, 1.0), (0.6, 2.3), (0.55, 4.99)])
@pytest.mark.parametrize("level", [0.1, 1.0])
def test_out_of_focus(a: float, sigma: float, level: float) -> None:
    x, photo = pair(level)
    got = optics.out_of_focus(x, photo, of(a), of(sigma), of(1.1))
    for i in range(2):
        assert_floor_of(out_of_focus_by_loops(scaled(x[i]), scaled(photo[i]), a, sigma, 1.1), got[i])


def test_in_focus() -> None:
    x, photo = pair(0.4)
    got = optics.in_focus(x, photo)
    for i in range(2):
        assert_floor_of(in_focus_by_loops(scaled(x[i]), scaled(photo[i])), got[i])
    black = torch.zeros_like(x)
    assert not optics.in_focus(black, black).any()
    assert torch.equal(optics.in_focus(x, x), x)


def test_a_black_photo_only_darkens() -> None:
    x, _ = pair()
    black, a = torch.zeros_like(x), 0.7
    expected = scaled(x) * a ** (1 / 2.2)
    shift = torch.tensor([3, 8])
    assert_floor_of(expected, optics.ghost(x, black, of(a), of(0.3), shift, shift))
    assert_floor_of(expected, optics.out_of_focus(x, black, of(a), of(2.0), of(1.1)))
    assert torch.equal(optics.in_focus(x, black), x)


def test_an_image_of_full_weight_stays_as_it_is() -> None:
    levels = torch.arange(256).to(torch.uint8).expand(2, 3, 256, 256)
    _, photo = pair(side=256)
    shift = torch.tensor([3, 8])
    assert torch.equal(optics.ghost(levels, photo, of(1.0), of(0.3), shift, shift), levels)


def test_a_ghost_without_shift_is_the_photo() -> None:
    x, photo = pair()
    none = torch.tensor([0, 0])
    loss = photo.int() - optics.ghost(x, photo, of(0.0), of(0.3), none, none).int()
    assert set(loss.unique().tolist()) <= {0, 1}  # 0.3 r + 0.7 r may come out a rounding error below r


def test_a_blur_keeps_an_even_photo() -> None:
    black, even = torch.zeros(1, 3, 64, 64, dtype=torch.uint8), torch.full((1, 3, 64, 64), 100, dtype=torch.uint8)
    got = optics.out_of_focus(black, even, of(0.0, 1), of(3.7, 1), of(1.1, 1))[0, 0]
    for mirrored in (got.flip(0), got.mT):
        assert (got.int() - mirrored.int()).abs().max() <= 1
    assert int(got.max()) in (99, 100)  # the window is 1 in the middle; the sum of the taps is 1 up to rounding


def test_window() -> None:
    window = optics.window(32, torch.device("cpu"))
    assert window[0, 0].item() == pytest.approx(0.0109, abs=5e-5)
    assert window[0, 15].item() == pytest.approx(0.104, abs=5e-4)
    assert window[15, 16].item() == window.max().item() == 1


@pytest.fixture
def attack() -> Refool:
    return original(3)


def original(seed: int) -> Refool:
    """At the strength of the original code, which differs from image to image."""
    made = attacks.create("refool", SIDE, seed=seed, weakest=0.05, strongest=0.45)
    assert isinstance(made, Refool)
    return made.untrained()


def test_every_image_gets_what_was_drawn_for_it(attack: Refool) -> None:
    images, index = images_of(24, SIDE), torch.arange(100, 124)
    photos = attack.ready()["photos"]
    for stream, out in (("train", attack(images, index)), ("test", attack.trigger(images, index))):
        draws = attack.draw(index, stream, len(photos))
        assert set(draws.kind.tolist()) == {0, 1, 2}
        for i in range(24):
            d = [value[i].item() for value in draws]
            x, photo = scaled(images[i]), scaled(photos[int(d[1])])
            expected = (
                ghost_by_loops(x, photo, d[2], d[3], int(d[4]), int(d[5]))
                if d[0] == 0
                else out_of_focus_by_loops(x, photo, d[2], d[6], d[7])
                if d[0] == 1
                else in_focus_by_loops(x, photo)
            )
            assert_floor_of(expected, out[i])


def test_draws_have_the_ranges_of_the_papers(attack: Refool) -> None:
    index = torch.arange(30000)
    draws = attack.draw(index, "train", 200)
    for values, low, high in (
        (draws.a, 0.55, 0.95),
        (draws.sigma, 1, 5),
        (draws.darkening, 1.08, 1.18),
        ((draws.weight - 0.5).abs(), 0.0, 0.35),
    ):
        assert low < values.min().item() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < values.max().item() < high
        assert values.mean().item() == pytest.approx((low + high) / 2, abs=0.01 * (high - low))
    for whole, choices in ((draws.kind, range(3)), (draws.down, range(3, 9)), (draws.photo, range(200))):
        counts = torch.bincount(whole, minlength=choices.stop)[choices.start :]
        assert len(counts) == len(choices)
        expected = len(index) / len(choices)
        chi = ((counts - expected) ** 2 / expected).sum().item()
        assert chi < len(choices) + 5 * math.sqrt(2 * len(choices))
    together = torch.stack([values.double() for values in draws]).corrcoef()
    assert (together - torch.eye(8, dtype=torch.float64)).abs().max() < 0.03
    assert torch.equal(draws.sigma[500:510], attack.draw(index[500:510], "train", 200).sigma)


def test_training_and_test_draw_from_streams_of_their_own(attack: Refool) -> None:
    index = torch.arange(50)
    first = attack.draw(index, "train", 200)
    for other in (attack.draw(index, "test", 200), original(4).draw(index, "train", 200)):
        for a, b in zip(first, other, strict=True):
            assert not torch.equal(a, b)
    images = images_of(8, SIDE)
    assert not torch.equal(attack(images, index[:8]), attack.trigger(images, index[:8]))


def test_numbers_of_neighbours_are_independent() -> None:
    drawn = uniform(torch.arange(100_000), 12345)
    assert len(drawn.unique()) == len(drawn)
    for lag in (1, 2, 4, 1024):
        assert torch.stack([drawn[:-lag], drawn[lag:]]).corrcoef()[0, 1].abs() < 0.015
    assert drawn.var().item() == pytest.approx(1 / 12, rel=0.01)
    assert drawn.min() > 0 and drawn.max() < 1
    big = uniform(torch.tensor([0, 2**31, 2**32 - 1]), 2**63 - 1)
    assert len(big.unique()) == 3 and (big < 1).all()


def test_the_presets_have_the_strength_of_backdoorbench() -> None:
    attack = attacks.create("refool")
    assert isinstance(attack, Refool)
    assert (attack.draw(torch.arange(9), "train", 200).a == 0.4).all()


def test_needs_its_photos() -> None:
    attack = attacks.create("refool", SIDE, reflections="synthetic", candidates=200)
    images = images_of(4, SIDE)
    with pytest.raises(NotPreparedError):
        attack(images, torch.arange(4))
    train = ImageSet(images, torch.zeros(4, dtype=torch.int64))

    def refuse(key: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        raise AssertionError("a bank is no matter for the store")

    context = Context(model_factory=lambda: build_model("resnet10", 10, 32, width=8), cache=refuse)
    ready = attack.prepare(train, 3, context)
    assert isinstance(ready, Refool)
    assert ready.ready()["photos"].shape == (200, 3, SIDE, SIDE)
    assert (ready(images, torch.arange(4)) != images).flatten(1).any(1).all()


@pytest.mark.parametrize(
    ("hyper", "error", "words"),
    [
        ({"weakest": 0.7}, InvalidValueError, "weakest is 0.7"),
        ({"strongest": 1.5}, InvalidValueError, "strongest is 1.5"),
        ({"candidates": 50}, InvalidValueError, "candidates is 50"),
        ({"reflections": "gtrsb"}, UnknownNameError, "did you mean 'gtsrb'"),
        ({"reflections": "no/such/folder"}, DataError, "no/such/folder"),
        ({"image_size": 8}, InvalidValueError, "image_size"),
    ],
)
def test_bad_values_are_refused(hyper: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        attacks.create("refool", **hyper)
