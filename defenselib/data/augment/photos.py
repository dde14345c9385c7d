"""Augmentation of photographs, as the papers augment ImageNet: crops of random size, and turns."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from defenselib.data.augment.crop_flip import Augment
from defenselib.data.augment.cutout import CutoutAugment, cut_out
from defenselib.data.augment.transforms import Rotate, draw
from defenselib.data.augment.views import Views
from defenselib.errors import check_choice, check_range

CROPS = ("padded", "resized")


@dataclass(frozen=True)
class ResizedCrop(Augment):
    """A crop of a random size and place, brought to the size of the image, then a flip with probability one half.

    scale: smallest share of the area that a crop keeps; its aspect ratio lies in [3/4, 4/3], as torchvision's
    RandomResizedCrop draws it. 0.2 is DBD's on ImageNet. padding and mode have no meaning here.
    """

    scale: float = 0.2

    def __call__(self, images: Tensor, index: Tensor, generator: torch.Generator) -> Tensor:
        """As `Augment`: uint8 (B, 3, H, W), rounded to whole grey levels."""
        height, width = images.shape[-2:]
        drawn = Views(self.scale, self.flip).draw(len(index), height, width, generator)
        top, left, tall, wide = drawn.box.unbind(1)
        rows = _sources(top, tall, torch.zeros_like(drawn.flip), height)
        columns = _sources(left, wide, drawn.flip, width)
        # Where every pixel comes from, x before y: at this size cheaper on a processor than products with the matrices
        # of `views.resize_weights`, and the same pixels.
        grid = torch.stack(torch.broadcast_tensors(columns[:, None, :], rows[:, :, None]), -1)
        out = F.grid_sample(images[index].float(), grid, "bilinear", "border", align_corners=False)
        return out.round_().to(torch.uint8, memory_format=torch.channels_last)


def _sources(start: Tensor, length: Tensor, flip: Tensor, size: int) -> Tensor:
    """Where the `size` pixels of an axis come from, (B, size) in [-1, 1], if start .. start + length - 1 are enlarged
    to it; mirrored where `flip` says so."""
    pixel = torch.arange(size, device=start.device, dtype=torch.float32)
    out = torch.where(flip[:, None], size - 1 - pixel, pixel)
    source = (out + 0.5) * (length / size)[:, None] - 0.5
    source = source.clamp_(min=0).minimum((length - 1)[:, None]) + start[:, None]
    return (2 * source + 1) / size - 1


@dataclass(frozen=True)
class Turned(Augment):
    """Another augmentation, then a turn by an angle uniform in (-degrees, degrees), black outside, nearest pixel, and
    where `length` is above 1 a black square as ABL and CBD cut it. padding and mode are those of `first`."""

    first: Augment = field(default_factory=Augment)
    degrees: float = 0.0
    length: int = 0

    def __call__(self, images: Tensor, index: Tensor, generator: torch.Generator) -> Tensor:
        out = self.first(images, index, generator)
        if self.degrees:
            turn = Rotate(self.degrees)
            out = turn(out, draw(turn, len(index), generator))
        return cut_out(out, self.length, generator) if self.length > 1 else out


def augmentation(padded: Augment, crop: str = "padded", degrees: float = 0.0) -> Augment:
    """`padded`, with a crop of random size in place of its own where `crop` is "resized", and turned.

    Errors: UnknownNameError for another crop, InvalidValueError for degrees outside [0, 180].
    """
    check_choice("crop", crop, CROPS)
    check_range("degrees", degrees, 0.0, 180.0)
    if crop == "padded" and not degrees:
        return padded
    first = padded if crop == "padded" else ResizedCrop(flip=padded.flip)
    length = padded.length if isinstance(padded, CutoutAugment) else 0
    if length and first is padded:
        first = Augment(padded.padding, padded.mode, padded.flip)
    return Turned(first=first, degrees=degrees, length=length) if degrees or length else first
