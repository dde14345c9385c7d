"""Labels of a listing, checked before any image is decoded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from defenselib.data.sources.images import Listing, Split
from defenselib.data.subset import TEST_SHARE
from defenselib.errors import DataError

Labels = NDArray[np.int64]


def checked_labels(listing: Listing) -> tuple[Labels, Labels | None]:
    """Labels int64 (N,) of the training and of the test images, the latter None where there is no test split.

    The rule: labels are whole numbers from 0 to K - 1. K is the number of class names; where there are none, each label
    up to the largest has a training image. One tree must be large enough to be split. Errors: DataError.
    """
    train = _labels(listing.train, listing)
    test = None if listing.test is None else _labels(listing.test, listing)
    count = len(listing.classes) if listing.classes is not None else _distinct(train, listing)
    for name, labels in (("training", train), ("test", test)):
        if labels is None:
            continue
        wrong = np.flatnonzero((labels < 0) | (labels >= count))
        if len(wrong):
            raise DataError(
                f"{listing.folder}: label {labels[wrong[0]]} of {name} image {wrong[0]} is not allowed, "
                f"it must be 0 to {count - 1}"
            )
    if test is None:
        _check_size(train, listing)
    return train, test


def _labels(split: Split, listing: Listing) -> Labels:
    labels = split.labels()
    if not len(labels):
        raise DataError(f"{listing.folder} has a split without images; copy or download the data set again")
    return np.ascontiguousarray(labels)


def _distinct(labels: Labels, listing: Listing) -> int:
    """How many classes labels without names stand for."""
    found = np.unique(labels)
    gap = np.flatnonzero(found != np.arange(len(found)))
    if len(gap):
        raise DataError(
            f"{listing.folder}: its {len(found)} labels lie between {found[0]} and {found[-1]}, and no training image "
            f"has label {gap[0]}; labels without class names must be 0 to {len(found) - 1} then"
        )
    return len(found)


def _check_size(labels: Labels, listing: Listing) -> None:
    size, classes = len(labels), len(np.unique(labels))
    test = round(TEST_SHARE * size)
    if test < 1 or size - test < classes:
        raise DataError(
            f"{listing.folder} has {size} images of {classes} classes and no test images, too few to set some aside; "
            "add images, or a folder or table of test images"
        )
