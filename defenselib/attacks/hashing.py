"""Draws that follow from a sample's number alone: the same in every batch, on every device."""

from __future__ import annotations

from torch import Tensor

WORD = 0xFFFFFFFF


def mix(x: Tensor) -> Tensor:
    """One-to-one mixing of 32-bit numbers held in int64 (multipliers from a public search for little bias; below 2^31,
    so that no product overflows)."""
    x = (x ^ (x >> 16)).mul_(0x21F0AAAD).bitwise_and_(WORD)
    x = (x ^ (x >> 15)).mul_(0x735A2D97).bitwise_and_(WORD)
    return x ^ (x >> 15)


def uniform(index: Tensor, seed: int) -> Tensor:
    """Numbers in (0, 1), float64, as if drawn: each follows from `seed` and its own `index` (int64) alone."""
    x = index & WORD
    for key in (seed & WORD, seed >> 32):
        x = mix(x ^ key)
    return (x.double() + 0.5) / (1 << 32)
