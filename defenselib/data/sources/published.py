"""Data sets as their authors publish them: found where they were unpacked, downloaded where torchvision can."""

from __future__ import annotations

import contextlib
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from defenselib.data.info import KNOWN, PARTS
from defenselib.data.sources.folder import (
    annotated_split,
    class_files,
    class_folders,
    listed_classes,
    listing_of,
    rows_of,
)
from defenselib.data.sources.images import Listing, Picture, Split
from defenselib.data.sources.parts import list_imagenet, list_vggface2, words
from defenselib.errors import DataError

CIFAR_SIZES = (50000, 10000)
_SIGNS = KNOWN["gtsrb"].classes
_LABELS = tuple(map(str, range(len(_SIGNS))))
_HOSTS = {
    "cifar10": "https://www.cs.toronto.edu",
    "cifar100": "https://www.cs.toronto.edu",
    "gtsrb": "https://sid.erda.dk",
}
_TIMEOUT = 10.0  # seconds until a host that does not answer counts as unreachable


def kind_of(name: str) -> Any:
    """torchvision's class for "cifar10" or "cifar100"."""
    from torchvision import datasets  # a second to import, and not needed where the data is in other files

    return {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]


def list_cifar(name: str, folder: Path) -> Listing | None:
    """CIFAR-10 or CIFAR-100 as torchvision downloads and lays them out below `folder`, in `cifar-10-batches-py` and
    `cifar-100-python`; None where it is not.

    Their pixels are not those of the Parquet copy of CIFAR-10 (JPEG), so results made on them are told apart.
    """
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
    return Listing(folder, files, split(True, CIFAR_SIZES[0]), split(False, CIFAR_SIZES[1]), None)


def list_gtsrb(folder: Path) -> Listing | None:
    """GTSRB with its files as images, in or below `folder`; None where it is not. Errors: DataError.

    As torchvision lays it out: `GTSRB/Training`, `GTSRB/Final_Test`, `GT-final_test.csv`, 26,640 training images. As it
    is often passed on: `Train`, `Test`, `Test.csv`, 39,209 of them as in the Parquet copy. Results on them are told
    apart by the digest of the pixels.
    """
    base = next((item for item in (folder / "gtsrb" / "GTSRB", folder / "GTSRB") if item.is_dir()), None)
    if base is not None:
        table, columns, separator = base.parent / "GT-final_test.csv", ("Filename", "ClassId"), ";"
        train_root, test_root = base / "Training", base / "Final_Test" / "Images"
    elif (folder / "Test.csv").is_file() and (folder / "Train").is_dir():
        table, columns, separator = folder / "Test.csv", ("Path", "ClassId"), ","
        train_root, test_root = folder / "Train", folder
    else:
        return None
    names = class_folders(train_root)
    if len(names) != len(_LABELS):
        raise DataError(
            f"{train_root} has {len(names)} of {len(_LABELS)} classes; delete {table.parent}, download it again"
        )
    train = class_files(train_root, names)
    test = annotated_split(rows_of(table, columns, separator), test_root, _LABELS, table)
    return listing_of(folder, train, test, _SIGNS, table)


def list_tiny_imagenet(folder: Path) -> Listing | None:
    """Tiny-ImageNet in `folder`, or in `tiny-imagenet-200` in it: `train/WNID/images/*.JPEG`, `val/images` with
    `val/val_annotations.txt`; None where it is not. Errors: DataError.

    Classes in order of their WordNet numbers, or those of a `class_list.txt`; test images are the published validation
    images, for the published test images have no labels.
    """
    base = next((item for item in (folder, folder / "tiny-imagenet-200") if _table(item).is_file()), None)
    if base is None:
        return None
    everyone = class_folders(base / "train")
    names = listed_classes(base, everyone)
    train = class_files(base / "train", names)
    empty = next((name for name, files in zip(names, train, strict=True) if not files), None)
    if not names or empty is not None:
        raise DataError(f"{base / 'train' / (empty or '')} holds no images; unpack the data set again")
    test = annotated_split(rows_of(_table(base), None, "\t"), base / "val" / "images", names, _table(base), everyone)
    return listing_of(base, train, test, words(base / "words.txt", names), _table(base))


def _table(base: Path) -> Path:
    return base / "val" / "val_annotations.txt"


_OF_PARTS = {"imagenet": list_imagenet, "vggface2": list_vggface2}
_LISTS: dict[str, Callable[[Path], Listing | None]] = {
    "cifar10": partial(list_cifar, "cifar10"),
    "cifar100": partial(list_cifar, "cifar100"),
    "gtsrb": list_gtsrb,
    "tiny-imagenet": list_tiny_imagenet,
    **{name: partial(_OF_PARTS[part.whole], part=part) for name, part in PARTS.items()},
}


def list_published(name: str, folder: Path) -> Listing | None:
    """The data set `name` in its published layout below `folder`; None where it is not, or is another's."""
    return _LISTS[name](folder) if name in _LISTS else None


def list_by_layout(folder: Path) -> Listing | None:
    """A published data set whose files lie in `folder` in their own way, not as a folder per class and split."""
    for lister in (list_gtsrb, list_tiny_imagenet, list_imagenet, list_vggface2):
        listing = lister(folder)
        if listing is not None:
            return listing
    return None


def can_download(name: str) -> bool:
    return name in _HOSTS


def download(name: str, target: Path) -> None:
    """Download `name` into the folder `target`, which appears only when all is there. Errors: DataError."""
    host = _HOSTS[name]
    try:
        _reach(host)
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_suffix(".lock")):
            if target.exists():
                return
            partial_folder = target.with_suffix(".partial")
            shutil.rmtree(partial_folder, ignore_errors=True)
            partial_folder.mkdir()
            _fetch(name, partial_folder)
            for archive in (*partial_folder.rglob("*.tar.gz"), *partial_folder.rglob("*.zip")):
                archive.unlink()
            partial_folder.replace(target)
    except (OSError, RuntimeError) as error:
        raise DataError(f"the download of {name!r} from {host} failed ({error})") from error


def _fetch(name: str, folder: Path) -> None:
    from torchvision import datasets

    if name == "gtsrb":
        datasets.GTSRB(str(folder), split="train", download=True)
        datasets.GTSRB(str(folder), split="test", download=True)
    else:
        kind_of(name)(folder, download=True)


def _reach(url: str) -> None:
    """Raise OSError soon where there is no network: torchvision itself would wait without limit."""
    request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "defenselib"})
    with contextlib.suppress(urllib.error.HTTPError):  # then the host answers, if only to refuse a HEAD
        urllib.request.urlopen(request, timeout=_TIMEOUT).close()
