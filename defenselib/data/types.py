"""What flows through the library: images, data sets, poisoned data sets."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from defenselib.errors import InvalidValueError


@dataclass(frozen=True)
class ImageSet:
    """Images uint8 (N, 3, H, W) and labels int64 (N,), on any device."""

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4 or self.images.shape[1] != 3:
            raise InvalidValueError(
                f"images are {self.images.dtype} {tuple(self.images.shape)}, they must be uint8 (N, 3, H, W)"
            )
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise InvalidValueError(
                f"labels are {self.labels.dtype} {tuple(self.labels.shape)}, they must be int64 ({len(self.images)},)"
            )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_size(self) -> int:
        """Side of the square images, in pixels."""
        return int(self.images.shape[-1])

    def select(self, index: Tensor) -> ImageSet:
        """The samples at `index` (int64 or bool, on the device of the images)."""
        return ImageSet(self.images[index], self.labels[index])

    def to(self, device: torch.device | str) -> ImageSet:
        return ImageSet(self.images.to(device), self.labels.to(device))

    def channels_last(self) -> ImageSet:
        """The same pixels in channels-last memory order, in which batches are gathered fastest."""
        return ImageSet(self.images.contiguous(memory_format=torch.channels_last), self.labels)


@dataclass(frozen=True)
class Dataset:
    """A clean data set: name, training and test images, class names, digest of the bytes."""

    name: str
    train: ImageSet
    test: ImageSet
    classes: tuple[str, ...]
    digest: str

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    def to(self, device: torch.device | str) -> Dataset:
        return replace(self, train=self.train.to(device), test=self.test.to(device))


@dataclass(frozen=True)
class PoisonedDataset:
    """What the attacker made. `train` is all that a defender ever gets.

    `is_poisoned`, `is_cross`: bool (N,); `clean_labels`: int64 (N,), the labels before the attack.
    `triggered_test` holds the test images that count for the ASR with the labels that the attacker wants.
    `target` is None for all-to-all attacks.
    """

    train: ImageSet
    is_poisoned: Tensor
    is_cross: Tensor
    clean_labels: Tensor
    test: ImageSet
    triggered_test: ImageSet
    target: int | None

    def to(self, device: torch.device | str) -> PoisonedDataset:
        return replace(
            self,
            train=self.train.to(device),
            is_poisoned=self.is_poisoned.to(device),
            is_cross=self.is_cross.to(device),
            clean_labels=self.clean_labels.to(device),
            test=self.test.to(device),
            triggered_test=self.triggered_test.to(device),
        )


def digest_of(*sets: ImageSet) -> str:
    """SHA-256 over the shapes and bytes of image sets, in order."""
    state = hashlib.sha256()
    for item in sets:
        for tensor in (item.images, item.labels):
            array = tensor.detach().cpu().contiguous().numpy()
            state.update(str(array.shape).encode())
            state.update(array.tobytes())
    return state.hexdigest()
