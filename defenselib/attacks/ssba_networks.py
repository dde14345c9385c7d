"""Encoder and decoder of the sample-specific attack: a StegaStamp as BackdoorBench builds it for small images.

As in the original (Tancik et al., CVPR 2020) the encoder gives a residual, inputs are centred and weights start from
Kaiming's normal distribution: uncentred, or from torch's default, the secret is not found for thousands of steps.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 16  # of the map that the secret becomes


class Encoder(nn.Module):
    """U-Net E(secret, x): bits (N, bits) of 0 and 1, images (N, 3, H, W) in [0, 1] to the residual r (N, 3, H, W).

    size: side of the images, a multiple of 16. The residual lies in (-1, 1) by a tanh, which is nearly the identity on
    residuals that nobody sees; it is float32 whatever the weights are.
    """

    def __init__(self, size: int, bits: int) -> None:
        super().__init__()
        self.scale = size // SIDE
        self.secret = nn.Linear(bits, SIDE * SIDE * 3)
        self.first = _convolution(6, 32)
        self.down = nn.ModuleList(_convolution(a, b, 2) for a, b in ((32, 32), (32, 64), (64, 128), (128, 256)))
        up = ((256, 128), (128, 64), (64, 32), (32, 32))
        self.up = nn.ModuleList(nn.Conv2d(a, b, 2) for a, b in up)
        joined = ((256, 128), (128, 64), (64, 32), (70, 32))
        self.merge = nn.ModuleList(_convolution(a, b) for a, b in joined)
        self.last = _convolution(32, 32)
        self.residual = nn.Conv2d(32, 3, 1)
        _kaiming(self)

    def forward(self, bits: Tensor, images: Tensor) -> Tensor:
        spread = F.relu(self.secret(bits - 0.5)).view(-1, 3, SIDE, SIDE)
        spread = F.interpolate(spread, scale_factor=self.scale, mode="nearest")
        inputs = torch.cat([spread.expand(len(images), -1, -1, -1), images - 0.5], 1)
        maps = [F.relu(self.first(inputs))]
        for down in self.down:
            maps.append(F.relu(down(maps[-1])))
        x = maps.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            # a 2x2 kernel keeps the size with one column on the right and one row at the bottom
            x = F.relu(up(F.pad(F.interpolate(x, scale_factor=2, mode="nearest"), (0, 1, 0, 1))))
            skips = [maps.pop()] if len(maps) > 1 else [maps.pop(), inputs]
            x = F.relu(merge(torch.cat([*skips, x], 1)))
        return self.residual(F.relu(self.last(x))).float().tanh()


class Decoder(nn.Module):
    """Reads the secret: images (N, 3, H, W) in [0, 1] to logits (N, bits)."""

    def __init__(self, size: int, bits: int) -> None:
        super().__init__()
        shapes = ((3, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 64, 2), (64, 128, 2), (128, 128, 2))
        self.layers = nn.ModuleList(_convolution(*shape) for shape in shapes)
        side = -(-size // 32)
        self.hidden = nn.Linear(128 * side * side, 512)
        self.bits = nn.Linear(512, bits)
        _kaiming(self)

    def forward(self, images: Tensor) -> Tensor:
        x = images - 0.5
        for layer in self.layers:
            x = F.relu(layer(x))
        return self.bits(F.relu(self.hidden(x.flatten(1)))).float()


def _convolution(inside: int, outside: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, 3, stride, padding=1)


def _kaiming(net: nn.Module) -> None:
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def clamped(images: Tensor) -> Tensor:
    """Images clamped to [0, 1]; gradients pass as if they were not, else an early, large residual learns no more."""
    return images + (images.clamp(0, 1) - images).detach()
