"""How BSD divides a training set: open-set and loss splits, completion and dropping (BSD Sec. 4).

Pools are sorted int64 positions in the training set. A share r of n samples is round(r n) of them, the highest scores
first and equal ones in index order: the percentiles of the equations without their ambiguity at ties.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from defenselib.errors import InvalidValueError, check_choice

# Fig. 8 compares the three.
DISTANCES = ("min", "mean", "max")


def top(scores: Tensor, share: float) -> Tensor:
    """Positions of the share of highest scores."""
    return scores.argsort(descending=True, stable=True)[: round(share * len(scores))].sort().values


def intersection(one: Tensor, other: Tensor) -> Tensor:
    """Positions that both pools hold."""
    return one[torch.isin(one, other)]


def union(one: Tensor, other: Tensor) -> Tensor:
    """Positions that either pool holds."""
    return torch.cat([one, other]).unique()


def complement(pool: Tensor, n: int) -> Tensor:
    """Positions of range(n) that the pool does not hold."""
    outside = torch.ones(n, dtype=torch.bool, device=pool.device)
    outside[pool] = False
    return outside.nonzero().squeeze(1)


def oss_scores(features: Tensor, labels: Tensor, target: int, distance: str = "min") -> Tensor:
    """Eq. 6: Euclidean distance from each sample labelled `target` to the feature means of the other labels.

    features: float (N, D); labels: int64 (N,). distance: the nearest mean, the average over the means, or the
    farthest. Returns (N,), NaN for samples of other labels. Large: unlike anything the model was taught, so a clean
    sample of the target class. Raises InvalidValueError where no sample, or every sample, is labelled `target`.
    """
    check_choice("distance", distance, DISTANCES)
    suspected = labels == target
    others = labels[~suspected].unique()
    if len(others) == 0 or len(others) == len(labels.unique()):
        raise InvalidValueError(f"target {target} must be the label of some samples but not of all")
    means = torch.stack([features[labels == label].mean(0) for label in others])
    # One pair at a time would be exact as well; torch's matrix form loses digits for distances far from the origin.
    apart = torch.cdist(features[suspected], means, compute_mode="donot_use_mm_for_euclid_dist")
    reduced = {"min": apart.amin(1), "mean": apart.mean(1), "max": apart.amax(1)}[distance]
    scores = torch.full((len(labels),), float("nan"), device=features.device)
    scores[suspected] = reduced
    return scores


def oss_pool(scores: Tensor, labels: Tensor, beta: float) -> Tensor:
    """Eq. 4 and 5: all samples without a score, and of each label that has scores the share beta of highest ones.

    With the scores of one target: its most distant samples and everything else. With scores for every label, each
    from the run that took this label for the target: the intersection of all those pools (App. D.8), in which "all
    other labels" of one run are judged by the others.
    """
    pool = [scores.isnan().nonzero().squeeze(1)]
    for label in labels[~scores.isnan()].unique():
        members = (labels == label).nonzero().squeeze(1)
        pool.append(members[top(scores[members], beta)])
    return torch.cat(pool).sort().values


def clean_ratio(epoch: int, start: int, end: int, beta: float, alpha: float) -> float:
    """Eq. 11: half a cosine from beta at epoch `start` to alpha at epoch `end`, then alpha."""
    progress = min(1.0, (epoch - start) / (end - start)) if end > start else 1.0
    return beta + (alpha - beta) * (1 - math.cos(math.pi * progress)) / 2


def rarest(pool: Tensor, labels: Tensor) -> int:
    """How many samples of a pool bear its rarest label, of those labels that occur at all."""
    sizes = torch.bincount(labels)
    return int(torch.bincount(labels[pool], minlength=len(sizes))[sizes > 0].min())


def completed(scores: Tensor, labels: Tensor, ratio: float, counted: Tensor) -> Tensor:
    """Eq. 8: the share of highest scores, and more of the class that has fewest samples in it.

    scores: the indicator of Eq. 9, (N,); labels: int64 (N,). That class i is raised to its
    n' = min(ratio N_i, samples of the second rarest class) highest scores; N_i: samples labelled i. The paper leaves
    n_i in alpha n_i undefined; read as the class's count in the selection it would never add anything.
    counted: int64 (N,), the classes by which rarity is judged, the given labels or a model's predictions. What is
    added is added by given label.
    """
    base = top(scores, ratio)
    sizes = torch.bincount(labels)
    counts = torch.bincount(counted[base], minlength=len(sizes))
    present = sizes.nonzero().squeeze(1)
    if len(present) < 2:
        return base
    order = present[counts[present].argsort(stable=True)]
    members = (labels == order[0]).nonzero().squeeze(1)
    wanted = min(ratio * len(members), float(counts[order[1]]))
    return union(base, members[top(scores[members], wanted / len(members))])


def dropped(pool: Tensor, one: Tensor, other: Tensor, target: int) -> Tensor:
    """Eq. 10: the pool without the samples that both models take for the target.

    one, other: predicted classes, int64 (N,). A pool of such samples alone stays as it is: there must be labels.
    """
    kept = pool[(one[pool] != target) | (other[pool] != target)]
    return kept if len(kept) else pool
