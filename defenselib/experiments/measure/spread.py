"""A few of many, spread evenly: what lies sorted by class is seen in all its classes."""

from __future__ import annotations

import torch
from torch import Tensor

from defenselib.data.types import ImageSet


def spread(index: Tensor, most: int) -> Tensor:
    """At most so many of the positions, int64 (n,)."""
    if len(index) <= most:
        return index
    return index[torch.arange(most, device=index.device) * len(index) // max(1, most)]


def spread_samples(data: ImageSet, most: int) -> ImageSet:
    """At most so many of the samples."""
    if len(data) <= most:
        return data
    return data.select(spread(torch.arange(len(data), device=data.labels.device), most))
