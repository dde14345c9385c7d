"""Signs that need neither search nor network: sizes of classes, and images that are there twice, exactly or almost
(encoded anew, brighter, resized, with a small patch)."""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from defenselib.audit.results import Sign
from defenselib.data.types import ImageSet
from defenselib.plots.words import plural

SIDE = 8  # images are averaged to so many fields a side
_WHOLE = 3 * SIDE**2  # coordinates of an image; those of its inner fields follow
# Cosine from which on two images are near duplicates. Measured on 20,000 training images of CIFAR-10 and of GTSRB at 32
# pixels: none and 1.5 % of them are so alike to one of another class (of all 50,000 and 39,209: none and 1.9 %; signs
# in the dark resemble each other). Of copies put among them are found: JPEG of quality 75, 100 and 79 %; brighter by 20
# grey levels, 99.8 % and all; halved and enlarged again, 98 and 85 %; with a white patch in a corner, 3x3 pixels: all,
# 4x4: 100 and 78 %. Of 8,000 signs 0.98 tells twice as many of two classes; 0.99 misses three JPEG copies in ten.
ALIKE = 0.985
FLAT = 1.0  # grey levels: images of a smaller standard deviation are not compared, for their noise decides
# The mean is taken as if so many flat images were there as well: without them two images would be opposites.
_STEADY = 32
_BLOCK = 2048
_CHUNK = 256


def pictures(images: Tensor) -> list[bytes]:
    """A key of each image uint8 (N, 3, S, S): equal where all pixels are."""
    return [hashlib.sha256(image.contiguous().numpy().tobytes()).digest() for image in images.cpu()]


def class_sizes(data: ImageSet, classes: tuple[str, ...]) -> Sign:
    """How many images each class has: poison with false labels makes its class larger."""
    counts = torch.bincount(data.labels.cpu(), minlength=len(classes))
    usual, largest = float(counts.float().median()), int(counts.argmax())
    words = (
        f"The largest class, {classes[largest]}, has {plural(int(counts[largest]), 'image')}; the median is "
        f"{usual:g}. Sizes alone prove nothing."
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
    found = pd.Series(scores.cpu().double().numpy()).rank() - 1
    return torch.tensor((found / max(1, found.count() - 1)).to_numpy(), dtype=torch.float32, device=scores.device)


def near_duplicates(data: ImageSet, classes: tuple[str, ...], block: int = _BLOCK) -> Sign:
    """Images that are almost the same as another one: 1 where one of those has another label, 0.5 where all have this
    one, else 0; NaN for flat images, which are not compared. Exact copies count too.

    What most images have in common is taken off before: copies that are most of the data are not found. All pairs are
    looked at, `block` by `block` images at a time, on the device of the data.
    """
    vectors, flat = described(data.images)
    labels = data.labels.to(vectors.device)
    scores = _scores(vectors, labels, block).masked_fill(flat, torch.nan).cpu()
    near, torn, dull = int((scores > 0).sum()), int((scores == 1).sum()), int(flat.sum())
    compared = f" {plural(dull, 'flat image', 'was', 'were')} not compared." if dull else ""
    words = (
        f"{near} images are almost the same as another one, exact copies among them; {torn} of them as one of another "
        f"label.{compared} So are series of one scene: this alone decides nothing."
    )
    counts = torch.bincount(data.labels.cpu()[scores > 0], minlength=len(classes))
    per_class = dict(zip(classes, map(float, counts), strict=True))
    return Sign("near_duplicates", "Near duplicates", scores, per_class, words)


def seconds_for(images: Tensor, device: torch.device) -> float:
    """Expected wall time of `near_duplicates` of images uint8 (N, 3, S, S), from some of them on this machine, now."""
    some = images[:_CHUNK]
    vectors = described(some[:1])[0].to(device).expand(_BLOCK, -1).contiguous()
    taken = []
    for _ in range(2):  # the first may wake a device
        started = time.monotonic()
        described(some.to(device))[0].cpu()
        averaged = time.monotonic()
        _ = bool(_near(vectors, vectors).any())
        blocks = (len(images) / _BLOCK) ** 2 / 2
        taken.append((averaged - started) * len(images) / len(some) + (time.monotonic() - averaged) * blocks)
    return min(taken)


def described(images: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors float32 (N, 300) of images uint8 (N, 3, S, S), and which images are flat, bool (N,).

    The first 192 coordinates are a unit vector of the averages of 8 by 8 fields, the others one of the 6 by 6 inner
    fields: in those a patch at the border leaves no trace. Each is without the mean of each channel (so that neither
    light nor hue counts), and without what the images have in common; zero where that is flat.
    """
    small = torch.cat([F.adaptive_avg_pool2d(chunk.float(), SIDE) for chunk in images.split(_CHUNK)])
    (whole, flat), (inner, _) = _unit(small), _unit(small[:, :, 1:-1, 1:-1])
    return torch.cat([whole, inner], 1), flat


def _unit(fields: Tensor) -> tuple[Tensor, Tensor]:
    found = (fields - fields.mean((2, 3), keepdim=True)).flatten(1)
    flat = found.square().mean(1).sqrt() < FLAT
    found -= found.sum(0) / (len(found) + _STEADY)
    found /= found.norm(dim=1, keepdim=True).clamp_min(1e-6)
    return found.masked_fill_(flat[:, None], 0.0), flat


def _near(one: Tensor, other: Tensor) -> Tensor:
    """Which images of one block are alike to which of another, as a whole or within, bool (n, m)."""
    return (one[:, :_WHOLE] @ other[:, :_WHOLE].T >= ALIKE) | (one[:, _WHOLE:] @ other[:, _WHOLE:].T >= ALIKE)


def _scores(vectors: Tensor, labels: Tensor, block: int) -> Tensor:
    """The sign's scores, float (N,), from each pair of blocks once."""
    found = torch.zeros(len(vectors), device=vectors.device)
    for a in range(0, len(vectors), block):
        for b in range(a, len(vectors), block):
            near = _near(vectors[a : a + block], vectors[b : b + block])
            if a == b:
                near.fill_diagonal_(False)
            if not bool(near.any()):  # most blocks, and all others cost more
                continue
            torn = near & (labels[a : a + block, None] != labels[b : b + block])
            for start, dim in ((a, 1), (b, 0)):
                mine = found[start : start + block]
                mine.copy_(torch.maximum(mine, (near.any(dim).float() + torn.any(dim).float()) / 2))
    return found
