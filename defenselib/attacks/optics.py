"""How a photo is reflected in an image: the three kinds of reflection of Refool (Liu, Ma, Bailey, Lu 2020, Sec. 3).

With b = x^2.2 and r = R^2.2 the light of the image and of the reflected photo, and a the weight of the image:

- ghost: a thick pane reflects twice. q is r plus a copy of it, shifted down and right; the border that the copy
  leaves is cut away and the rest resized bilinearly. out = (a b + (1 - a) q)^(1/2.2).
- out of focus: q is r, blurred, and darkened where it would overexpose the image; it shines in the middle of the
  image (window K). out = (a b + q K (1 - a / 2))^(1/2.2).
- in focus: image and photo are averaged, each with the weight of its own mean brightness.

Grey levels are rounded down. Work is in float64: which images are worked on together, and on which device, changes
nothing then. The numbers are those of the authors' code, which the paper leaves out in part.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from defenselib.data.augment.geometry import mirrored

GAMMA = 2.2
LONGEST = 8  # pixels, of the shift of a ghost
WIDEST = 5.0  # pixels, of the blur


@functools.lru_cache(maxsize=4)
def _light(device: torch.device) -> Tensor:
    """Grey level -> light, float64 (257,), with infinity at the end."""
    levels = torch.arange(256, dtype=torch.float64) / 255
    return torch.cat([levels**GAMMA, torch.tensor([torch.inf], dtype=torch.float64)]).to(device)


def _to_light(levels: Tensor) -> Tensor:
    """uint8 -> float64 of the same shape, u -> (u / 255)^2.2."""
    # 32-bit indices: three times as fast as 64-bit ones, fifteen times as fast as `table[levels]`.
    return _light(levels.device).index_select(0, levels.reshape(-1).int()).view(levels.shape)


def _to_levels(light: Tensor) -> Tensor:
    """float64 -> uint8, floor(255 light^(1/2.2)) cut off at 255; exactly the inverse of `_to_light`.

    The power is taken in float32, which is faster, and a little less, so that it is never too high; the table tells
    where it is one level too low. So the outcome depends on no rounding of the power function.
    """
    low = (light.float().clamp_(0, 1).pow_(1 / GAMMA).mul_(255) - 1e-3).clamp_(min=0).int()
    above = _light(light.device).index_select(0, low.view(-1) + 1).view(light.shape)
    return (low + (light >= above)).to(torch.uint8)


def _rows_first(images: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H, C, W): then a map of rows, and one of columns, is a single product of matrices."""
    return images.transpose(1, 2).contiguous()


def _as_scalars(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


@functools.lru_cache(maxsize=8)
def _crops(size: int, device: torch.device) -> Tensor:
    """Maps of rows (or columns), float64 (LONGEST + 1, 2, size, size), by shift d: of a photo (first) and of its
    copy shifted by d (second) to the picture without the first d rows, resized bilinearly to `size` rows."""
    out = torch.zeros(LONGEST + 1, 2, size, size, dtype=torch.float64)
    for shift in range(LONGEST + 1):
        left = size - shift
        source = ((torch.arange(size, dtype=torch.float64) + 0.5) * left / size - 0.5).clamp(0, left - 1)
        before = source.long()
        after = (before + 1).clamp(max=left - 1)
        share = source - before
        for copy, start in enumerate((shift, 0)):
            out[shift, copy].scatter_add_(1, before[:, None] + start, (1 - share)[:, None])
            out[shift, copy].scatter_add_(1, after[:, None] + start, share[:, None])
    return out.to(device)


def ghost(images: Tensor, photos: Tensor, a: Tensor, weight: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """A photo, and a copy of it that is `down` rows and `right` columns away, on the images; uint8 (N, 3, S, S).

    a: weight of the image; weight: of the photo against its copy; both float64 (N,). down, right: int64 (N,), up
    to 8 pixels.
    """
    n, _, size, _ = images.shape
    b, r = _to_light(_rows_first(images)), _to_light(_rows_first(photos))
    crops = _crops(size, images.device)
    shares = torch.stack([weight, 1 - weight], 1).view(n, 2, 1, 1)
    rows = (shares * crops[down]).view(n, 2 * size, size)
    both = (rows @ r.view(n, size, 3 * size)).view(n, 2, 3 * size, size)
    columns = crops[right].mT
    q = torch.baddbmm(both[:, 0] @ columns[:, 0], both[:, 1], columns[:, 1]).view(b.shape)
    a = _as_scalars(a)
    return _rows_first(_to_levels(a * b + (1 - a) * q))


@functools.lru_cache(maxsize=8)
def _offsets(size: int, device: torch.device) -> Tensor:
    """One-hot maps, float64 (21, size * size), of pixel i to pixel i + k for k = -10..10; the picture is mirrored at
    its border, which is not repeated (reflect-101)."""
    reach = int(2 * WIDEST)
    k = torch.arange(-reach, reach + 1)
    at = mirrored(torch.arange(size)[None] + k[:, None], size)
    return torch.nn.functional.one_hot(at, size).double().flatten(1).to(device)


def _blur_maps(sigma: Tensor, size: int) -> Tensor:
    """Gaussian blur of rows (or columns) as matrices, float64 (N, size, size): 2 ceil(2 sigma) + 1 taps."""
    reach = int(2 * WIDEST)
    k = torch.arange(-reach, reach + 1, dtype=torch.float64, device=sigma.device)
    taps = torch.exp(-0.5 * (k / sigma[:, None]) ** 2) * (k.abs() <= (2 * sigma[:, None]).ceil())
    taps = taps / taps.sum(1, keepdim=True)
    return (taps @ _offsets(size, sigma.device)).view(-1, size, size)


@functools.lru_cache(maxsize=8)
def window(size: int, device: torch.device) -> Tensor:
    """Where an out-of-focus reflection shines, float64 (size, size): 1 in the middle, about 0.01 in the corners."""
    half = 3.5 / size
    step = torch.special.ndtr(torch.linspace(-3 - half, 3 + half, size + 1, dtype=torch.float64)).diff()
    shape = torch.outer(step, step).sqrt()
    return (shape / shape.max()).to(device)


def out_of_focus(images: Tensor, photos: Tensor, a: Tensor, sigma: Tensor, darkening: Tensor) -> Tensor:
    """A blurred photo shining in the middle of the images; uint8 (N, 3, S, S).

    a: weight of the image; sigma: of the blur, in pixels, at most 5; darkening: how many times the overexposure is
    taken away. All float64 (N,).
    """
    n, _, size, _ = images.shape
    b, r = _to_light(_rows_first(images)), _to_light(_rows_first(photos))
    blur = _blur_maps(sigma, size)
    q = ((blur @ r.view(n, size, 3 * size)).view(n, 3 * size, size) @ blur.mT).view(b.shape)
    total = q + b
    over = total > 1
    # per image and channel; 1 where nothing is overexposed, which the mean over no pixel leaves open
    mean = (total * over).sum((1, 3), keepdim=True) / over.sum((1, 3), keepdim=True).clamp(min=1)
    excess = (mean.clamp(min=1) - 1) * _as_scalars(darkening)
    q = (q - excess).clamp_(0, 1)
    a = _as_scalars(a)
    return _rows_first(_to_levels(a * b + (1 - a / 2) * window(size, images.device)[:, None] * q))


def in_focus(images: Tensor, photos: Tensor) -> Tensor:
    """Image and photo, each weighed by its mean over all pixels and channels; uint8 (N, 3, S, S).

    Sums of grey levels are whole numbers, so that the floor of their quotient is exact.
    """
    x, photo = images.double(), photos.double()
    weight, other = (part.sum((1, 2, 3), keepdim=True) for part in (x, photo))
    return ((weight * x + other * photo) / (weight + other).clamp(min=1)).to(torch.uint8)
