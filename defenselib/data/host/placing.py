"""Which memory a data set lies in, and its digest where it lies in none."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import torch

from defenselib.data.host.images import HostImages
from defenselib.data.types import Dataset, ImageSet

# A data set is poisoned (a copy of it), put into another memory order (another one), and a network trains beside it.
SHARE = 4


def place(dataset: Dataset, device: torch.device | str) -> Dataset:
    """The data set on the device. One whose images lie in files stays there, and batches are copied, unless the device
    has memory for `SHARE` times its size."""
    device = torch.device(device)
    stored = [item for item in (dataset.train, dataset.test) if isinstance(item.images, HostImages)]
    if stored and device.type == "cuda":
        size = dataset.train.images.nbytes + dataset.test.images.nbytes
        if SHARE * size <= torch.cuda.mem_get_info(device)[0]:
            return replace(dataset, train=_copied(dataset.train, device), test=_copied(dataset.test, device))
    return dataset.to(device)


def _copied(data: ImageSet, device: torch.device, step: int = 512) -> ImageSet:
    """All images in the memory of the device, copied part by part."""
    images = torch.empty(data.images.shape, dtype=torch.uint8, device=device)
    for start in range(0, len(data), step):
        part = slice(start, start + step)
        images[part] = data.images[part].to(device)
    return ImageSet(images, data.labels.to(device))


def digest_in_parts(*sets: ImageSet, step: int = 512) -> str:
    """`types.digest_of` of sets that do not fit the memory: the same digest, taken of so many images at a time."""
    state = hashlib.sha256()
    for item in sets:
        for tensor in (item.images, item.labels):
            state.update(str(tuple(tensor.shape)).encode())
            for part in tensor.split(step):
                state.update(part.cpu().contiguous().numpy().tobytes())
    return state.hexdigest()
