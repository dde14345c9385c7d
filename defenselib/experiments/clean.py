"""Serving a defense the clean samples that its paper grants it."""

from __future__ import annotations

import torch
from torch import Tensor

from defenselib.data.types import ImageSet, PoisonedDataset
from defenselib.defenses.base import CleanRequest
from defenselib.errors import InvalidValueError
from defenselib.seeds import generator


def serve(
    request: CleanRequest, poisoned: PoisonedDataset, seed: int, other: ImageSet | None = None
) -> tuple[ImageSet, Tensor | None]:
    """Clean samples and, for a request `inside` the training set, their int64 positions in it (sorted).

    They are drawn from the truly clean training samples (neither poisoned nor noise samples), or from `other`, by
    the stream "clean". `poisoned` of those of the target class are poisoned samples in fact (ASD Sec. 5.4). Of another
    data set's classes those count whose numbers the training set has: how else they would map to it, no paper says.
    """
    pool = poisoned.train if other is None else other
    labels = pool.labels.cpu()
    benign = torch.ones_like(labels, dtype=torch.bool)
    if other is None:
        benign = ~(poisoned.is_poisoned | poisoned.is_cross).cpu()
    else:
        benign = labels <= poisoned.train.labels.max().cpu()
    draw = generator(seed, "clean")
    if request.per_class is not None:
        chosen = _per_class(request, labels, benign, poisoned, draw)
    elif request.share is not None:
        count = round(request.share * len(poisoned.train))
        chosen = _draw(torch.nonzero(benign).squeeze(1), count, draw, "the clean samples")
    else:
        raise InvalidValueError("a CleanRequest needs per_class or share")
    index = chosen.sort().values.to(pool.labels.device)
    return pool.select(index), index if request.inside and other is None else None


def _per_class(
    request: CleanRequest, labels: Tensor, benign: Tensor, poisoned: PoisonedDataset, draw: torch.Generator
) -> Tensor:
    assert request.per_class is not None
    if request.poisoned > request.per_class:
        raise InvalidValueError(f"{request.poisoned} poisoned samples among {request.per_class} a class")
    if request.poisoned and (poisoned.target is None or len(labels) != len(poisoned.train)):
        raise InvalidValueError("poisoned samples among the clean ones need a target class in the training set")
    chosen = []
    for label in labels[benign].unique().tolist():
        bad = request.poisoned if label == poisoned.target else 0
        mine = labels == label
        chosen.append(
            _draw(torch.nonzero(mine & benign).squeeze(1), request.per_class - bad, draw, f"clean class {label}")
        )
        if bad:
            candidates = torch.nonzero(mine & poisoned.is_poisoned.cpu()).squeeze(1)
            chosen.append(_draw(candidates, bad, draw, "the poisoned samples"))
    return torch.cat(chosen)


def _draw(candidates: Tensor, count: int, draw: torch.Generator, what: str) -> Tensor:
    if count > len(candidates):
        raise InvalidValueError(f"{count} samples are granted but {what} has only {len(candidates)}")
    return candidates[torch.randperm(len(candidates), generator=draw)[:count]]
