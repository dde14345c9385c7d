"""The one way from stored pixels to model input, and numbers that a step needs on its device, made there once:
nobody may write into those."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


def to_float(images: Tensor) -> Tensor:
    """uint8 (N, 3, H, W) to float32 in [0, 1], in channels-last memory order."""
    return images.to(torch.float32, memory_format=torch.channels_last).div_(255)


@lru_cache(maxsize=64)
def constant(values: tuple[float, ...], device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """`torch.tensor(values, dtype=dtype, device=device)`, kept: a copy from the host makes it wait for the device, and
    cannot be recorded in a CUDA graph."""
    return torch.tensor(values, dtype=dtype, device=device)


@lru_cache(maxsize=64)
def counting(count: int, device: torch.device) -> Tensor:
    """`torch.arange(count, device=device)`, kept."""
    return torch.arange(count, device=device)


@lru_cache(maxsize=64)
def identity(count: int, device: torch.device) -> Tensor:
    """`torch.eye(count, device=device)`, kept."""
    return torch.eye(count, device=device)
