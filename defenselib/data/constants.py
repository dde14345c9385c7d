"""Numbers that a step needs on its device, made there once. Nobody may write into them."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


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
