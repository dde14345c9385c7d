"""Random crop, flip and Cutout (DeVries, Taylor 2017), as ABL and CBD augment."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from defenselib.data.augment.crop_flip import Augment
from defenselib.data.augment.geometry import box, span
from defenselib.data.constants import constant
from defenselib.errors import InvalidValueError


@dataclass(frozen=True)
class CutoutAugment(Augment):
    """Crop and flip, then one black square about a random pixel.

    length: ABL and CBD give 3, and their square reaches from length // 2 pixels before its centre up to the last one
    before length // 2 pixels after it, so that it is 2 x 2 pixels and smaller at the border; 0 and 1 cut nothing.
    """

    length: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.length < 0:
            raise InvalidValueError(f"the length of a cutout is {self.length}, it must not be negative")

    def __call__(self, images: Tensor, index: Tensor, generator: torch.Generator) -> Tensor:
        return cut_out(super().__call__(images, index, generator), self.length, generator)


def cut_out(images: Tensor, length: int, generator: torch.Generator) -> Tensor:
    """Images (B, C, H, W), each with a black square about a random pixel; `length` as `CutoutAugment` takes it."""
    reach = length // 2
    sides = constant(tuple(images.shape[-2:]), generator.device, torch.int64)
    centre = (torch.rand(len(images), 2, generator=generator, device=generator.device) * sides).long()
    cut = (span(centre[:, axis] - reach, 2 * reach, images.shape[axis - 2]) for axis in (0, 1))
    return images * ~box(*cut)
