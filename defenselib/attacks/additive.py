"""Grey levels added to images."""

from __future__ import annotations

from torch import Tensor

# Sums of whole grey levels, done in float32 fractions of 255, must not fall to the level below.
ROUNDING = 1e-3


def add(images: Tensor, levels: Tensor) -> Tensor:
    """floor(clamp(u + d, 0, 255)) as uint8, for images u, uint8 (N, 3, H, W), and d = `levels`, which broadcasts."""
    whole = (levels + ROUNDING).floor() if levels.is_floating_point() else levels
    return (images.int() + whole.to(images.device).int()).clamp_(0, 255).to(images.dtype)
