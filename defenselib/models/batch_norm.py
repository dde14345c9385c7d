"""BatchNorm that can train on a lone value a channel."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class BatchNorm2d(nn.BatchNorm2d):
    """torch's BatchNorm, but for a batch with one value a channel, which has no variance: torch refuses to train on it,
    here the running statistics serve, unchanged.

    That is a last batch of one image whose map is down to one pixel (8x8 images in a ResNet). All else is torch's.
    """

    def forward(self, input: Tensor) -> Tensor:
        if self.training and input.shape[0] == 1 and input.shape[2:].numel() == 1:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)


def with_lone_samples(model: nn.Module) -> nn.Module:
    """`model`, each BatchNorm2d of it (torchvision's networks are full of them) made one of these, in place."""
    for layer in model.modules():
        if type(layer) is nn.BatchNorm2d:
            layer.__class__ = BatchNorm2d
    return model
