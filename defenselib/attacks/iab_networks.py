"""Networks and losses of the input-aware attack (Nguyen and Tran 2020, Sec. 3).

Symbols: P = pattern network, M = mask network, o = output in (0, 1), m = steep mask, d = distance of two samples.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from defenselib.models.batch_norm import BatchNorm2d

# Keeps outputs inside (0, 1), and quotients finite.
EPS = 1e-7
_ENCODER = ((3, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128), (128, 128))
_DECODER = ((128, 128), (128, 64), (64, 64), (64, 32), (32, 32))
_HALVE_AFTER, _DOUBLE_BEFORE = (1, 3, 5), (7, 9, 11)


class Generator(nn.Module):
    """Encoder and decoder of 3x3 convolutions with BatchNorm, no skips: images (N, 3, H, W) to o (N, channels, H, W).

    channels: 3 for P, 1 for M. H and W must be divisible by 8. The output is float32 whatever the weights are.
    """

    def __init__(self, channels: int, folded: bool = False) -> None:
        super().__init__()
        self.channels = channels
        shapes = (*_ENCODER, *_DECODER, (32, channels))
        self.layers = nn.ModuleList(_convolution(a, b) if folded else _normalised(a, b) for a, b in shapes)

    def forward(self, x: Tensor) -> Tensor:
        last = len(self.layers) - 1
        for position, layer in enumerate(self.layers):
            if position in _DOUBLE_BEFORE:
                x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = layer(x)
            if position < last:
                x = F.relu(x, inplace=True)
            if position in _HALVE_AFTER:
                x = F.max_pool2d(x, 2)
        return squash(x.float())

    def folded(self) -> Generator:
        """The same function in evaluation mode, BatchNorm folded into the convolutions."""
        with torch.device("meta"):  # neither memory nor draws for weights that are replaced
            net = Generator(self.channels, folded=True)
        with torch.no_grad():
            for position, layer in enumerate(self.layers):
                convolution, norm = copy.deepcopy(layer).eval().children()
                assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
                net.layers[position] = fuse_conv_bn_eval(convolution, norm)
        return net.eval()


def _convolution(inside: int, outside: int) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, 3, padding=1)


def _normalised(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(_convolution(inside, outside), BatchNorm2d(outside, momentum=0.05))


def squash(x: Tensor) -> Tensor:
    """Any number to (0, 1): tanh(x) / (2 + 1e-7) + 1/2."""
    return x.tanh() / (2 + EPS) + 0.5


def steep(o: Tensor) -> Tensor:
    """The mask of M's output, nearly 0 below 1/2 and nearly 1 above: m = squash(20 o - 10)."""
    return squash(20 * o - 10)


def blend(x: Tensor, pattern: Tensor, mask: Tensor) -> Tensor:
    """x + (pattern - x) * mask: x where the mask is 0, the pattern where it is 1."""
    return x + (pattern - x) * mask


def distance(a: Tensor, b: Tensor) -> Tensor:
    """d(a, b) of every sample, (N,): root of the mean squared difference."""
    # The root has no finite slope at 0, where saturated masks can come to lie.
    return (a - b).square().flatten(1).mean(1).clamp_min(EPS**2).sqrt()


def diversity_loss(x1: Tensor, x2: Tensor, out1: Tensor, out2: Tensor) -> Tensor:
    """Mean of d(x1, x2) / d(out1, out2): small where different inputs get different outputs (Eq. 6)."""
    return (distance(x1, x2) / (distance(out1, out2) + EPS)).mean()


def density_loss(mask: Tensor, density: float) -> Tensor:
    """Mean of relu(m - density) over pixels: a bound on every pixel, not on their mean."""
    return F.relu(mask - density).mean()
