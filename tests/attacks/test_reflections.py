"""Reflections come from where they are said to, and none is a training image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from defenselib.attacks import refool
from defenselib.attacks.refool import FEWEST, check_source, draw_reflections, load_reflections
from defenselib.data import load
from defenselib.errors import DataError

from .conftest import images_of

SIDE = 16


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty search path, no network; returns the folder in which data sets are looked for."""

    def refuse(name: str, target: Path) -> None:
        raise DataError(f"the download of {name!r} failed (no network in tests)")

    place = tmp_path / "data"
    place.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEFENSELIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DEFENSELIB_DATA", str(place))
    monkeypatch.setattr(load, "download", refuse)
    return place


def write(folder: Path, images: Tensor) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
        Image.fromarray(image).save(folder / f"{i:04}.png", compress_level=0)


def write_dataset(folder: Path, classes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Training images (one a class) and 240 test images."""
    train, test = images_of(classes, SIDE, seed), images_of(240, SIDE, seed + 1)
    for label in range(classes):
        write(folder / "train" / f"{label:02}", train[label : label + 1])
    write(folder / "test" / "00", test)
    return train, test


def rows(images: Tensor) -> set[bytes]:
    return {row.tobytes() for row in images.numpy()}


def test_drawn_pictures_follow_the_seed_and_look_like_photos() -> None:
    first = draw_reflections(300, 32, 1)
    assert first.dtype == torch.uint8 and first.shape == (300, 3, 32, 32)
    assert torch.equal(first[:220], draw_reflections(220, 32, 1))
    assert not torch.equal(first, draw_reflections(300, 32, 2))
    assert len(rows(first)) == 300
    values = first.double()
    assert 90 < values.mean() < 165 and values.std() > 40
    # Amplitudes fall with frequency, as in photos; those of white noise do not.
    power = np.abs(np.fft.fft2(values.mean(1).numpy())).mean(0)[0]
    assert power[1] > 2 * power[4] > 4 * power[16]
    state = torch.get_rng_state()
    draw_reflections(5, 32, 1)
    assert torch.equal(state, torch.get_rng_state())


def test_test_images_of_another_data_set(alone: Path) -> None:
    train = images_of(30, SIDE, 9)
    _, test = write_dataset(alone / "gtsrb", 43, 1)
    bank = load_reflections("gtsrb", train, 220, seed=0)
    assert len(bank) == 220 and rows(bank) < rows(test)
    assert torch.equal(bank, load_reflections("gtsrb", train, 220, seed=0))
    assert rows(bank) != rows(load_reflections("gtsrb", train, 220, seed=1))
    assert load_reflections("gtsrb", images_of(9, 24), 5000, seed=0).shape == (240, 3, 24, 24)


def test_the_training_set_itself_is_refused_or_passed_over(alone: Path) -> None:
    train, _ = write_dataset(alone / "cifar10", 10, 1)
    with pytest.raises(DataError, match="'cifar10' are the training set itself; take one of 'synthetic', 'gtsrb'"):
        load_reflections("cifar10", train[3:7], 5000, seed=0)
    drawn = draw_reflections(300, SIDE, 0)
    assert torch.equal(load_reflections("auto", train, 300, seed=0), drawn)
    _, test = write_dataset(alone / "gtsrb", 43, 5)
    assert rows(load_reflections("auto", train, 5000, seed=0)) == rows(test)
    # of another training set, both may be taken, and the first of the order is
    assert rows(load_reflections("auto", images_of(30, SIDE, 99), 5000, seed=0)).isdisjoint(rows(test))


def test_single_training_images_are_left_out(alone: Path) -> None:
    _, test = write_dataset(alone / "gtsrb", 43, 1)
    train = torch.cat([images_of(30, SIDE, 9), test[:25]])
    bank = load_reflections("gtsrb", train, 5000, seed=0)
    assert rows(bank) == rows(test[25:])
    with pytest.raises(DataError, match=rf"180 of 240 pictures are no training images, {FEWEST} are needed"):
        load_reflections("gtsrb", test[:60], 5000, seed=0)


def test_a_folder_of_images(tmp_path: Path) -> None:
    photos = images_of(210, SIDE, 3)
    write(tmp_path / "photos" / "a", photos[:100])
    write(tmp_path / "photos" / "b", photos[100:])
    check_source(str(tmp_path / "photos"))
    train = images_of(10, SIDE, 9)
    assert rows(load_reflections(str(tmp_path / "photos"), train, 5000, seed=0)) == rows(photos)
    bank = load_reflections(str(tmp_path / "photos"), train, FEWEST, seed=0)
    assert len(bank) == FEWEST and rows(bank) < rows(photos)
    write(tmp_path / "few", photos[:3])
    with pytest.raises(DataError, match="holds 3 images"):
        check_source(str(tmp_path / "few"))


def test_a_missing_data_set_is_named(alone: Path) -> None:
    with pytest.raises(DataError, match=r"reflections 'cifar100': no data for 'cifar100'.*reflections='synthetic'"):
        load_reflections("cifar100", images_of(10, SIDE), 300, seed=0)
    assert refool.SOURCES[:2] == ("auto", "synthetic")
