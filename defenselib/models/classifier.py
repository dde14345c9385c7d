"""What every network is here: normalisation, stem, stages, pooling and a linear head; its BatchNorm can train on a lone
value a channel, and counts its batches together with the others of a network."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from defenselib.cpu.small_maps import with_small_maps


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


class Classifier(nn.Module):
    """A network as normalisation, stem, stages, global average pooling and a linear head.

    Input: float [0, 1] (N, 3, H, W). `maps` gives the last feature maps (N, C, h, w), `features` their spatial
    mean (N, C), calling the model the logits (N, num_classes).
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        stem: nn.Module,
        stages: Sequence[nn.Module],
        width: int,
        num_classes: int,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.stem = stem
        self.stages = nn.ModuleList(stages)
        self.head = nn.Linear(width, num_classes)
        with_lone_samples(self)
        with_small_maps(self)

    def maps(self, x: Tensor) -> Tensor:
        with counted_together():
            x = self.stem((x - self.mean) / self.std)
            for stage in self.stages:
                x = stage(x)
        return x

    def features(self, x: Tensor) -> Tensor:
        return self.maps(x).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside. Modules can be in different modes (frozen BatchNorm), so each is put back by itself."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def kaiming(module: nn.Module) -> None:
    """Kaiming normal, fan-out, for convolutions, as torchvision initialises a ResNet."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
