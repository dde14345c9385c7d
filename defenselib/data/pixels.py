"""The one way from stored pixels to model input."""

from __future__ import annotations

import torch
from torch import Tensor


def to_float(images: Tensor) -> Tensor:
    """uint8 (N, 3, H, W) to float32 in [0, 1], in channels-last memory order."""
    return images.to(torch.float32, memory_format=torch.channels_last).div_(255)
