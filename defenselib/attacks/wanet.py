"""WaNet: a smooth warp of the whole image, and noisy warps that keep their labels (Nguyen, Tran 2021, ICLR).

The papers poison a fixed set of images once, so the original, whose attacker controls training, is not run. All
coordinates are those of torch's grid_sample with align_corners: -1 and 1 are the centres of the border pixels.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from defenselib.attacks.base import LARGE, WORD, Attack, Plan, Preset, floor_share, mix
from defenselib.errors import DataError, InvalidValueError, check_range, unknown
from defenselib.seeds import generator, spawn

GRIDS = ("published", "drawn")
# The 4x4 field behind the grid that V&B publish (x, then y; rows of four), divided by its mean absolute value.
PUBLISHED = (
    (
        (0.6326, 0.0863, 0.2933, 0.8228),
        (-0.6356, 0.1539, -1.4548, -1.7225),
        (-1.7985, -1.3508, -0.7768, 0.8924),
        (1.0189, 1.7134, 1.1096, -1.3836),
    ),
    (
        (0.9972, -1.7705, 0.8401, 0.7946),
        (-1.3072, -0.4952, 0.3755, -1.5295),
        (-0.7056, -1.3488, -1.0049, -1.1631),
        (-1.0455, 0.4338, -1.7911, -0.5516),
    ),
)
PIECE = 1 << 16  # pixels that are worked on at a time: their coordinates and grey levels stay in the processor's cache
SLACK = 1e-3  # of a grey level: a flat area, and an image that does not move, lose no level to float32


def control_field(grid_size: int, seed: int, published: bool) -> Tensor:
    """Displacements at the control points, float64 (2, grid_size, grid_size): x, then y; mean absolute value 1."""
    if published and grid_size == len(PUBLISHED[0]):
        return torch.tensor(PUBLISHED, dtype=torch.float64)
    drawn = torch.rand(2, grid_size, grid_size, generator=generator(seed, "wanet-grid"), dtype=torch.float64)
    field = drawn * 2 - 1
    return field / field.abs().mean()


@functools.lru_cache(maxsize=16)
def warping_grid(size: int, grid_size: int, strength: float, seed: int, published: bool) -> Tensor:
    """Where each pixel of the result is taken from, float32 (size, size, 2), x before y, in [-1, 1]:

    clamp(identity + strength * field / size), where bicubic interpolation has brought `control_field` to `size`.
    """
    field = control_field(grid_size, seed, published)[None]
    smooth = F.interpolate(field, size=size, mode="bicubic", align_corners=True)[0].movedim(0, -1)
    line = torch.linspace(-1, 1, size, dtype=torch.float64)
    identity = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1)
    return (identity + strength * smooth / size).clamp(-1, 1).float()


def noise_field(seed: int, index: Tensor, size: int) -> Tensor:
    """Jitter of the samples `index` (int64 (N,)), float32 (N, size, size, 2), even in (-1, 1) in steps of 2^-15.

    A hash of (seed, sample, pixel): each sample has its own field, whatever else is in the batch.
    """
    words = spawn(seed, "wanet-noise")
    samples = mix((index + (words & WORD)) & WORD)
    places = mix((torch.arange(size * size, device=index.device) + (words >> 32)) & WORD)
    drawn = mix(samples[:, None] ^ places)
    halves = torch.stack([drawn >> 16, drawn & 0xFFFF], dim=-1).float()
    return halves.add_(0.5).div_(2.0**15).sub_(1).view(-1, size, size, 2)


def warp(images: Tensor, grid: Tensor) -> Tensor:
    """Bilinear samples of uint8 `images` (N, 3, H, W), whole levels cut off; 0 outside of the image.

    grid: (N, H, W, 2), or (1, H, W, 2) for all images, which then count as channels of one: their positions and
    weights are worked out once.
    """
    planes = images.to(torch.float32, memory_format=torch.contiguous_format).view(len(grid), -1, *images.shape[2:])
    moved = F.grid_sample(planes, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
    # by way of int32, which is faster than straight from float32
    return moved.add_(SLACK).int().to(torch.uint8).view(images.shape)


@functools.lru_cache(maxsize=8)
def _stored(path: Path, stamp: tuple[int, int], size: int) -> Tensor:
    """The grid in a file, float32 (size, size, 2). `stamp` tells edited files apart."""
    try:
        if path.suffix == ".npy":
            made = torch.from_numpy(np.load(path, allow_pickle=False))
        else:
            made = torch.load(path, map_location="cpu", weights_only=True)
        made = made.detach().float().reshape(size, size, 2)
    except Exception as error:  # whatever the readers raise for a file that is none of theirs
        raise DataError(f"cannot read a grid of {size}x{size} points (x, y) from {path}: {error}") from error
    if not bool((made.abs() <= 1).all()):
        raise DataError(f"the grid in {path} has values outside of [-1, 1]")
    return made


_LARGE = {"grid_size": 224, "strength": 1.0}  # per-pixel jitter: V&B and BSD, after DBD
_ASD, _VAB = Plan(0.05, 3, "bernoulli-nontarget"), Plan(0.1, 0, "exact-all")


@dataclass(frozen=True, kw_only=True)
class WaNet(Attack):
    """floor(bilinear sample of x at the points of a fixed grid), see `warping_grid`; outside of x is 0.

    grid_size: control points along a side (the paper's k). strength: s, up to 16. grid: "published" is V&B's field
    for grid_size 4, any other size has none and is drawn by `seed` as with "drawn". A path (.npy, else .pt) gives
    back a grid that was stored from `sampling_grid()`; grid_size and strength then decide nothing.
    cross_rate: share of the training set that is warped with noise and keeps its labels (rho_n of V&B and BSD).
    cross_per_poisoned: such samples per poisoned one, in addition (2 in A-ABL).
    Raises UnknownNameError, InvalidValueError, or DataError for a grid that is not there or does not fit.
    """

    name: ClassVar[str] = "wanet"
    presets: ClassVar[Mapping[str, Preset]] = {
        "asd": Preset(_ASD, sizes={LARGE: _LARGE}),
        "bsd": Preset(_ASD, sizes={LARGE: _LARGE}),
        "vab": Preset(_VAB, sizes={LARGE: {**_LARGE, "cross_rate": 0.0}}),
        "aabl": Preset(_VAB, {"cross_rate": 0.0, "cross_per_poisoned": 2}),
    }

    grid_size: int = 4
    strength: float = 0.5
    grid: str = "published"
    cross_rate: float = 0.2
    cross_per_poisoned: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("grid_size", self.grid_size, 2, 1024)
        check_range("strength", self.strength, 0.0, 16.0)
        check_range("cross_rate", self.cross_rate, 0.0, 1.0)
        check_range("cross_per_poisoned", self.cross_per_poisoned, 0, 1000)
        if self.image_size < 2:
            raise InvalidValueError(f"image_size is {self.image_size}, a warp needs at least 2 pixels")
        if self.grid not in GRIDS:
            path = Path(self.grid)
            if not path.is_file():
                if path.name == self.grid and not path.suffix:
                    raise unknown("grid", self.grid, [*GRIDS, "or the path of a .npy or .pt file"])
                raise DataError(f"the grid {self.grid!r} does not exist; give the path of a .npy or .pt file")
            self._grid()

    def sampling_grid(self) -> Tensor:
        """The grid of the poisoned images, float32 (image_size, image_size, 2), x before y, in [-1, 1].

        Store it with numpy.save or torch.save, and give the file's path as `grid` to use it again.
        """
        return self._grid().clone()

    def _grid(self) -> Tensor:
        if self.grid in GRIDS:
            published = self.grid == "published"
            return warping_grid(self.image_size, self.grid_size, self.strength, self.seed, published)
        path = Path(self.grid)
        status = path.stat()
        return _stored(path, (status.st_mtime_ns, status.st_size), self.image_size)

    def _pieces(self, images: Tensor) -> Iterator[slice]:
        step = max(1, PIECE // self.image_size**2)
        return (slice(start, start + step) for start in range(0, len(images), step))

    def files(self) -> tuple[str, ...]:
        return () if self.grid in GRIDS else ("grid",)

    def __call__(self, images: Tensor, index: Tensor | None = None) -> Tensor:
        self.check_images(images)
        grid = self._grid().to(images.device)[None]
        out = torch.empty_like(images)
        for part in self._pieces(images):
            out[part] = warp(images[part], grid)
        return out

    def cross_count(self, poisoned: int, total: int) -> int:
        return floor_share(self.cross_rate, total) + self.cross_per_poisoned * poisoned

    def cross(self, images: Tensor, partners: Tensor, index: Tensor | None = None) -> Tensor:
        """Noise samples: the grid moved by `noise_field` / image_size, clamped. index: (N,); None counts from 0."""
        self.check_images(images)
        index = torch.arange(len(images), device=images.device) if index is None else index.to(images.device)
        grid = self._grid().to(images.device)
        out = torch.empty_like(images)
        for part in self._pieces(images):
            noise = noise_field(self.seed, index[part], self.image_size).div_(self.image_size)
            out[part] = warp(images[part], noise.add_(grid).clamp_(-1, 1))
        return out
