"""VGGFace2: `train/n000002/*.jpg` and `test/n000001/*.jpg`, whose people are others than those of `train`.

For classification the people of `train` are the classes, and their images are split 80/20 by seed as those of any tree.
A subset is a `class_list.txt` beside `train`, one person a line in label order, or a `Part`, which is drawn.
"""

from __future__ import annotations

import re
from pathlib import Path

from defenselib.data.sources.folder import class_files, class_folders, listed_classes, listing_of, subfolders
from defenselib.data.sources.images import Listing
from defenselib.data.sources.parts import Part
from defenselib.errors import DataError

_PERSON = re.compile(r"n\d{6}")


def list_vggface2(folder: Path, part: Part | None = None) -> Listing | None:
    """The data set in `folder` or in `data` in it; None where it is not. Errors: DataError.

    part: what is drawn where there are more people than it has.
    """
    base = next((item for item in (folder, folder / "data") if _is_vggface2(item)), None)
    if base is None:
        return None
    names = listed_classes(folder, class_folders(base / "train"))
    drawn = part is not None and len(names) > part.classes
    if part is not None and drawn:
        names = part.of_folders(base / "train", names)
    train = class_files(base / "train", names)
    empty = next((name for name, files in zip(names, train, strict=True) if not files), None)
    if empty is not None:
        raise DataError(f"{base / 'train' / empty} holds no images; unpack the data set again")
    listing = listing_of(folder, train, None, tuple(names))
    return part.images_of(listing) if part is not None and drawn else listing


def _is_vggface2(folder: Path) -> bool:
    train, test = subfolders(folder / "train"), subfolders(folder / "test")
    people = bool(train) and all(_PERSON.fullmatch(name) for name in train + test)
    return people and not set(train) & set(test)
