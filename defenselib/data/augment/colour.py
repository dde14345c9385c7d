"""Colour operations on batches of float images, one parameter a sample, as torchvision defines them for one image."""

from __future__ import annotations

import torch
from torch import Tensor

from defenselib.data.constants import constant

# Weights of ITU-R 601-2, as torchvision rounds them.
GRAY = (0.2989, 0.587, 0.114)


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
