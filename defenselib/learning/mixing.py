"""Augmentations that mix two images and their labels: AttentionMix (V&B Sec. 3.4) and what V&B compares it with.

Images are float (N, 3, H, W) in any range, targets float (N, C), attention maps float (N, H, W) in [0, 1] (see
`attention`), partner int64 (N,): the second image of every pair. All return (images, targets), on the same device; the
first image of a pair is x1, images[partner] is x2.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from defenselib.errors import check_choice, check_range

RESIZES = ("nearest", "bilinear")
EPSILON = 1e-12  # keeps maps without any activation from dividing by zero

Mixed = tuple[Tensor, Tensor]


def attention(maps: Tensor, size: tuple[int, int], resize: str = "bilinear") -> Tensor:
    """Attention maps of images of `size` (H, W): sum over channels of |F|^2, resized, min-max per image (V&B Eq. 3).

    maps: feature maps F, (N, c, h, w). Returns float32 (N, H, W) in [0, 1]; a constant map becomes 0.
    Raises UnknownNameError for a `resize` not in `RESIZES`.
    """
    check_choice("resize", resize, RESIZES)
    energy = maps.float().square().sum(1, keepdim=True)
    corners = {} if resize == "nearest" else {"align_corners": False}
    energy = F.interpolate(energy, size=size, mode=resize, **corners)[:, 0]  # type: ignore[arg-type]
    low, high = energy.amin((1, 2), keepdim=True), energy.amax((1, 2), keepdim=True)
    return (energy - low) / (high - low + EPSILON)


def attention_mix(images: Tensor, targets: Tensor, attention: Tensor, partner: Tensor, threshold: float = 0.1) -> Mixed:
    """Blend the region that x1 attends to with the same region of x2 (V&B Eq. 4 to 8).

    threshold: t_m; the region M is where the attention A1 of x1 is at least that. w1 and w2 are the shares of A1 and
    A2 in M, lambda_2 = w1 / (w1 + w2), lambda_3 = w2 / (w1 + w2):

        x = (1 - M) x1 + lambda_2 M x1 + lambda_3 M x2
        y = (1 - w1) y1 + w1 (lambda_2 y1 + lambda_3 y2)

    Raises InvalidValueError for a threshold outside [0, 1].
    """
    check_range("threshold", threshold, 0.0, 1.0)
    region = (attention >= threshold).to(attention.dtype)
    first = _share(region, attention)
    second = _share(region, attention[partner])
    weight = second / (first + second + EPSILON)  # lambda_3; lambda_2 is the rest
    mixed = torch.lerp(images, images[partner], (region * weight[:, None, None])[:, None])
    return mixed, torch.lerp(targets, targets[partner], (first * weight)[:, None])


def _share(region: Tensor, attention: Tensor) -> Tensor:
    """How much of an attention map lies in a region, (N,)."""
    return (region * attention).sum((1, 2)) / (attention.sum((1, 2)) + EPSILON)


def attentive_cutmix(
    images: Tensor, targets: Tensor, attention: Tensor, partner: Tensor, share: float = 6 / 49
) -> Mixed:
    """Put the most attended `share` of x1 on x2; labels by area (Walawalkar et al. 2020, Sec. 3).

    The authors cut 6 of 49 grid cells. Here the region are the pixels at or above that quantile of the map, so that
    cells of a coarse map, whose pixels are all equal, are kept or dropped as a whole.
    Raises InvalidValueError for a share outside [0, 1].
    """
    check_range("share", share, 0.0, 1.0)
    flat = attention.flatten(1)
    region = (flat >= flat.quantile(1.0 - share, dim=1, keepdim=True)).view_as(attention).to(images.dtype)
    mixed = torch.lerp(images[partner], images, region[:, None])
    return mixed, torch.lerp(targets[partner], targets, region.mean((1, 2))[:, None])


def mixup(images: Tensor, targets: Tensor, partner: Tensor, generator: torch.Generator, alpha: float = 1.0) -> Mixed:
    """l x1 + (1 - l) x2, labels likewise (Zhang et al. 2018).

    One l for the batch: l ~ Beta(alpha, alpha), at least a half, as in V&B's code.
    """
    weight = beta(alpha, generator)
    weight = torch.maximum(weight, 1 - weight)
    return torch.lerp(images[partner], images, weight), torch.lerp(targets[partner], targets, weight)


def cutmix(images: Tensor, targets: Tensor, partner: Tensor, generator: torch.Generator, alpha: float = 1.0) -> Mixed:
    """Replace a box of x1 by the same box of x2; labels by area (Yun et al. 2019, Sec. 3.1).

    One box for the batch: sides sqrt(1 - l) of the image's with l ~ Beta(alpha, alpha), about a random pixel, clipped
    at the border; the labels follow the area that is left.
    """
    side = (1 - beta(alpha, generator)).sqrt()
    rows, columns = (_span(side, size, generator) for size in images.shape[-2:])
    box = (rows[:, None] & columns).to(images.dtype)
    return torch.lerp(images, images[partner], box), torch.lerp(targets, targets[partner], box.mean())


def _span(side: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Which of `size` coordinates lie within half a side of a random one, bool (size,)."""
    reach = (size * side).long() // 2
    centre = torch.randint(size, (), generator=generator, device=generator.device)
    place = torch.arange(size, device=generator.device)
    return (place >= centre - reach) & (place < centre + reach)


def beta(alpha: float, generator: torch.Generator) -> Tensor:
    """One draw of Beta(alpha, alpha) on the generator's device, float32 (), without leaving the device.

    Raises InvalidValueError for an alpha that is not positive.
    """
    check_range("alpha", alpha, 1e-3, float("inf"))
    drawn = torch._standard_gamma(torch.full((2,), alpha, device=generator.device), generator=generator)
    return drawn[0] / drawn.sum()
