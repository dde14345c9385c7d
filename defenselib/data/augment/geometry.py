"""Where pixels come from and which are meant, for batches with parameters (B,) of their own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def span(start: Tensor, length: Tensor | int, size: int) -> Tensor:
    """Which of the coordinates 0 .. size - 1 lie in [start, start + length), bool (B, size)."""
    place = torch.arange(size, device=start.device)
    return (place >= start[:, None]) & (place < (start + length)[:, None])


def box(rows: Tensor, columns: Tensor) -> Tensor:
    """The pixels (B, 1, H, W) whose row, bool (B, H), and column, bool (B, W), are meant."""
    return rows[:, None, :, None] & columns[:, None, None, :]


def shifted(images: Tensor, by: Tensor, axis: int) -> Tensor:
    """Images (B, C, H, W) moved by whole pixels, int64 (B,), down (axis 2) or to the right (axis 3); black comes in."""
    size, shape = images.shape[axis], [-1, 1, 1, 1]
    shape[axis] = size
    source = torch.arange(size, device=images.device) - by[:, None]
    inside = (source >= 0) & (source < size)
    return images.gather(axis, source.clamp(0, size - 1).view(shape).expand_as(images)) * inside.view(shape)


def warp(images: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, mode: str = "bilinear") -> Tensor:
    """The pixel (x, y) from the centre, y downwards, shows the float input at (a x + b y, c x + d y); black outside."""
    height, width = images.shape[2:]
    zero = torch.zeros_like(a)
    rows = torch.stack([a, b * (height / width), zero, c * (width / height), d, zero], 1)
    grid = F.affine_grid(rows.view(-1, 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode=mode, padding_mode="zeros", align_corners=False)


def mirrored(place: Tensor, size: int) -> Tensor:
    """Coordinates outside 0 .. size - 1 reflected at the border, which is not repeated."""
    return size - 1 - (size - 1 - place.abs()).abs()


def gaussian(sigma: Tensor, size: int, radius: int) -> Tensor:
    """Matrices (B, size, size) of one-dimensional Gaussian blurs cut off at `radius` pixels, with reflected borders.

    sigma: (B,), pixels; 0 leaves the image.
    """
    radius = min(radius, size - 1)
    offset = torch.arange(-radius, radius + 1, device=sigma.device, dtype=torch.float32)
    kernel = torch.softmax(-0.5 * (offset / sigma.clamp(min=0.01)[:, None]) ** 2, 1)
    source = mirrored(torch.arange(size, device=sigma.device)[:, None] + offset.long(), size)
    # One 0/1 matrix says which tap of the kernel reads which pixel.
    taps = torch.zeros(len(offset), size, size, device=sigma.device)
    tap = torch.arange(len(offset), device=sigma.device).expand(size, -1)
    row = torch.arange(size, device=sigma.device)[:, None].expand(-1, len(offset))
    taps.index_put_((tap, row, source), torch.ones((), device=sigma.device), accumulate=True)
    return (kernel @ taps.view(len(offset), -1)).view(-1, size, size)
