"""Operations on batches of float images: on colours, one parameter a sample, as torchvision defines them for one image;
of RandAugment and CTAugment, one level in [0, 1] a sample.

Lists and ranges of the latter: UDA (Xie et al. 2020, App. on RandAugment) and ReMixMatch (Berthelot et al. 2020, Table
8). Every one is a function (images, level, where) -> images: images float (B, 3, H, W) in [0, 1]; level (B,); where
(B, 2), uniform numbers for what an operation places at random. Geometric ones map level 0.5 to no change.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from defenselib.data.augment.geometry import box, shifted, span, warp
from defenselib.data.tensors import constant

# Weights of ITU-R 601-2, as torchvision rounds them.
GRAY = (0.2989, 0.587, 0.114)
Operation = Callable[[Tensor, Tensor, Tensor], Tensor]


def gray(images: Tensor) -> Tensor:
    """Luminance (B, 1, ...) of images (B, 3, ...)."""
    red, green, blue = images.unbind(1)
    return (red * GRAY[0]).add_(green, alpha=GRAY[1]).add_(blue, alpha=GRAY[2]).unsqueeze(1)


def blend(images: Tensor, base: Tensor, factor: Tensor) -> Tensor:
    """factor * images + (1 - factor) * base, clamped to [0, 1]. factor: (B,)."""
    return torch.lerp(base, images, per_sample(factor, images)).clamp_(0, 1)


def shift_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Rotate the hue by `shift` turns, in [-0.5, 0.5]. images: float (B, 3, ...) in [0, 1]; shift: (B,)."""
    red, green, blue = images.unbind(1)
    high, low = images.amax(1), images.amin(1)
    chroma = high - low
    safe = torch.where(chroma > 0, chroma, torch.ones_like(chroma))
    # Hue in sixths of a turn, by which channel is the largest; grey pixels have chroma 0 and any hue will do.
    below = torch.where(high == green, (blue - red) / safe + 2, (red - green) / safe + 4)
    hue = torch.where(high == red, (green - blue) / safe, below)
    hue = hue + 6 * per_sample(shift, hue)
    offsets = constant((5.0, 3.0, 1.0), images.device).view(1, 3, *[1] * (images.ndim - 2))
    position = (hue.unsqueeze(1) + offsets).remainder_(6)
    weight = torch.minimum(position, 4 - position).clamp_(0, 1)
    return torch.addcmul(high.unsqueeze(1), weight, chroma.unsqueeze(1), value=-1)


def per_sample(values: Tensor, like: Tensor) -> Tensor:
    """(B,) as (B, 1, ..., 1) with the dimensions and dtype of `like`."""
    return values.to(like.dtype).view(-1, *[1] * (like.ndim - 1))


def identity(images: Tensor, level: Tensor, where: Tensor) -> Tensor:
    return images


def brightness(images: Tensor, level: Tensor, where: Tensor) -> Tensor:
    return blend(images, torch.zeros_like(images), _factor(level))


def contrast(images: Tensor, level: Tensor, where: Tensor) -> Tensor:
    return blend(images, gray(images).mean((2, 3), keepdim=True), _factor(level))


def color(images: Tensor, level: Tensor, where: Tensor) -> Tensor:
    return blend(images, gray(images), _factor(level))


def sharpness(images: Tensor, level: Tensor, where: Tensor) -> Tensor:
    return blend(images, _smoothed(images), _factor(level))


def smooth(images: Tensor, level: Tensor, where: Tensor) -> Tensor:
    """Blend with a 3x3 mean whose centre weighs 5; level 1 is all of it."""
    return blend(images, _smoothed(images), 1 - level)


def blur(images: Tensor, level: Tensor, where: Tensor) -> Tensor:
    """Blend with the mean over the border of a 5x5 square; level 1 is all of it."""
    kernel = torch.ones(5, 5, device=images.device)
    kernel[1:4, 1:4] = 0
    return blend(images, _filtered(images, kernel), 1 - level)


def invert(images: Tensor, level: Tensor, where: Tensor) -> Tensor:
    return blend(images, 1 - images, 1 - level)


def autocontrast(images: Tensor, level: Tensor, where: Tensor) -> Tensor:
    """Stretch each channel to [0, 1], blended by level."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    flat = high <= low
    stretched = (images - low) / torch.where(flat, torch.ones_like(high), high - low)
    return blend(images, torch.where(flat, images, stretched), 1 - level)


def equalize(images: Tensor, level: Tensor, where: Tensor) -> Tensor:
    """Histogram equalisation of each channel over 256 grey values, blended by level."""
    values = (images * 255).round().long().flatten(2)
    histogram = torch.zeros(*values.shape[:2], 256, device=images.device)
    histogram.scatter_add_(2, values, torch.ones_like(values, dtype=histogram.dtype))
    # The last grey value that occurs is not counted: it maps to white.
    last = values.amax(2, keepdim=True)
    step = ((histogram.sum(2, keepdim=True) - histogram.gather(2, last)) / 255).floor()
    table = ((histogram.cumsum(2) + (step / 2).floor()) / step.clamp(min=1)).floor()
    table = F.pad(table, (1, -1)).clamp(0, 255)
    equalised = torch.where(step > 0, table.gather(2, values), values.float()).view_as(images) / 255
    return blend(images, equalised, 1 - level)


def posterize(images: Tensor, level: Tensor, where: Tensor) -> Tensor:
    """Keep 4 to 8 bits; level 0 keeps 4."""
    width = 2.0 ** (4 - (4 * level).round())
    width = per_sample(width, images)
    return ((images * 255).round() / width).floor() * width / 255


def solarize(images: Tensor, level: Tensor, where: Tensor) -> Tensor:
    """Invert what is at least as bright as `level`."""
    return torch.where(images >= per_sample(level, images), 1 - images, images)


def rotate(images: Tensor, level: Tensor, where: Tensor) -> Tensor:
    """By up to 30 degrees either way, counter-clockwise above 0.5."""
    turn = (2 * level - 1) * math.radians(30)
    return warp(images, turn.cos(), -turn.sin(), turn.sin(), turn.cos())


def shear_x(images: Tensor, level: Tensor, where: Tensor) -> Tensor:
    one, zero = torch.ones_like(level), torch.zeros_like(level)
    return warp(images, one, 0.3 * (2 * level - 1), zero, one)


def shear_y(images: Tensor, level: Tensor, where: Tensor) -> Tensor:
    one, zero = torch.ones_like(level), torch.zeros_like(level)
    return warp(images, one, zero, 0.3 * (2 * level - 1), one)


def translate_x(images: Tensor, level: Tensor, where: Tensor) -> Tensor:
    """By whole pixels, up to 5/16 of the width either way (10 of 32 pixels), to the right above 0.5."""
    shift = ((2 * level - 1) * 0.3125 * images.shape[3]).round().long()
    return shifted(images, shift, 3)


def translate_y(images: Tensor, level: Tensor, where: Tensor) -> Tensor:
    """As `translate_x`, down above 0.5."""
    return shifted(images, ((2 * level - 1) * 0.3125 * images.shape[2]).round().long(), 2)


def rescale(images: Tensor, level: Tensor, where: Tensor) -> Tensor:
    """Enlarge the centre of the image; level 0 shows half of each side."""
    shown, zero = 0.5 + 0.5 * level, torch.zeros_like(level)
    return warp(images, shown, zero, zero, shown)


def cutout(images: Tensor, level: Tensor, where: Tensor) -> Tensor:
    """A grey square of level / 2 of the side around a random pixel; what lies outside the image is lost."""
    inside = []
    for size, place in zip(images.shape[2:], where.unbind(1), strict=True):
        side = (0.5 * size * level).round()
        inside.append(span((place * size).floor() - (side / 2).floor(), side, size))
    return images.masked_fill(box(*inside), 0.5)


def _factor(level: Tensor) -> Tensor:
    """From 0.1 to 1.9."""
    return 0.1 + 1.8 * level


def _smoothed(images: Tensor) -> Tensor:
    kernel = torch.ones(3, 3, device=images.device)
    kernel[1, 1] = 5
    return _filtered(images, kernel)


def _filtered(images: Tensor, kernel: Tensor) -> Tensor:
    """Weighted mean of the neighbourhood; the border, where there is none, stays as it is."""
    edge = len(kernel) // 2
    weight = (kernel / kernel.sum()).expand(images.shape[1], 1, *kernel.shape)
    out = images.clone()
    out[:, :, edge:-edge, edge:-edge] = F.conv2d(images, weight, groups=images.shape[1])
    return out


OPERATIONS: dict[str, Operation] = {
    "identity": identity,
    "autocontrast": autocontrast,
    "equalize": equalize,
    "invert": invert,
    "rotate": rotate,
    "posterize": posterize,
    "solarize": solarize,
    "color": color,
    "contrast": contrast,
    "brightness": brightness,
    "sharpness": sharpness,
    "shear_x": shear_x,
    "shear_y": shear_y,
    "translate_x": translate_x,
    "translate_y": translate_y,
    "cutout": cutout,
    "blur": blur,
    "smooth": smooth,
    "rescale": rescale,
}
# Those whose level only says how much of the outcome is blended in; RandAugment takes all of it.
BLENDED = ("autocontrast", "equalize", "invert")
