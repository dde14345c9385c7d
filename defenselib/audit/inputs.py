"""Clean images and test images, in the labels of the suspect data."""

from __future__ import annotations

from pathlib import Path

import torch

from defenselib.audit.folder import UserData, read_folder
from defenselib.audit.layouts import NoTableError
from defenselib.data.types import ImageSet
from defenselib.errors import InvalidValueError, unknown


def read_beside(root: Path, image_size: int, label_column: str | None, *, progress: bool = False) -> UserData:
    """Clean or test images: those of a table by the column that the data's labels stand in, class folders as they are.

    Errors: as `read_folder`, but for a column where there is no table.
    """
    try:
        return read_folder(root, image_size, label_column=label_column, progress=progress)
    except NoTableError:
        return read_folder(root, image_size, progress=progress)


def matched(given: UserData, data: UserData, option: str, every_class: bool = False) -> ImageSet:
    """The images of `given` with the labels that classes of the same name have in `data`.

    Errors: UnknownNameError for a class that `data` has not; InvalidValueError for images of another size, and with
    `every_class` for a class without an image. option: what the error calls the folder.
    """
    place = {name: label for label, name in enumerate(data.classes)}
    for name in given.classes:
        if name not in place:
            raise unknown(f"class in {option} {given.root}:", name, data.classes)
    if given.images.image_size != data.images.image_size:
        raise InvalidValueError(
            f"the images of {option} have a side of {given.images.image_size}, those of the data "
            f"{data.images.image_size}; read both at the same size"
        )
    labels = torch.tensor([place[name] for name in given.classes], dtype=torch.int64)[given.images.labels]
    missing = [name for name, label in place.items() if not bool((labels == label).any())]
    if every_class and missing:
        raise InvalidValueError(
            f"{option} {given.root} has no image of class {missing[0]!r}"
            f"{f' and {len(missing) - 1} more' if missing[1:] else ''}; some of every class are needed"
        )
    return ImageSet(given.images.images, labels)
