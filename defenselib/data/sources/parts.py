"""Data sets that are a part of a larger one: some of its classes, and so many images of each, drawn by seed.

Where a paper does not say which classes its subset has, they are drawn once and for all: of the classes in order of
their names, those that have enough images, by the random stream of the subset's name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from defenselib.data.sources.images import Listing, Picture, Split
from defenselib.data.subset import stratified_index
from defenselib.errors import DataError
from defenselib.seeds import generator

SEED = 0
Mask = NDArray[np.bool_]
Choose = Callable[[Path, list[str]], list[str]]  # of a folder with a folder per class, given their names


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
        """The classes to take of the folders `names` below `root`: all where there are no more than wanted, else drawn.

        Errors: DataError where too few have enough images.
        """
        if len(names) <= self.classes:
            return names
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
