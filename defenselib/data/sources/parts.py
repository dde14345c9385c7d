"""ImageNet, VGGFace2, and data sets that are a part of a larger one: some of its classes, and so many images of each,
drawn by seed.

Where a paper does not say which classes its subset has, they are drawn once and for all: of the classes in order of
their names, those that have enough images, by the random stream of the subset's name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from defenselib.data.sources.folder import (
    Row,
    annotated_split,
    class_files,
    class_folders,
    listed_classes,
    listing_of,
    rows_of,
    subfolders,
)
from defenselib.data.sources.images import Listing, Picture, Split
from defenselib.data.subset import stratified_index
from defenselib.errors import DataError, printable
from defenselib.seeds import generator

SEED = 0
Mask = NDArray[np.bool_]
_WNID = re.compile(r"n\d{8}")
_PERSON = re.compile(r"n\d{6}")


@dataclass(frozen=True)
class Part:
    """name: of the part; whole: of the folder that holds all; classes: how many are drawn; per_class: training images
    of each; test: images that are drawn in class proportions from the other training images, None for the test images
    of the whole."""

    name: str
    whole: str
    classes: int
    per_class: int
    test: int | None = None

    @property
    def needed(self) -> int:
        """Training images that a class must have to be drawn."""
        return self.per_class + -(-(self.test or 0) // self.classes)

    def of_folders(self, root: Path, names: list[str]) -> list[str]:
        """The classes that are drawn of the folders `names` below `root`, which are more than wanted.

        Errors: DataError where too few have enough images.
        """
        chosen = self._drawn(len(names), lambda label: _count(root / names[label]), root)
        return [names[label] for label in chosen]

    def of(self, listing: Listing) -> Listing:
        """The part of a listing: its classes where they are more than wanted, and so many of their images. A listing of
        no more classes is the part itself and stays as it is. Errors: DataError."""
        labels = listing.train.labels()
        counts = np.bincount(labels)
        if len(counts) <= self.classes:
            return listing
        chosen = self._drawn(len(counts), lambda label: int(counts[label]), listing.folder)
        names = None if listing.classes is None else tuple(listing.classes[label] for label in chosen)
        test = None if listing.test is None else _only(listing.test, np.isin(listing.test.labels(), chosen), chosen)
        train = _only(listing.train, np.isin(labels, chosen), chosen)
        return self.images_of(replace(listing, train=train, test=test, classes=names))

    def images_of(self, listing: Listing) -> Listing:
        """So many images of each class, and the test images. Errors: DataError for a class that has too few."""
        labels = listing.train.labels()
        taken = np.zeros(len(labels), dtype=bool)
        for label in range(int(labels.max()) + 1):
            mine = np.flatnonzero(labels == label)
            if len(mine) < self.needed:
                raise DataError(
                    f"{listing.folder}: class {label} has {len(mine)} images, {self.name!r} needs {self.needed}"
                )
            order = torch.randperm(len(mine), generator=generator(SEED, self.name, "images", label)).numpy()
            taken[mine[order[: self.per_class]]] = True
        test = listing.test
        if self.test is not None:
            rest = np.flatnonzero(~taken)
            index = stratified_index(torch.from_numpy(labels[rest]), self.test, SEED, f"{self.name}/test")
            kept = np.zeros(len(labels), dtype=bool)
            kept[rest[index.numpy()]] = True
            test = _only(listing.train, kept)
        if test is None:
            raise DataError(f"{listing.folder} has no test images; add them")
        return replace(listing, train=_only(listing.train, taken), test=test, chosen=(self.name,))

    def _drawn(self, total: int, count: Callable[[int], int], where: Path) -> list[int]:
        """Labels, ascending, of the first classes in random order that have enough images."""
        chosen: list[int] = []
        for label in torch.randperm(total, generator=generator(SEED, self.name, "classes")).tolist():
            if count(label) >= self.needed:
                chosen.append(label)
            if len(chosen) == self.classes:
                return sorted(chosen)
        raise DataError(
            f"{where} has {len(chosen)} classes of {self.needed} images and more, {self.name!r} needs {self.classes}"
        )


def _count(folder: Path) -> int:
    try:
        with os.scandir(folder) as entries:
            return sum(not entry.name.startswith(".") for entry in entries)
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror})") from error


def _only(split: Split, kept: Mask, classes: Sequence[int] | None = None) -> Split:
    """The images of a split that are kept; labels are places in `classes` where that is given."""

    def labels() -> NDArray[np.int64]:
        found = split.labels()[kept]
        return found if classes is None else np.searchsorted(np.asarray(classes), found).astype(np.int64)

    def pictures() -> Iterator[Picture]:
        return compress(split.pictures(), kept)

    return Split(int(kept.sum()), labels, pictures)


def list_imagenet(folder: Path, part: Part | None = None) -> Listing | None:
    """ImageNet (ILSVRC 2012) in `folder`, or where the archives unpack it below, or a subset; None where it is not.

    A subset is a `class_list.txt` beside `train`, one WordNet number a line in label order (links to one copy of the
    images are enough), or `part`, which is drawn where there are more classes than it has. Images have other sizes;
    `load_dataset(..., image_size=...)` says to which they are brought. Errors: DataError.

    Training images are `train/WNID/*.JPEG`; test images are the published validation images: `val/WNID/*.JPEG`, or
    `val/*.JPEG` with `LOC_val_solution.csv`.
    """
    base = next((item for item in (folder, folder / "ILSVRC" / "Data" / "CLS-LOC") if _is_imagenet(item)), None)
    if base is None:
        return None
    everyone = class_folders(base / "train")
    names = listed_classes(folder, everyone)
    drawn = None if part is None or len(names) <= part.classes else part
    if drawn is not None:
        names = drawn.of_folders(base / "train", names)
    train = class_files(base / "train", names)
    table = folder / "LOC_val_solution.csv"
    if subfolders(base / "val"):
        test = class_files(base / "val", names)
    elif table.is_file():
        test = annotated_split(_solution(table), base / "val", names, table, everyone)
    else:
        raise DataError(f"{base / 'val'} has no folder per class, and there is no {table}; add one of them")
    for place, found in (("train", train), ("val", test)):
        empty = next((name for name, files in zip(names, found, strict=True) if not files), None)
        if empty is not None:
            raise DataError(f"{base / place} has no images of class {empty}; unpack the data set again")
    listing = listing_of(folder, train, test, words(folder / "LOC_synset_mapping.txt", names))
    return listing if drawn is None else drawn.images_of(listing)


def words(file: Path, names: list[str]) -> tuple[str, ...]:
    """The first word for each WordNet number, from a file of lines "n01440764 tench, ..."; the numbers without one."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return tuple(map(printable, names))
    known = {parts[0]: parts[1].split(",")[0] for parts in (line.split(None, 1) for line in lines) if len(parts) == 2}
    found = [known.get(name, name) for name in names]
    # Two kinds of crane: a word that stands twice is told apart by its number.
    return tuple(
        word if found.count(word) == 1 else f"{word} ({name})" for word, name in zip(found, names, strict=True)
    )


def _is_imagenet(folder: Path) -> bool:
    names = subfolders(folder / "train")
    return bool(names) and (folder / "val").is_dir() and all(_WNID.fullmatch(name) for name in names)


def _solution(table: Path) -> list[Row]:
    """Rows whose class is the first word of "n03995372 85 1 499 272", a box each."""
    rows = rows_of(table, ("ImageId", "PredictionString"), ",")
    return [(line, f"{image}.JPEG", boxes.partition(" ")[0]) for line, image, boxes in rows]


def list_vggface2(folder: Path, part: Part | None = None) -> Listing | None:
    """VGGFace2 in `folder` or in `data` in it: `train/n000002/*.jpg` and `test/n000001/*.jpg`, whose people are others
    than those of `train`; None where it is not. Errors: DataError.

    For classification the people of `train` are the classes, and their images are split 80/20 by seed as those of any
    tree. A subset is a `class_list.txt` beside `train`, one person a line in label order, or `part`, which is drawn
    where there are more people than it has.
    """
    base = next((item for item in (folder, folder / "data") if _is_vggface2(item)), None)
    if base is None:
        return None
    names = listed_classes(folder, class_folders(base / "train"))
    drawn = None if part is None or len(names) <= part.classes else part
    if drawn is not None:
        names = drawn.of_folders(base / "train", names)
    train = class_files(base / "train", names)
    empty = next((name for name, files in zip(names, train, strict=True) if not files), None)
    if empty is not None:
        raise DataError(f"{base / 'train' / empty} holds no images; unpack the data set again")
    listing = listing_of(folder, train, None, tuple(names))
    return listing if drawn is None else drawn.images_of(listing)


def _is_vggface2(folder: Path) -> bool:
    train, test = subfolders(folder / "train"), subfolders(folder / "test")
    people = bool(train) and all(_PERSON.fullmatch(name) for name in train + test)
    return people and not set(train) & set(test)
