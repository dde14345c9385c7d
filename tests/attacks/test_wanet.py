"""WaNet against loops in NumPy, the published grid's values, and what its noise must be."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from defenselib import attacks
from defenselib.attacks.wanet import WaNet, control_field, noise_field, warp
from defenselib.data.types import Dataset
from defenselib.errors import DataError, InvalidValueError, UnknownNameError
from defenselib.seeds import spawn

from .conftest import images_of, random_dataset

# x, then y; four rows of four
FIELD = np.array(
    [0.6326, 0.0863, 0.2933, 0.8228, -0.6356, 0.1539, -1.4548, -1.7225,
     -1.7985, -1.3508, -0.7768, 0.8924, 1.0189, 1.7134, 1.1096, -1.3836,
     0.9972, -1.7705, 0.8401, 0.7946, -1.3072, -0.4952, 0.3755, -1.5295,
     -0.7056, -1.3488, -1.0049, -1.1631, -1.0455, 0.4338, -1.7911, -0.5516]
).reshape(2, 4, 4)  # fmt: skip
POINTS = {
    (0, 0): (-0.99012, -0.98442), (5, 9): (-0.41459, -0.69482), (16, 16): (0.01216, 0.02406),
    (10, 20): (0.26956, -0.34775), (31, 31): (0.97838, 0.99138),
}  # fmt: skip


def wanet(size: int = 32, **how: Any) -> WaNet:
    made = attacks.create("wanet", size, **how)
    assert isinstance(made, WaNet)
    return made


def cubic(distance: float) -> float:
    """Keys' kernel, a = -0.75."""
    x = abs(distance)
    if x <= 1:
        return 1.25 * x**3 - 2.25 * x**2 + 1
    return -0.75 * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def reference_grid(field: np.ndarray, strength: float, size: int) -> np.ndarray:
    """clamp(identity + s n / H), (size, size, 2), by bicubic interpolation between the corners, border repeated."""
    k = field.shape[1]
    weights = np.zeros((size, k))
    for out in range(size):
        place = out * (k - 1) / (size - 1)
        for tap in range(math.floor(place) - 1, math.floor(place) + 3):
            weights[out, min(max(tap, 0), k - 1)] += cubic(place - tap)
    line = np.linspace(-1, 1, size)
    smooth = np.moveaxis(weights @ field @ weights.T, 0, -1)
    identity = np.stack(np.meshgrid(line, line), axis=-1)
    return np.clip(identity + strength * smooth / size, -1, 1)


def reference_warp(image: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """One image (3, H, H) at the points of the grid, bilinear, float64, not cut off."""
    side = image.shape[1]
    out = np.zeros(image.shape)
    for row in range(side):
        for column in range(side):
            x, y = (grid[row, column].astype(np.float64) + 1) / 2 * (side - 1)
            left, top = math.floor(x), math.floor(y)
            for i, j in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
                if 0 <= i < side and 0 <= j < side:
                    out[:, row, column] += image[:, i, j] * (1 - abs(x - j)) * (1 - abs(y - i))
    return out


def assert_floor(got: torch.Tensor, expected: np.ndarray) -> None:
    """`got` is floor(expected), but for values that float32 cannot tell from the next whole level."""
    difference = np.abs(got.numpy().astype(int) - np.floor(expected))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.003
    assert (np.abs(expected - np.round(expected))[difference > 0] < 0.005).all()


def test_published_grid() -> None:
    grid = wanet().sampling_grid()
    assert (grid.dtype, grid.shape) == (torch.float32, (32, 32, 2))
    for (row, column), point in POINTS.items():
        assert grid[row, column].tolist() == pytest.approx(point, abs=6e-6)
    for size in (32, 64):
        expected = reference_grid(FIELD, 0.5, size)
        np.testing.assert_allclose(wanet(size).sampling_grid().numpy(), expected, atol=2e-7)


@pytest.mark.parametrize(("size", "k", "strength"), [(32, 4, 0.5), (32, 7, 3.0), (48, 2, 1.0), (224, 224, 1.0)])
def test_drawn_grids(size: int, k: int, strength: float) -> None:
    attack = wanet(size, grid="drawn", grid_size=k, strength=strength, seed=3)
    field = control_field(k, 3, published=False)
    assert float(field.abs().mean()) == pytest.approx(1)
    assert float(field.abs().max()) < 3
    grid = attack.sampling_grid()
    assert float(grid.abs().max()) <= 1
    np.testing.assert_allclose(grid.numpy(), reference_grid(field.numpy(), strength, size), atol=2e-7)
    assert not torch.equal(grid, wanet(size, grid="drawn", grid_size=k, strength=strength, seed=4).sampling_grid())


@pytest.mark.parametrize("strength", [0.5, 2.5])
def test_warp_in_loops(strength: float) -> None:
    images = images_of(3)
    attack = wanet(strength=strength)
    expected = np.stack([reference_warp(image, attack.sampling_grid().numpy()) for image in images.numpy()])
    assert_floor(attack(images), expected)
    assert torch.equal(attack.trigger(images), attack(images))


def test_ramps_show_the_grid() -> None:
    column = torch.arange(0, 256, 8, dtype=torch.uint8)
    across = column.expand(1, 3, 32, 32)
    place = (wanet().sampling_grid() + 1) / 2 * 31 * 8
    for image, axis in ((across, 0), (across.transpose(2, 3), 1)):
        out = wanet()(image)[0, 1].float()
        assert float((place[..., axis] - out).abs().max()) <= 1 + 1e-3


def test_no_strength_no_change_and_flat_areas_stay() -> None:
    images = images_of(5)
    assert torch.equal(wanet(strength=0.0)(images), images)
    flat = torch.arange(256, dtype=torch.uint8)[:, None, None, None].expand(256, 3, 32, 32)
    assert torch.equal(wanet()(flat), flat)
    assert torch.equal(wanet().cross(flat, flat), flat)


def test_noise_is_fresh_for_each_sample_and_even() -> None:
    index = torch.tensor([0, 1, 2, 49_999, 1 << 31])
    noise = noise_field(0, index, 32)
    assert (noise.shape, noise.dtype) == ((5, 32, 32, 2), torch.float32)
    assert float(noise.abs().max()) < 1
    for place, sample in enumerate(index):
        assert torch.equal(noise_field(0, sample[None], 32)[0], noise[place])
    assert not torch.equal(noise_field(1, index, 32), noise)
    many = noise_field(7, torch.arange(400), 16).double()
    values = many.flatten()
    assert abs(float(values.mean())) < 0.006
    assert float(values.var()) == pytest.approx(1 / 3, abs=0.003)
    counts = torch.histc(values, 64, -1, 1)
    expected = len(values) / 64
    assert float(((counts - expected) ** 2 / expected).sum()) < 120  # chi-squared, 63 degrees of freedom
    rows = many.flatten(1)
    near = [rows[1:] * rows[:-1], many[:, 1:] * many[:, :-1], many[:, :, 1:] * many[:, :, :-1], many.prod(-1)]
    for product in near:  # next sample, row, column, other axis: uncorrelated
        assert abs(float(product.mean())) * 3 < 0.02


def mixed(x: int) -> int:
    """The noise's hash, in plain integers."""
    for shift, factor in ((16, 0x21F0AAAD), (15, 0x735A2D97)):
        x = (x ^ (x >> shift)) * factor % 2**32
    return x ^ (x >> 15)


def test_noise_in_plain_integers() -> None:
    words = spawn(11, "wanet-noise")
    index = torch.tensor([5, 49_999, (1 << 32) - 1])
    noise = noise_field(11, index, 8)
    for place, sample in enumerate(index.tolist()):
        for pixel in (0, 9, 63):
            value = mixed(mixed((sample + words) % 2**32) ^ mixed((pixel + (words >> 32)) % 2**32))
            expected = [(half + 0.5) / 2**15 - 1 for half in divmod(value, 2**16)]
            assert noise[place, pixel // 8, pixel % 8].tolist() == expected


def test_cross_samples_in_loops() -> None:
    images, index = images_of(3, seed=4), torch.tensor([17, 3, 40_000])
    attack = wanet(seed=5)
    got = attack.cross(images, images.flip(0), index)
    shared = attack.sampling_grid().numpy().astype(np.float64)
    noise = noise_field(5, index, 32).numpy()
    grids = np.clip(shared + noise / 32, -1, 1)
    expected = np.stack([reference_warp(image, grid) for image, grid in zip(images.numpy(), grids, strict=True)])
    assert_floor(got, expected)
    assert torch.equal(attack.cross(images[1:2], images[:1], index[1:2])[0], got[1])
    assert torch.equal(attack.cross(images, images), attack.cross(images, images, torch.arange(3)))
    same = images[:1].expand(3, -1, -1, -1)
    fields = attack.cross(same, same, index)
    assert not torch.equal(fields[0], fields[1]) and not torch.equal(fields[1], fields[2])


def test_many_images_go_through_in_pieces() -> None:
    images = images_of(150)
    attack = wanet()
    grid = attack.sampling_grid()[None]
    assert torch.equal(attack(images), torch.cat([warp(images[:75], grid), warp(images[75:], grid)]))
    assert torch.equal(attack.cross(images, images)[140:], attack.cross(images[140:], images, torch.arange(140, 150)))


@pytest.mark.parametrize(
    ("preset", "rate", "poisoned", "crossed"),
    [("vab", 0.1, 20, 40), ("asd", 0.2, None, 40), ("bsd", None, None, 40), ("aabl", 0.1, 20, 40),
     ("aabl", 0.2, 40, 80), ("vab", 0.2, 40, 40), ("asd", 0.0, 0, 0)],
)  # fmt: skip
def test_noise_samples_are_counted_as_in_the_papers(
    preset: str, rate: float | None, poisoned: int | None, crossed: int
) -> None:
    dataset: Dataset = random_dataset()
    attack = wanet(preset=preset)
    made = attacks.poison(dataset, attack, rate=rate)
    assert poisoned is None or int(made.is_poisoned.sum()) == poisoned
    assert int(made.is_cross.sum()) == crossed
    assert not (made.is_poisoned & made.is_cross).any()
    index = made.is_cross.nonzero().flatten()
    before = dataset.train.select(index)
    assert torch.equal(made.train.labels[index], before.labels)
    assert torch.equal(made.train.images[index], attack.cross(before.images, before.images, index))


def test_presets() -> None:
    small = {name: wanet(preset=name) for name in ("asd", "bsd", "vab", "aabl")}
    assert {(made.grid_size, made.strength, made.grid) for made in small.values()} == {(4, 0.5, "published")}
    plans = {name: (made.plan.rate, made.plan.target, made.plan.count) for name, made in small.items()}
    assert plans["asd"] == plans["bsd"] == (0.05, 3, "bernoulli-nontarget")
    assert plans["vab"] == plans["aabl"] == (0.1, 0, "exact-all")
    for name, cross in (("asd", 0.2), ("bsd", 0.2), ("vab", 0.0)):
        large = wanet(224, preset=name)
        assert (large.grid_size, large.strength, large.cross_rate) == (224, 1.0, cross)
    tiny = wanet(64, preset="aabl")
    assert (tiny.grid_size, tiny.cross_count(1000, 10_000)) == (4, 2000)


def test_imagenet_grid_is_jitter_of_up_to_a_pixel() -> None:
    grid = wanet(224).sampling_grid().double()
    line = torch.linspace(-1, 1, 224, dtype=torch.float64)
    moved = (grid - torch.stack(torch.meshgrid(line, line, indexing="xy"), -1))[1:-1, 1:-1] * 223 / 2
    assert 0.99 < float(moved.abs().max()) < 1.01
    assert float(moved.abs().mean()) == pytest.approx(0.5, abs=0.01)
    assert abs(float((moved[1:] * moved[:-1]).mean())) < 0.01
    images = images_of(2, 224)
    attack = wanet(224)
    assert torch.equal(attack(images)[1], attack(images[1:])[0])
    assert not torch.equal(attack.cross(images, images), attack(images))


@pytest.mark.parametrize("suffix", [".pt", ".npy"])
def test_a_stored_grid_is_used_again(tmp_path: Path, suffix: str) -> None:
    first = wanet(grid="drawn", seed=8)
    path = tmp_path / f"grid{suffix}"
    images = images_of(3)
    for attack in (first, wanet()):  # the file may change
        grid = attack.sampling_grid()[None]
        if suffix == ".pt":
            torch.save(grid, path)
        else:
            np.save(path, grid.numpy())
        again = wanet(grid=path, seed=1, strength=0.1)
        assert again.grid == str(path)
        assert torch.equal(again.sampling_grid()[None], grid)
        assert torch.equal(again(images), attack(images))


def test_the_grid_that_is_handed_out_is_a_copy() -> None:
    attack = wanet()
    attack.sampling_grid().zero_()
    assert attack.sampling_grid().abs().max() > 0


def test_bad_values_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown grid 'publishd'; did you mean 'published'\?"):
        wanet(grid="publishd")
    with pytest.raises(DataError, match=r"missing\.pt"):
        wanet(grid=str(tmp_path / "missing.pt"))
    for name, content in (("small.npy", np.zeros((16, 16, 2))), ("far.npy", np.full((32, 32, 2), 1.5)),
                          ("nan.npy", np.full((32, 32, 2), np.nan)), ("text.npy", np.array("grid"))):  # fmt: skip
        np.save(tmp_path / name, content)
        with pytest.raises(DataError, match=name):
            wanet(grid=str(tmp_path / name))
    (tmp_path / "broken.pt").write_bytes(b"no grid")
    with pytest.raises(DataError, match=r"broken\.pt"):
        wanet(grid=str(tmp_path / "broken.pt"))
    for hyper in ({"grid_size": 1}, {"strength": -0.1}, {"strength": float("nan")}, {"cross_rate": 1.1},
                  {"cross_per_poisoned": -1}):  # fmt: skip
        with pytest.raises(InvalidValueError, match=next(iter(hyper))):
            wanet(**hyper)
    with pytest.raises(InvalidValueError, match="needs at least 2 pixels"):
        wanet(1)
