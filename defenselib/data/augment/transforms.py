"""The six image transformations of D-ST and D-BR (NeurIPS 2022, Sec. 4.1, App. C.5), batched, with draws of their own.

A transformation needs `numbers` uniform draws in [0, 1) a sample and is a pure function of images and draws. So one
draw of a whole data set, `draw(transform, n, generator)`, can be stored, indexed and used again: a score and the split
made of it see the same transformed images, whatever the batches. Images are uint8, or float in [0, 1], (B, 3, S, S);
what comes in is not changed, what goes out has the same type. What leaves the image is black (fill 0).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from defenselib.data.augment.geometry import box, gaussian, shifted, span, warp
from defenselib.errors import InvalidValueError, check_choice
from defenselib.seeds import generator as make_generator


class Transform(Protocol):
    """Maps images (B, 3, S, S) and draws (B, numbers) in [0, 1) to images of the same shape and type."""

    @property
    def numbers(self) -> int: ...

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor: ...


def draw(transform: Transform, n: int, generator: torch.Generator) -> Tensor:
    """Uniform draws for n samples, float32 (n, transform.numbers), on the generator's device."""
    return torch.rand(n, transform.numbers, generator=generator, device=generator.device)


@dataclass(frozen=True)
class Rotate:
    """Turn by an angle uniform in (-degrees, degrees) about the centre, counter-clockwise; nearest pixel, no growth."""

    degrees: float = 180.0
    numbers: ClassVar[int] = 1

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        angle = torch.deg2rad((2 * draws[:, 0] - 1) * self.degrees)
        cos, sin = angle.cos(), angle.sin()
        # From output to input; the vertical axis of an image points down.
        return warp(images.to(angle.dtype), cos, -sin, sin, cos, "nearest").to(images.dtype)


@dataclass(frozen=True)
class Affine:
    """Shift by whole pixels, rounded from a uniform share in (-translate, translate) of the side; no rotation."""

    translate: float = 0.2
    numbers: ClassVar[int] = 2

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        shift = ((2 * draws - 1) * self.translate * images.shape[-1]).round().long()
        return shifted(shifted(images, shift[:, 1], 2), shift[:, 0], 3)


@dataclass(frozen=True)
class Flip:
    """Horizontal flip, always."""

    numbers: ClassVar[int] = 0

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        return images.flip(-1)


@dataclass(frozen=True)
class Crop:
    """Crop of the image's size after padding by `padding` black pixels."""

    padding: int = 4
    numbers: ClassVar[int] = 2

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        corner = (draws * (2 * self.padding + 1)).long()
        return shifted(shifted(images, self.padding - corner[:, 0], 2), self.padding - corner[:, 1], 3)


@dataclass(frozen=True)
class Blur:
    """Gaussian blur, sigma uniform in (low, high) pixels, kernel of `kernel` pixels cut off, borders reflected."""

    kernel: int = 15
    low: float = 0.1
    high: float = 2.0
    numbers: ClassVar[int] = 1

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        size = images.shape[-1]
        if self.kernel // 2 >= size:
            raise InvalidValueError(f"a kernel of {self.kernel} pixels does not fit images of {size} pixels")
        matrix = self.matrix(draws[:, 0], size)[:, None]
        blurred = matrix @ images.to(matrix.dtype) @ matrix.transpose(-1, -2)
        return blurred if images.is_floating_point() else blurred.round_().clamp_(0, 255).to(images.dtype)

    def matrix(self, draws: Tensor, size: int) -> Tensor:
        """The blur along one axis as a matrix, (B, size, size): a convolution with a kernel for every sample."""
        return gaussian(self.low + (self.high - self.low) * draws, size, self.kernel // 2)


@dataclass(frozen=True)
class Erase:
    """Fill a rectangle with noise: its share of the image uniform in (low, high), height by width log-uniform in
    (narrow, wide), place uniform. Noise is uniform over the pixel values, from a fixed table read at a drawn place,
    so that a sample's draws stay a few numbers."""

    low: float = 0.2
    high: float = 0.3
    narrow: float = 0.5
    wide: float = 1.0
    numbers: ClassVar[int] = 5

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        size = images.shape[-1]
        top, left, height, width = self.boxes(draws, size).unbind(1)
        mask = box(span(top, height, size), span(left, width, size))
        table = _noise(images.device)
        first = (draws[:, 4] * len(table)).long()
        pixel = torch.arange(images[0].numel(), device=images.device)
        noise = table[(first[:, None] + pixel) % len(table)].view(images.shape)
        return torch.where(mask, noise / 255 if images.is_floating_point() else noise, images)

    def boxes(self, draws: Tensor, size: int) -> Tensor:
        """Top, left, height and width of every rectangle, int64 (B, 4)."""
        area = (self.low + (self.high - self.low) * draws[:, 0]) * size**2
        ratio = torch.exp(math.log(self.narrow) + math.log(self.wide / self.narrow) * draws[:, 1])
        height, width = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
        top, left = (draws[:, 2] * (size - height + 1)).floor(), (draws[:, 3] * (size - width + 1)).floor()
        return torch.stack([top, left, height, width], 1).long()


@dataclass(frozen=True)
class Compose:
    """Transformations one after the other; the draws are those of the parts, side by side."""

    parts: tuple[Transform, ...]

    @property
    def numbers(self) -> int:
        return sum(part.numbers for part in self.parts)

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        for part, columns in zip(self.parts, draws.split([part.numbers for part in self.parts], 1), strict=True):
            images = part(images, columns)
        return images


TRANSFORMS: dict[str, Callable[[], Transform]] = {
    "rotate": Rotate,
    "affine": Affine,
    "flip": Flip,
    "crop": Crop,
    "blur": Blur,
    "erase": Erase,
}


def named(names: str | Sequence[str]) -> Compose:
    """The transformations called so, in this order; D-ST's default is named(("rotate", "affine")).

    Raises UnknownNameError for a name not in `TRANSFORMS`, InvalidValueError for none.
    """
    names = (names,) if isinstance(names, str) else tuple(names)
    if not names:
        raise InvalidValueError(f"no transformation is named; there are {', '.join(TRANSFORMS)}")
    return Compose(tuple(TRANSFORMS[check_choice("transformation", name, TRANSFORMS)]() for name in names))


@functools.lru_cache(maxsize=4)
def _noise(device: torch.device) -> Tensor:
    """The table that `Erase` fills from, uint8 (2^20,), the same on every device."""
    return torch.randint(0, 256, (1 << 20,), dtype=torch.uint8, generator=make_generator(0, "erase")).to(device)
