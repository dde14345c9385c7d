"""VGGFace2: `train/n000002/*.jpg` and `test/n000001/*.jpg`, whose people are others than those of `train`.

For classification the people of `train` are the classes, and their images are split 80/20 by seed as those of any tree.
A subset is a `class_list.txt` beside `train`, one person a line in label order.
"""

from __future__ import annotations

import re
from pathlib import Path

from defenselib.data.sources.folder import class_files, class_folders, listed_classes, split_of, subfolders
from defenselib.data.sources.images import Listing
from defenselib.errors import DataError

_PERSON = re.compile(r"n\d{6}")


def list_vggface2(folder: Path) -> Listing | None:
    """The data set in `folder` or in `data` in it; None where it is not. Errors: DataError."""
    base = next((item for item in (folder, folder / "data") if _is_vggface2(item)), None)
    if base is None:
        return None
    names = listed_classes(folder, class_folders(base / "train"))
    train = class_files(base / "train", names)
    empty = next((name for name, files in zip(names, train, strict=True) if not files), None)
    if empty is not None:
        raise DataError(f"{base / 'train' / empty} holds no images; unpack the data set again")
    files = tuple(path for item in train for path in item)
    return Listing(folder, files, split_of(train), None, tuple(names))


def _is_vggface2(folder: Path) -> bool:
    train, test = subfolders(folder / "train"), subfolders(folder / "test")
    people = bool(train) and all(_PERSON.fullmatch(name) for name in train + test)
    return people and not set(train) & set(test)
