"""The pattern of the suspects as a picture, and what a network says when it is put on other images."""

from __future__ import annotations

import torch
from torch import Tensor

from defenselib.audit.patterns import Pattern
from defenselib.data.types import ImageSet
from defenselib.learning.batches import infer
from defenselib.learning.context import Context
from defenselib.models import Classifier
from defenselib.seeds import generator

_ALIKE = 0.5  # of the usual spread: pixels that vary less than this among the suspects are taken as replaced
_MOST = 1000  # images from which means and spreads are taken
_TRIED = 256


def estimate(data: ImageSet, pattern: Pattern, seed: int) -> tuple[Tensor, Tensor]:
    """Mean difference float (3, S, S) in grey levels of the members from images without the pattern, and where the
    members are alike, float (S, S) in [0, 1].

    The images without it are the rest of the class or the other classes, whichever is nearer: poison with its own label
    is compared with its class, poison with a false label with what it was made of.
    """
    members = data.images[pattern.members[:_MOST]].float()
    outside = torch.ones(len(data), dtype=torch.bool, device=data.labels.device)
    outside[pattern.members] = False
    own = outside & (data.labels == pattern.label)
    pools = [pool for pool in (own, outside & ~own) if int(pool.sum()) >= 2]
    references = [data.images[_some(pool, seed)].float() for pool in pools]
    reference = min(references, key=lambda item: float((members.mean(0) - item.mean(0)).abs().mean()))
    alike = 1 - members.std(0).mean(0) / reference.std(0).mean(0).clamp_min(1.0)
    return members.mean(0) - reference.mean(0), alike.clamp(0.0, 1.0)


def put_on(images: Tensor, data: ImageSet, pattern: Pattern, seed: int) -> Tensor:
    """Images uint8 (N, 3, S, S) with the pattern: where the members are alike their mean, elsewhere the difference."""
    difference, alike = estimate(data, pattern, seed)
    same = (alike > _ALIKE).float()
    mean = data.images[pattern.members[:_MOST]].float().mean(0)
    found = same * mean + (1 - same) * (images.float() + difference)
    return found.round().clamp(0, 255).to(torch.uint8)


def success(model: Classifier, data: ImageSet, pattern: Pattern, context: Context, seed: int) -> tuple[float, float]:
    """Share of images of other classes that the network takes for the pattern's class, with the pattern and without."""
    chosen = _some(data.labels != pattern.label, seed)[:_TRIED]
    plain = data.images[chosen]

    def share(images: Tensor) -> float:
        found = infer(model, images, context, lambda logits, _: logits.argmax(1))
        return float((found == pattern.label).float().mean())

    return share(put_on(plain, data, pattern, seed)), share(plain)


def _some(pool: Tensor, seed: int) -> Tensor:
    places = pool.nonzero().flatten()
    order = torch.randperm(len(places), generator=generator(seed, "audit", "some"))
    return places[order[:_MOST].to(places.device)]
