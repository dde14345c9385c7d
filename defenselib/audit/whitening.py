"""Images as vectors in which nothing is common to most of them, so that what few share stands out.

Natural images are smooth: most of their energy lies in a few slow waves of brightness. In the coefficients of a cosine
transform, each divided by its own spread over the data set, a patch, stripes or a faint overlay are large.
"""

from __future__ import annotations

import time

import torch
import torch.nn.functional as F
from torch import Tensor

from defenselib.seeds import generator

LARGEST = 4096  # coordinates kept of an image
_LARGEST_SIDE = 112  # pixels; larger images are averaged down by a whole factor: a transform costs S^3
_MEMORY = 1 << 28  # numbers in all vectors together
_CHUNK = 256
_LEAST_SPREAD = 1.0  # grey levels: coefficients that hardly vary must not be blown up
# Rows: brightness, and two colours against it; orthonormal.
_COLOUR = ((3**-0.5,) * 3, (2**-0.5, -(2**-0.5), 0.0), (6**-0.5, 6**-0.5, -2 * 6**-0.5))


def cosine_matrix(size: int) -> Tensor:
    """The orthonormal cosine transform of second kind, (size, size): row k times a signal is its coefficient k."""
    grid = torch.arange(size, dtype=torch.float64)
    found = torch.cos(torch.pi * (2 * grid[None] + 1) * grid[:, None] / (2 * size)) * (2 / size) ** 0.5
    found[0] *= 0.5**0.5
    return found.float()


def whitened(images: Tensor, seed: int) -> Tensor:
    """Unit vectors float32 (N, D) of images uint8 (N, 3, S, S), on their device; D is at most 4096.

    Cosine coefficients of three colour axes, centred and divided by their standard deviation over the images. More than
    D coordinates are folded: each is added to one of D places with a random sign, which keeps angles up to 1/sqrt(D).
    Images of more than 112 pixels a side are averaged down before.
    """
    total = 3 * _smaller(images[:1]).shape[-1] ** 2
    kept = min(total, LARGEST, max(64, _MEMORY // len(images)))
    mean, spread = _moments(images)
    stream = generator(seed, "audit", "fold")
    place = torch.randint(kept, (total,), generator=stream).to(images.device)
    sign = (torch.randint(2, (total,), generator=stream) * 2 - 1).to(images.device)
    parts = []
    for chunk in images.split(_CHUNK):
        found = (_coefficients(chunk) - mean) / spread
        if kept < total:
            found = torch.zeros(len(chunk), kept, device=images.device).index_add_(1, place, found * sign)
        parts.append(found / found.norm(dim=1, keepdim=True).clamp_min(1e-6))
    return torch.cat(parts)


def seconds_for(images: Tensor) -> float:
    """Expected wall time of `whitened`, from a few of the images."""
    some = images[:64]
    started = time.monotonic()
    _coefficients(some)
    return 2.5 * (time.monotonic() - started) * len(images) / len(some)


def _smaller(images: Tensor) -> Tensor:
    """Float images of at most 112 pixels a side."""
    side = images.shape[-1]
    factor = -(-side // _LARGEST_SIDE)
    return images.float() if factor == 1 else F.adaptive_avg_pool2d(images.float(), side // factor)


def _coefficients(images: Tensor) -> Tensor:
    """Cosine coefficients of `_smaller` images, (N, 3 S S)."""
    small = _smaller(images)
    matrix = cosine_matrix(small.shape[-1]).to(images.device)
    colours = torch.einsum("oc,nchw->nohw", torch.tensor(_COLOUR, device=images.device), small)
    return (matrix @ colours @ matrix.T).flatten(1)


def _moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every coefficient."""
    total = torch.zeros(3 * _smaller(images[:1]).shape[-1] ** 2, dtype=torch.float64, device=images.device)
    squares = torch.zeros_like(total)
    for chunk in images.split(_CHUNK):
        found = _coefficients(chunk).double()
        total += found.sum(0)
        squares += found.square().sum(0)
    mean = total / len(images)
    spread = (squares / len(images) - mean.square()).clamp_min(0).sqrt().clamp_min(_LEAST_SPREAD)
    return mean.float(), spread.float()
