"""Random crop and horizontal flip with per-sample parameters, as one gather on the device of the images; with Cutout
(DeVries, Taylor 2017), as ABL and CBD augment; crops of random size and turns, as the papers augment ImageNet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from defenselib.data.augment.geometry import box, mirrored, span
from defenselib.data.augment.transforms import Rotate, draw
from defenselib.data.augment.views import Views
from defenselib.data.tensors import constant, counting
from defenselib.errors import InvalidValueError, check_choice, check_range

PADDING_MODES = ("reflect", "zeros", "edge")
CROPS = ("padded", "resized")


@dataclass(frozen=True)
class Augment:
    """Random crop after padding by `padding` pixels, then a horizontal flip with probability one half.

    Example: `batch = Augment(flip=False)(train.images, index, generator)`.
    """

    padding: int = 4
    mode: str = "reflect"
    flip: bool = True

    def __post_init__(self) -> None:
        check_choice("padding mode", self.mode, PADDING_MODES)
        check_range("padding", self.padding, 0, 1 << 14)

    def __call__(self, images: Tensor, index: Tensor, generator: torch.Generator) -> Tensor:
        """Augmented copies of images[index].

        images: uint8 (N, 3, H, W), best in channels-last memory order (then nothing but the batch is read).
        index: int64 (B,). Returns uint8 (B, 3, H, W) in channels-last memory order.
        """
        shifts, uniform = self._numbers(len(index), generator)
        return self._cropped(images, index, shifts, uniform < 0.5)

    def together(self, images: Tensor, indices: Sequence[Tensor], generator: torch.Generator) -> Tensor:
        """`self(images, index, generator)` of one index after the other, the same draws and pixels, as one batch: the
        pixels of all of them move at once. uint8 (sum of lengths, 3, H, W)."""
        in_memory = images.is_contiguous(memory_format=torch.channels_last)  # files are read ahead index by index
        if type(self).__call__ is not Augment.__call__ or len(indices) == 1 or not in_memory:
            return torch.cat([self(images, index, generator) for index in indices])
        shifts, uniforms = zip(*(self._numbers(len(index), generator) for index in indices), strict=True)
        return self._cropped(images, torch.cat(list(indices)), torch.cat(shifts, 1), torch.cat(uniforms) < 0.5)

    def draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Vertical and horizontal shifts, int64 (n,) in [-padding, padding], and flips, bool (n,)."""
        shifts, uniform = self._numbers(n, generator)
        return shifts[0], shifts[1], (uniform < 0.5) & self.flip

    def _numbers(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        device = generator.device
        shifts = torch.randint(-self.padding, self.padding + 1, (2, n), generator=generator, device=device)
        return shifts, torch.rand(n, generator=generator, device=device)

    def _cropped(self, images: Tensor, index: Tensor, shifts: Tensor, flip: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        if max(self.padding + 1, 2) > min(height, width):
            raise InvalidValueError(f"padding {self.padding} does not fit images of {height} x {width} pixels")
        down, across = (counting(size, flip.device).expand(len(index), -1) for size in (height, width))
        if self.flip:
            across = torch.where(flip[:, None], width - 1 - across, across)
        if height == width:  # both axes at once
            both = torch.stack([down, across]) + shifts[:, :, None]
            places, (rows, columns) = (both[0], both[1]), self._source(both, width)
        else:
            places = down + shifts[0][:, None], across + shifts[1][:, None]
            rows, columns = self._source(places[0], height), self._source(places[1], width)
        if not images.is_contiguous(memory_format=torch.channels_last):
            images, index = _select(images, index)
        # Pixels are rows of three bytes: one index_select reads only what the batch needs. On one CPU thread this
        # does 225,000 images/s against 51,000 for four-dimensional indexing and 158,000 for shifted views.
        first = torch.add(rows, index[:, None], alpha=height)
        position = torch.add(columns[:, None, :], first[:, :, None], alpha=width)
        flat = images.permute(0, 2, 3, 1).reshape(-1, images.shape[1]).index_select(0, position.flatten())
        out = flat.view(len(index), height, width, -1).permute(0, 3, 1, 2)
        if self.mode == "zeros":
            out = out * box(_inside(places[0], height), _inside(places[1], width))
        return out

    def _source(self, place: Tensor, size: int) -> Tensor:
        """Which coordinate of the image is shown for one that may lie outside."""
        return mirrored(place, size) if self.mode == "reflect" else place.clamp(0, size - 1)


def _inside(place: Tensor, size: int) -> Tensor:
    return (place >= 0) & (place < size)


def _select(images: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    chosen = images[index].contiguous(memory_format=torch.channels_last)
    return chosen, counting(len(index), index.device)


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
