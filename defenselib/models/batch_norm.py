"""BatchNorm that can train on a lone value a channel, and counts its batches together with the others of a network."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _Waiting(threading.local):
    """Counters of the layers passed so far, and how often, while a network counts its batches in one operation; else
    None."""

    counters: dict[int, tuple[Tensor, int]] | None = None


_waiting = _Waiting()


@contextmanager
def counted_together() -> Iterator[None]:
    """Inside, each `BatchNorm2d` that trains notes its counter; all are raised by one at the end, in one operation:
    one by one they are a seventh of what a forward pass asks of a GPU. Within another one it leaves that to it."""
    if _waiting.counters is not None:
        yield
        return
    counters: dict[int, tuple[Tensor, int]] = {}
    _waiting.counters = counters
    try:
        yield
        if counters:
            tensors, times = zip(*counters.values(), strict=True)
            torch._foreach_add_(tensors, times)
    finally:
        _waiting.counters = None


class BatchNorm2d(nn.BatchNorm2d):
    """torch's BatchNorm, but for a batch with one value a channel, which has no variance: torch refuses to train on it,
    here the running statistics serve, unchanged.

    That is a last batch of one image whose map is down to one pixel (8x8 images in a ResNet). All else is torch's,
    but for when `num_batches_tracked` is raised (see `counted_together`).
    """

    def forward(self, input: Tensor) -> Tensor:
        if self.training and input.shape[0] == 1 and input.shape[2:].numel() == 1:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        # Without a momentum the new mean depends on the count, so torch must raise it first.
        if not self.training or _waiting.counters is None or self.momentum is None or self.num_batches_tracked is None:
            return super().forward(input)
        self._check_input_dim(input)
        counter = self.num_batches_tracked
        _waiting.counters[id(counter)] = counter, 1 + _waiting.counters.get(id(counter), (counter, 0))[1]
        return F.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, True, self.momentum, self.eps
        )


def with_lone_samples(model: nn.Module) -> nn.Module:
    """`model`, each BatchNorm2d of it (torchvision's networks are full of them) made one of these, in place."""
    for layer in model.modules():
        if type(layer) is nn.BatchNorm2d:
            layer.__class__ = BatchNorm2d
    return model
