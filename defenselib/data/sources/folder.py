"""Image folders: one folder per class, below train/ and test/ or as one tree."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from defenselib.data.sources.images import Listing, Picture, Split
from defenselib.errors import DataError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".webp", ".gif", ".tif", ".tiff")
TRAIN_FOLDERS = ("train", "training")
TEST_FOLDERS = ("test", "testing", "val", "valid", "validation")


def list_folder(folder: Path) -> Listing | None:
    """The data set in the class folders of `folder`; None where there are none.

    Classes are sorted by name (by value where all names are numbers). Errors: DataError for a class folder without
    images and for a test class that is not trained.
    """
    train_root, test_root = splits(folder)
    names = class_folders(train_root)
    train = _class_files(train_root, names)
    if not names or not any(train):
        return None
    for name, files in zip(names, train, strict=True):
        if not files:
            raise DataError(f"class folder {train_root / name} holds no image ({', '.join(EXTENSIONS)}); remove it")
    test = None
    if test_root is not None:
        extra = sorted(set(class_folders(test_root)) - set(names))
        if extra:
            raise DataError(f"{test_root / extra[0]} is a class that {train_root} does not have; add or remove it")
        test = _class_files(test_root, names)
        if not any(test):
            raise DataError(f"{test_root} has no class folder with images; fill it like {train_root}, or remove it")
    everything = [path for files in train + (test or []) for path in files]
    return Listing(
        folder=folder,
        files=tuple(everything),
        train=split_of(train),
        test=None if test is None else split_of(test),
        classes=tuple(names),
    )


def splits(folder: Path) -> tuple[Path, Path | None]:
    """The folders of training and test classes; (folder, None) for one tree."""
    train = next((folder / name for name in TRAIN_FOLDERS if class_folders(folder / name)), None)
    if train is None:
        return folder, None
    return train, next((folder / name for name in TEST_FOLDERS if (folder / name).is_dir()), None)


def class_folders(folder: Path) -> list[str]:
    """Names of the folders below `folder`, in label order; hidden ones and `__MACOSX` are passed over."""
    if not folder.is_dir():
        return []
    names = [item.name for item in os.scandir(folder) if item.is_dir() and not item.name.startswith((".", "__"))]
    return sorted(names, key=int) if all(name.isdecimal() for name in names) else sorted(names)


def split_of(files: list[list[Path]]) -> Split:
    """A split of the files per class, in label order."""
    labels = np.repeat(np.arange(len(files)), [len(item) for item in files])

    def pictures() -> Iterator[Picture]:
        return (((path, None), path) for item in files for path in item)

    return Split(count=len(labels), labels=lambda: labels.astype(np.int64), pictures=pictures)


def _class_files(root: Path, names: list[str]) -> list[list[Path]]:
    return [sorted(images_below(root / name)) for name in names]


def images_below(folder: Path) -> Iterator[Path]:
    """All image files below `folder`, by their extension."""
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in files if name.lower().endswith(EXTENSIONS) and name[0] != ".")
