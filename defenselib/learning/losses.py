"""Losses that several methods share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from defenselib.data.tensors import identity


def symmetric_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    alpha: float = 0.1,
    beta: float = 1.0,
    probability_floor: float = 1e-7,
    label_floor: float = 1e-4,
) -> Tensor:
    """alpha * CE + beta * reverse CE per sample, as ASD uses it to rank (ASD Sec. 4.1; Wang et al. 2019, Eq. 6).

    logits: (N, C); labels: int64 (N,). Returns float32 (N,).
    reverse CE = -sum_k clamp(p_k, probability_floor, 1) * log(clamp(onehot_k, label_floor, 1)).

    >>> symmetric_cross_entropy(torch.zeros(1, 2), torch.tensor([0]))  # p_y = 0.5: 0.1 * 0.6931 + 4.6052
    tensor([4.6745])
    """
    log_p = F.log_softmax(logits.float(), dim=1)
    cross_entropy = F.nll_loss(log_p, labels, reduction="none")
    # log(onehot) is 0 at the label and log(label_floor) elsewhere: only the other classes contribute.
    p = log_p.exp().clamp(probability_floor, 1.0)
    others = p.scatter(1, labels[:, None], 0.0).sum(1)
    reverse = -torch.log(torch.tensor(label_floor)).item() * others
    return alpha * cross_entropy + beta * reverse


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """1 at the label and 0 elsewhere. labels: int64 (N,) in 0 .. classes - 1. Returns float32 (N, classes).

    torch's own reads the labels back on a processor, to check their range.
    """
    return identity(classes, labels.device)[labels]


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """-sum_k targets_k log softmax(logits)_k per sample. logits, targets: (N, C). Returns (N,)."""
    return -(targets * F.log_softmax(logits.float(), dim=1)).sum(1)


def ascent(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean log-probability of the given labels, to be minimised: unlearning (ABL Sec. 3.3; D-BR Eq. 4)."""
    return -F.cross_entropy(logits, labels)
