"""Random views for contrastive learning (SimCLR, Chen et al. 2020, App. A) as batched tensor code.

Every sample has its own parameters; resizing and blur are products with one small matrix a sample and axis, which a
GPU and one CPU thread both do fast.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from defenselib.data.augment.geometry import gaussian
from defenselib.data.augment.operations import blend, gray, per_sample, shift_hue
from defenselib.data.tensors import constant
from defenselib.errors import InvalidValueError, check_range

# Gaussian blur is cut off at three times the largest sigma.
_CUT = 3.0
_TRIES = 10


@dataclass(frozen=True)
class Drawn:
    """Parameters of B views. box: int64 (B, 4), top, left, height, width; flip, grayscale: bool (B,);
    factors: float (B, 3) of brightness, contrast, saturation; hue: (B,), turns; order: int64 (B, 3), which of the
    three factors comes first, second, third: of them, i * 4 // B come before the hue of sample i; sigma: (B,), pixels,
    0 for no blur."""

    box: Tensor
    flip: Tensor
    factors: Tensor
    hue: Tensor
    order: Tensor
    grayscale: Tensor
    sigma: Tensor


@dataclass(frozen=True)
class Views:
    """RandomResizedCrop, flip, colour jitter, grayscale, Gaussian blur.

    scale: smallest share of the area that a crop keeps, its aspect ratio lies in [3/4, 4/3]; jitter: strengths of
    brightness, contrast, saturation and hue, which come in random order with probability jitter_p; grayscale_p,
    blur_p: probabilities; sigma: range of the blur, in pixels.

    Example: `one, two = (views(train.images, index, generator) for _ in range(2))`.
    """

    scale: float = 0.2
    flip: bool = True
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.1)
    jitter_p: float = 0.8
    grayscale_p: float = 0.2
    blur_p: float = 0.5
    sigma: tuple[float, float] = (0.1, 2.0)

    def __post_init__(self) -> None:
        check_range("scale", self.scale, 1e-6, 1.0)
        for what in ("jitter_p", "grayscale_p", "blur_p"):
            check_range(what, getattr(self, what), 0.0, 1.0)
        if len(self.jitter) != 4 or min(self.jitter) < 0 or self.jitter[3] > 0.5:
            raise InvalidValueError(f"jitter is {self.jitter}, it must be four strengths, that of the hue at most 0.5")
        if not 0 < self.sigma[0] <= self.sigma[1]:
            raise InvalidValueError(f"sigma is {self.sigma}, it must be a range of positive pixels")

    def __call__(self, images: Tensor, index: Tensor, generator: torch.Generator) -> Tensor:
        """Views of images[index].

        images: uint8 (N, 3, H, W), best in channels-last memory order; index: int64 (B,).
        Returns float32 (B, 3, H, W) in [0, 1], in channels-last memory order.
        """
        # In each batch a quarter of the samples has its hue shifted before, between and after the other colours. The
        # quarters are slices of a random order, so that neither host nor device waits for the other.
        order = torch.randperm(len(index), generator=generator, device=generator.device)
        drawn = self.draw(len(index), images.shape[-2], images.shape[-1], generator)
        made = self.apply(images, index[order], drawn)
        out = torch.empty_like(made, memory_format=torch.channels_last)
        return out.index_copy_(0, order, made)

    def draw(self, n: int, height: int, width: int, generator: torch.Generator) -> Drawn:
        """Parameters of n views, for samples in random order."""

        def uniform(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=generator, device=generator.device)

        box = self._boxes(uniform(4, n, _TRIES), height, width)
        jitter = uniform(n) < self.jitter_p
        spread = (2 * uniform(n, 4) - 1) * constant(tuple(self.jitter), generator.device) * jitter[:, None]
        low, high = self.sigma
        sigma = (low + (high - low) * uniform(n)) * (uniform(n) < self.blur_p)
        return Drawn(
            box=box,
            flip=(uniform(n) < 0.5) & self.flip,
            factors=(1 + spread[:, :3]).clamp_(min=0),
            hue=spread[:, 3],
            order=uniform(n, 3).argsort(1),
            grayscale=uniform(n) < self.grayscale_p,
            sigma=sigma,
        )

    def _boxes(self, random: Tensor, height: int, width: int) -> Tensor:
        """Crops as torchvision draws them: the first of ten tries that fits, else all of the image."""
        area = height * width * (self.scale + (1 - self.scale) * random[0])
        ratio = torch.exp(math.log(3 / 4) + (math.log(4 / 3) - math.log(3 / 4)) * random[1])
        wide, tall = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
        fits = (wide <= width) & (tall <= height) & (wide > 0) & (tall > 0)
        first = fits.int().argmax(1, keepdim=True)
        tall = torch.where(fits, tall, height).gather(1, first)
        wide = torch.where(fits, wide, width).gather(1, first)
        top = (random[2].gather(1, first) * (height - tall + 1)).floor()
        left = (random[3].gather(1, first) * (width - wide + 1)).floor()
        return torch.cat([top, left, tall, wide], 1).long()

    def apply(self, images: Tensor, index: Tensor, drawn: Drawn) -> Tensor:
        """Views of images[index] with these parameters: float32 (B, 3, H, W) in [0, 1]."""
        out = self._crop(images, index, drawn)
        if any(self.jitter) and self.jitter_p > 0:
            out = self._colours(out, drawn)
        if self.grayscale_p > 0:
            out = torch.lerp(out, gray(out), per_sample(drawn.grayscale, out))
        if self.blur_p > 0:
            out = blur(out, drawn.sigma, math.ceil(_CUT * self.sigma[1]))
        return out

    @staticmethod
    def _crop(images: Tensor, index: Tensor, drawn: Drawn) -> Tensor:
        height, width = images.shape[-2:]
        top, left, tall, wide = drawn.box.unbind(1)
        rows = resize_weights(top, tall, torch.zeros_like(drawn.flip), height).mul_(1 / 255)
        columns = resize_weights(left, wide, drawn.flip, width)
        pixels = images.permute(0, 2, 3, 1)[index].reshape(len(index), height, -1).float()
        out = torch.bmm(rows, pixels).view(len(index), height, width, 3)
        out = torch.bmm(out.permute(0, 3, 1, 2).reshape(len(index), -1, width), columns.transpose(1, 2))
        return out.view(len(index), 3, height, width).clamp_(0, 1)

    def _colours(self, images: Tensor, drawn: Drawn) -> Tensor:
        edges = [-(-step * len(images) // 4) for step in range(5)]
        for step in range(4):
            if self.jitter[3] > 0 and edges[step] < edges[step + 1]:
                part = slice(edges[step], edges[step + 1])
                images[part] = shift_hue(images[part], drawn.hue[part])
            if step == 3:
                break
            which = drawn.order[:, step]
            factor = drawn.factors.gather(1, which[:, None]).squeeze(1)
            luminance = gray(images)
            # Brightness pulls towards black, contrast towards the mean luminance, saturation towards each pixel's.
            base = luminance * per_sample(which == 2, images)
            base = base.addcmul_(luminance.mean((2, 3), keepdim=True), per_sample(which == 1, images))
            images = blend(images, base, factor)
        return images


def resize_weights(start: Tensor, length: Tensor, flip: Tensor, size: int) -> Tensor:
    """Matrices (B, size, size) that enlarge the pixels start .. start + length - 1 to `size` bilinearly.

    start, length: int64 (B,); flip: bool (B,), mirrors the result. Rows are outputs, columns inputs.
    """
    pixel = torch.arange(size, device=start.device, dtype=torch.float32)
    out = torch.where(flip[:, None], size - 1 - pixel, pixel)
    source = (out + 0.5) * (length / size)[:, None] - 0.5
    source = source.clamp_(min=0).minimum((length - 1)[:, None]).add_(start[:, None])
    return (source[:, :, None] - pixel).abs_().neg_().add_(1).clamp_(min=0)


def blur(images: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """Gaussian blur cut off at `radius` pixels, borders reflected. sigma: (B,), pixels; 0 leaves the image.

    images: float (B, 3, H, W).
    """
    n, channels, height, width = images.shape
    rows = gaussian(sigma, height, radius)
    columns = rows if height == width else gaussian(sigma, width, radius)
    out = torch.bmm(images.reshape(n, -1, width), columns.transpose(1, 2)).view(n, channels, height, width)
    return torch.matmul(rows[:, None], out)
