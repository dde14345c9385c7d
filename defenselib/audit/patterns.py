"""A patch or an overlay that many images of one class share and hardly any other image has.

In each class, directions are sought in which a part of it stands apart from all other classes: from its principal
directions (spectral signatures, Tran et al. 2018, of pixels in place of features) to the mean of those that stand
apart, again and again. A trigger is such a direction. So is what a class truly has in common, or a picture that was put
in twice; a pattern's `strength` weighs how far apart, how many, how much of this class alone, how unlike otherwise.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from defenselib.data.types import ImageSet
from defenselib.seeds import generator

LEAST = 4  # images that can be said to share something
MOST = 256  # more members add nothing to a pattern's strength
CHANCE = 0.01  # patterns as pure under random labels, in all comparisons together, below which it is no chance
APART = 4.5  # robust deviations of the other classes from which on an image stands apart
_DIRECTIONS, _ROUNDS, _KEPT = 6, 10, 3
LEAST_IMAGES = 2 * LEAST  # of a class, below which it is not searched
LEAST_OTHERS = 32  # images of other classes, below which they are no measure
_STARTS, _OTHERS = 800, 1500  # images of a class, and of the others, that are looked at while searching
_CHUNK = 64
_LOW = 8  # side in pixels at which images are compared as wholes


@dataclass(frozen=True)
class Pattern:
    """What some images of one class share.

    label: the class; members: positions, int64 ascending; apart: median deviation of the members from the other
    classes; rest: that of the upper tenth of the class's other images; purity: share of this class among all images
    that have it; share: that of this class among all images; chance: how many patterns as pure as this one the search
    would find if labels were drawn at random; diversity: how unlike the members are otherwise, 1 as images of the
    class, 0 for copies. deviations: (n,) of all images of the class, in the order of their positions.
    """

    label: int
    members: Tensor
    apart: float
    rest: float
    purity: float
    share: float
    chance: float
    diversity: float
    deviations: Tensor

    @property
    def own(self) -> float:
        """How much of this class alone it is, beyond chance: (purity - share) / (1 - share); 0 where labels at random
        would do as well.

        What images have whatever their label, as those of one camera, has a purity of `share` on average: in a class
        of more than half of the images, that alone is more than a half.
        """
        return (self.purity - self.share) / (1 - self.share) if self.chance < CHANCE else 0.0

    @property
    def strength(self) -> float:
        """apart (1 - rest / apart)^3 sqrt(members, at most 256) own^2 diversity.

        The third power: in a class of signs of one shape, images have more or less of what most of them share; of a
        trigger an image has all or nothing.
        """
        contrast = max(0.0, 1 - max(0.0, self.rest) / max(self.apart, 1e-6))
        return self.apart * contrast**3 * min(len(self.members), MOST) ** 0.5 * self.own**2 * self.diversity


def searched(labels: Tensor) -> list[int]:
    """The labels whose classes are large enough to be searched, in ascending order."""
    sizes = enumerate(torch.bincount(labels).tolist())
    return [label for label, size in sizes if size >= LEAST_IMAGES and len(labels) - size >= LEAST_OTHERS]


def not_searched(labels: Tensor, classes: Sequence[str]) -> list[str]:
    """The names of the other classes."""
    large = set(searched(labels))
    return [name for label, name in enumerate(classes) if label not in large]


def find_patterns(vectors: Tensor, data: ImageSet, seed: int) -> list[Pattern]:
    """The strongest patterns of each class, strongest first. vectors: unit rows (N, D) of `whitened`."""
    low = _averaged(data.images)
    found = []
    classes = len(data.labels.unique())
    for label in searched(data.labels):
        stream = generator(seed, "audit", "patterns", label)
        found += _of_class(vectors, low, data.labels == label, label, stream, classes)
    return sorted(found, key=lambda item: -item.strength)


def _averaged(images: Tensor) -> Tensor:
    """Images uint8 as float rows (N, 3 * 8 * 8), a few at a time: as floats all of them are four times as large."""
    return torch.cat([F.adaptive_avg_pool2d(part.float(), _LOW) for part in images.split(_CHUNK)]).flatten(1)


def seconds_for(count: int, classes: int, width: int) -> float:
    """Expected wall time of `find_patterns` of vectors (count, width), from products of that size on this processor."""
    vectors, columns = torch.zeros(1000, width), torch.zeros(width, 2 * _DIRECTIONS)
    started = time.monotonic()
    torch.relu(vectors @ columns)
    each = (time.monotonic() - started) / 1000
    rounds = (_ROUNDS + 1) * 1.5 * (classes * min(_OTHERS, count) + 2 * count)
    return each * (rounds + classes * count)


def _of_class(
    vectors: Tensor, low: Tensor, inside: Tensor, label: int, stream: torch.Generator, classes: int
) -> list[Pattern]:
    places = inside.nonzero().flatten()
    own, others = vectors[places], (~inside).nonzero().flatten()
    sample = others[torch.randperm(len(others), generator=stream)[:_OTHERS].to(others.device)]
    some = own[torch.randperm(len(own), generator=stream)[:_STARTS].to(own.device)]
    beside = vectors[sample]
    chosen = _search(own, some, beside)
    centre, spread = _reference(beside @ _direction(own, chosen))
    deviations = _left_out(own, chosen, centre, spread)
    cut = _cut(deviations, chosen)
    beyond = torch.zeros(chosen.shape[1], device=own.device)
    for part in others.split(4096):
        beyond += (((vectors[part] @ _direction(own, chosen)) - centre) / spread > cut).sum(0)
    size = chosen.sum(0)
    share, tries = len(own) / len(vectors), 2 * _DIRECTIONS * classes
    patterns = [
        Pattern(
            label=label,
            members=places[chosen[:, j]],
            apart=float(deviations[chosen[:, j], j].median()),
            rest=float(deviations[~chosen[:, j], j].quantile(0.9)) if bool((~chosen[:, j]).any()) else APART,
            purity=float(size[j] / (size[j] + beyond[j])),
            share=share,
            chance=tries * tail(int(size[j]), int(size[j] + beyond[j]), share),
            diversity=_diversity(low[places], chosen[:, j]),
            deviations=deviations[:, j],
        )
        for j in range(chosen.shape[1])
    ]
    return _distinct(patterns)


def tail(hits: int, count: int, share: float) -> float:
    """The chance of `hits` or more in `count` draws that hit with probability `share`, in (0, 1)."""
    found = torch.arange(hits, count + 1, dtype=torch.float64)
    total = torch.tensor(float(count), dtype=torch.float64)
    ways = torch.lgamma(total + 1) - torch.lgamma(found + 1) - torch.lgamma(total - found + 1)
    return float((ways + found * math.log(share) + (total - found) * math.log1p(-share)).logsumexp(0).exp())


def _search(own: Tensor, some: Tensor, beside: Tensor) -> Tensor:
    """Which images of the class belong to which pattern, bool (n, patterns)."""
    count = min(_DIRECTIONS, len(some))
    first = torch.linalg.eigh(some @ some.T).eigenvectors[:, -count:]
    start = own @ (some.T @ torch.cat([first, -first], 1))
    chosen = _highest(start, max(LEAST, len(own) // 20))
    for _ in range(_ROUNDS):
        centre, spread = _reference(beside @ _direction(own, chosen))
        deviations = _left_out(own, chosen, centre, spread)
        apart = (deviations > APART) | _highest(deviations, LEAST)
        new = (deviations > _cut(deviations, apart)) | _highest(deviations, LEAST)
        if bool((new == chosen).all()):
            break
        chosen = new
    return chosen


def _direction(own: Tensor, chosen: Tensor) -> Tensor:
    """Mean vector of each pattern's members, (D, patterns)."""
    return own.T @ chosen.float() / chosen.sum(0)


def _reference(projected: Tensor) -> tuple[Tensor, Tensor]:
    """Median and robust standard deviation of the other classes, (patterns,) each."""
    centre = projected.median(0).values
    return centre, (projected - centre).abs().median(0).values * 1.4826 + 1e-9


def _left_out(own: Tensor, chosen: Tensor, centre: Tensor, spread: Tensor) -> Tensor:
    """Deviations (n, patterns) along the mean of the members; of a member, along the mean of the other members."""
    projected, size = own @ _direction(own, chosen), chosen.sum(0).float()
    without = (size * projected - 1) / (size - 1)  # a unit vector's product with itself is 1
    return (torch.where(chosen, without, projected) - centre) / spread


def _cut(deviations: Tensor, chosen: Tensor) -> Tensor:
    """Half of the members' median, and no less than APART, (patterns,)."""
    return (deviations.masked_fill(~chosen, torch.nan).nanmedian(0).values / 2).clamp_min(APART)


def _highest(values: Tensor, count: int) -> Tensor:
    """The `count` highest of each column, as bool of the same shape."""
    return torch.zeros_like(values, dtype=torch.bool).scatter_(0, values.topk(count, 0).indices, True)


def _diversity(low: Tensor, chosen: Tensor) -> float:
    """Median distance between members over that between images of the class, at most 1."""
    members, everyone = low[chosen][:200], low[:: max(1, len(low) // 200)]
    between = torch.pdist(members).median()
    return float((between / torch.pdist(everyone).median().clamp_min(1e-6)).clamp_max(1.0))


def _distinct(patterns: list[Pattern]) -> list[Pattern]:
    """The strongest ones, none of which has most of its members in a stronger one."""
    kept: list[tuple[Pattern, set[int]]] = []
    for item in sorted(patterns, key=lambda item: -item.strength):
        members = set(item.members.tolist())
        if all(2 * len(members & other) < min(len(members), len(other)) for _, other in kept):
            kept.append((item, members))
    return [item for item, _ in kept[:_KEPT]]
