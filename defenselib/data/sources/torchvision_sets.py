"""CIFAR-10, CIFAR-100 and GTSRB as torchvision downloads and lays them out.

Their pixels or sizes are not those of the Parquet copies (CIFAR-10 there is JPEG; torchvision's GTSRB has 26,640
training images instead of 39,209), so their digests, and the results made on them, are told apart.
"""

from __future__ import annotations

import contextlib
import csv
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from torchvision import datasets

from defenselib.data.sources.folder import class_folders, images_below, split_of
from defenselib.data.sources.images import Listing, Picture, Split
from defenselib.errors import DataError

_CIFAR: dict[str, Any] = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}
_CIFAR_SIZES = (50000, 10000)
_HOSTS = {"gtsrb": "https://sid.erda.dk"}
_TIMEOUT = 10.0  # seconds until a host that does not answer counts as unreachable


def list_torchvision(name: str, folder: Path) -> Listing | None:
    """The data set `name` where torchvision unpacked it below `folder`; None where it is not, or is another's."""
    if name in _CIFAR:
        return _list_cifar(name, folder)
    return _list_gtsrb(folder) if name == "gtsrb" else None


def can_download(name: str) -> bool:
    return name in _CIFAR or name in _HOSTS


def download(name: str, target: Path) -> None:
    """Download `name` into the folder `target`, which appears only when all is there. Errors: DataError."""
    host = _CIFAR[name].url if name in _CIFAR else _HOSTS[name]
    try:
        _reach(host)
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_suffix(".lock")):
            if target.exists():
                return
            partial = target.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            if name in _CIFAR:
                _CIFAR[name](partial, download=True)
            else:
                datasets.GTSRB(str(partial), split="train", download=True)
                datasets.GTSRB(str(partial), split="test", download=True)
            for archive in (*partial.rglob("*.tar.gz"), *partial.rglob("*.zip")):
                archive.unlink()
            partial.replace(target)
    except (OSError, RuntimeError) as error:
        raise DataError(f"the download of {name!r} from {host} failed ({error})") from error


def _reach(url: str) -> None:
    """Raise OSError soon where there is no network: torchvision itself would wait without limit."""
    request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "defenselib"})
    with contextlib.suppress(urllib.error.HTTPError):  # then the host answers, if only to refuse a HEAD
        urllib.request.urlopen(request, timeout=_TIMEOUT).close()


def _list_cifar(name: str, folder: Path) -> Listing | None:
    kind = _CIFAR[name]
    base = folder / kind.base_folder
    if not base.is_dir():
        return None

    @cache
    def load(train: bool) -> Any:
        try:
            return kind(folder, train=train)
        except (RuntimeError, OSError, EOFError, ValueError) as error:
            raise DataError(f"{base} is incomplete or damaged ({error}); delete it and download it again") from error

    def split(train: bool, count: int) -> Split:
        def pictures() -> Iterator[Picture]:
            return (((base, row), pixels) for row, pixels in enumerate(load(train).data))

        def labels() -> NDArray[np.int64]:
            return np.asarray(load(train).targets, dtype=np.int64)

        return Split(count=count, labels=labels, pictures=pictures)

    files = tuple(sorted(path for path in base.iterdir() if path.is_file()))
    return Listing(folder, files, split(True, _CIFAR_SIZES[0]), split(False, _CIFAR_SIZES[1]), None)


def _list_gtsrb(folder: Path) -> Listing | None:
    base = next((item for item in (folder / "gtsrb" / "GTSRB", folder / "GTSRB") if item.is_dir()), None)
    if base is None:
        return None
    table = base.parent / "GT-final_test.csv"
    train = [sorted(images_below(base / "Training" / name)) for name in class_folders(base / "Training")]
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = [(row["Filename"], int(row["ClassId"])) for row in csv.DictReader(file, delimiter=";")]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{table} is missing or damaged ({error}); delete {base.parent} and download it again"
        ) from error
    if len(train) != 43:
        raise DataError(f"{base / 'Training'} has {len(train)} of 43 classes; delete {base.parent}, download it again")
    test: list[list[Path]] = [[] for _ in train]
    for file_name, label in rows:
        test[label].append(base / "Final_Test" / "Images" / file_name)
    files = (table, *(path for item in train + test for path in item))
    return Listing(folder, files, split_of(train), split_of(test), None)
