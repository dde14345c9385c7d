"""A small data set of random images, so that no test here needs a data set at hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from defenselib.data.types import Dataset, ImageSet

MakeDataset = Callable[..., Dataset]


def images_of(count: int, size: int = 32, seed: int = 0) -> torch.Tensor:
    stream = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, size, size), generator=stream).to(torch.uint8)


@pytest.fixture
def make_dataset() -> MakeDataset:
    """Random images and labels: train, test, classes and size as asked."""

    return random_dataset


def random_dataset(train: int = 200, test: int = 60, classes: int = 10, size: int = 32, seed: int = 0) -> Dataset:
    stream = torch.Generator().manual_seed(seed + 1)
    sets = [
        ImageSet(images_of(count, size, seed + count), torch.randint(0, classes, (count,), generator=stream))
        for count in (train, test)
    ]
    return Dataset("random", sets[0], sets[1], tuple(str(label) for label in range(classes)), "none")
