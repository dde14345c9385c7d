"""Numbers that a step needs on its device, copied there once."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=64)
def constant(values: tuple[float, ...], device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """`torch.tensor(values, dtype=dtype, device=device)`, kept: a copy from the host makes it wait for the device, and
    cannot be recorded in a CUDA graph. Nobody may write into it."""
    return torch.tensor(values, dtype=dtype, device=device)
