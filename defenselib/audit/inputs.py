"""Clean images and test images, in the labels of the suspect data."""

from __future__ import annotations

import torch

from defenselib.audit.folder import UserData
from defenselib.data.types import ImageSet
from defenselib.errors import InvalidValueError, unknown


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
