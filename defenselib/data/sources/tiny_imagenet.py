"""Tiny-ImageNet as it is published: `train/WNID/images/*.JPEG`, `val/images` with `val/val_annotations.txt`."""

from __future__ import annotations

from pathlib import Path

from defenselib.data.sources.annotated import annotated_split, rows_of
from defenselib.data.sources.folder import class_files, class_folders, listed_classes, listing_of
from defenselib.data.sources.imagenet import words
from defenselib.data.sources.images import Listing
from defenselib.errors import DataError


def list_tiny_imagenet(folder: Path) -> Listing | None:
    """The data set in `folder`, or in `tiny-imagenet-200` in it; None where it is not. Errors: DataError.

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
