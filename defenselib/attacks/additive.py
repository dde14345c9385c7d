"""Grey levels added to images, and mixed with them in whole numbers."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import torch
from torch import Tensor

from defenselib.attacks.base import chunks
from defenselib.errors import InvalidValueError, check_range

# Sums of whole grey levels, done in float32 fractions of 255, must not fall to the level below.
ROUNDING = 1e-3
SHIFT = 22  # bits after the point of the fixed-point numbers; products stay below 2^31
STEPS = 10_000  # weights have at most four decimals, which is what SHIFT can hold exactly


def add(images: Tensor, levels: Tensor) -> Tensor:
    """floor(clamp(u + d, 0, 255)) as uint8, for images u, uint8 (N, 3, H, W), and d = `levels`, which broadcasts."""
    whole = (levels + ROUNDING).floor() if levels.is_floating_point() else levels
    return (images.int() + whole.to(images.device).int()).clamp_(0, 255).to(images.dtype)


def exact(weight: float) -> Fraction:
    """A weight of at most four decimals as the fraction that it stands for."""
    return Fraction(round(weight * STEPS), STEPS)


def check_weight(what: str, weight: float) -> None:
    """Raise InvalidValueError unless a weight lies in [0, 1] and has at most four decimals."""
    check_range(what, weight, 0.0, 1.0)
    if abs(weight * STEPS - round(weight * STEPS)) > 1e-6:
        raise InvalidValueError(f"{what} is {weight}, it may have at most four decimals")


class Mix(NamedTuple):
    """u -> (factor * u + offset) >> SHIFT, cut off to 0..255 where `clamp` says that it can leave that range.

    offset: int32 (3, size, size).
    """

    factor: int
    offset: Tensor
    clamp: bool = True

    @classmethod
    def of(cls, weight: Fraction, levels: Tensor, q: int, clamp: bool = True) -> Mix:
        """floor(weight u + levels / q), exact for u in 0..255 where `levels` are whole and weight is a multiple of 1/q.

        Half a unit added to the levels keeps the quotient away from whole numbers by 1/(2q), more than the rounding of
        factor and offset can bridge.
        """
        offset = ((levels + 0.5) / q * 2**SHIFT).floor().to(torch.int32)
        return cls(round(weight * 2**SHIFT), offset.contiguous(), clamp)

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 (N, 3, size, size) to the same."""
        offset, out = self.offset.to(images.device), torch.empty_like(images)
        # One int32 buffer that stays in cache: twice as fast as float32 on a CPU, and exact.
        wide = torch.empty(0, dtype=torch.int32, device=images.device)
        for part in chunks(images):
            if len(wide) != part.stop - part.start:
                wide = torch.empty(images[part].shape, dtype=torch.int32, device=images.device)
            wide.copy_(images[part])
            torch.add(offset, wide, alpha=self.factor, out=wide).bitwise_right_shift_(SHIFT)
            out[part].copy_(wide.clamp_(0, 255) if self.clamp else wide)
        return out
