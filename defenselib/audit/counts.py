"""Signs that need neither search nor network: sizes of classes, and images that are there twice."""

from __future__ import annotations

import hashlib
from collections import defaultdict

import torch
from torch import Tensor

from defenselib.audit.signs import Sign
from defenselib.data.types import ImageSet


def pictures(images: Tensor) -> list[bytes]:
    """A key of each image uint8 (N, 3, S, S): equal where all pixels are."""
    return [hashlib.sha256(image.contiguous().numpy().tobytes()).digest() for image in images.cpu()]


def class_sizes(data: ImageSet, classes: tuple[str, ...]) -> Sign:
    """How many images each class has: poison with false labels makes its class larger."""
    counts = torch.bincount(data.labels.cpu(), minlength=len(classes))
    usual, largest = float(counts.float().median()), int(counts.argmax())
    words = (
        f"The largest class, {classes[largest]}, has {int(counts[largest])} images; the median is {usual:g}. "
        "Sizes alone prove nothing."
    )
    nothing = torch.full((len(data),), torch.nan)
    return Sign("sizes", "Class sizes", nothing, dict(zip(classes, map(float, counts), strict=True)), words)


def duplicates(data: ImageSet, classes: tuple[str, ...]) -> Sign:
    """Images of exactly the same pixels: 1 where a copy has another label, 0.5 where all have this one, else 0."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for place, key in enumerate(pictures(data.images)):
        groups[key].append(place)
    labels, found = data.labels.cpu(), torch.zeros(len(data))
    per_class = dict.fromkeys(classes, 0.0)
    torn = 0
    for places in groups.values():
        if len(places) > 1:
            apart = len(set(labels[places].tolist())) > 1
            torn += len(places) * apart
            found[places] = 1.0 if apart else 0.5
            for place in places:
                per_class[classes[int(labels[place])]] += 1
    copies = int((found > 0).sum())
    words = f"{copies} images are there more than once, pixel by pixel; {torn} of them under different labels."
    return Sign("duplicates", "Exact duplicates", found, per_class, words)


def ranks(scores: Tensor) -> Tensor:
    """Share of the images that a score exceeds, float (N,) in [0, 1]; ties share theirs, NaN stays NaN."""
    known = ~scores.isnan()
    values = scores[known].double().contiguous()
    order = values.sort().values
    below = torch.searchsorted(order, values, right=False) + torch.searchsorted(order, values, right=True) - 1
    found = torch.full(scores.shape, torch.nan, dtype=torch.float64, device=scores.device)
    found[known] = below.double() / 2 / max(1, len(values) - 1)
    return found.float()
