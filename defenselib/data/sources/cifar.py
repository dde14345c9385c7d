"""CIFAR-10 and CIFAR-100 as torchvision downloads and lays them out, `cifar-10-batches-py` and `cifar-100-python`.

Their pixels are not those of the Parquet copy of CIFAR-10 (JPEG), so results made on them are told apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from defenselib.data.sources.images import Listing, Picture, Split
from defenselib.errors import DataError

SIZES = (50000, 10000)


def kind_of(name: str) -> Any:
    """torchvision's class for "cifar10" or "cifar100"."""
    from torchvision import datasets  # a second to import, and not needed where the data is in other files

    return {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]


def list_cifar(name: str, folder: Path) -> Listing | None:
    """The data set `name` where it was unpacked below `folder`; None where it is not."""
    base = folder / {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}[name]
    if not base.is_dir():
        return None

    @cache
    def load(train: bool) -> Any:
        try:
            return kind_of(name)(folder, train=train)
        except (RuntimeError, OSError, EOFError, ValueError) as error:
            raise DataError(f"{base} is incomplete or damaged ({error}); delete it and download it again") from error

    def split(train: bool, count: int) -> Split:
        def pictures() -> Iterator[Picture]:
            return (((base, row), pixels) for row, pixels in enumerate(load(train).data))

        def labels() -> NDArray[np.int64]:
            return np.asarray(load(train).targets, dtype=np.int64)

        return Split(count=count, labels=labels, pictures=pictures)

    files = tuple(sorted(path for path in base.iterdir() if path.is_file()))
    return Listing(folder, files, split(True, SIZES[0]), split(False, SIZES[1]), None)
