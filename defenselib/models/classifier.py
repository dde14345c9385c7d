"""What every network is here: normalisation, stem, stages, pooling and a linear head."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from defenselib.cpu.small_maps import with_small_maps
from defenselib.models.batch_norm import counted_together, with_lone_samples


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
