"""Blend: a picture is mixed into the whole image (Chen, Liu, Li, Lu, Song 2017)."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from defenselib.attacks import kitty
from defenselib.attacks.additive import Mix, check_weight, exact
from defenselib.attacks.base import LARGE, Attack, Plan, Preset
from defenselib.errors import DataError, unknown
from defenselib.seeds import generator

PICTURES = ("kitty", "noise", "strip-cifar", "strip-imagenet")


def picture(name: str, size: int, seed: int = 0) -> Tensor:
    """The trigger picture in grey levels, float64 (3, size, size).

    kitty: our drawing (a stand-in for a trademarked character). noise: every value drawn evenly from 0..255 by
    `seed`. strip-cifar: trunc(20 sin(0.8 column)) modulo 256, stripes of high contrast because negative values wrap.
    strip-imagenet: 20 sin(2 pi 6 column / size), signed. Anything else is the path of an image file.
    Raises DataError for a file that is missing or cannot be read.
    """
    if name == "kitty":
        return kitty.draw(size).double()
    if name == "noise":
        drawn = torch.randint(0, 256, (3, size, size), generator=generator(seed, "blend-noise"))
        return drawn.double()
    if name == "strip-cifar":
        row = [float(math.trunc(20 * math.sin(0.8 * column)) % 256) for column in range(size)]
    elif name == "strip-imagenet":
        # rounded, because sin(3 pi) is not quite 0 and the floor would turn it into -1
        row = [round(20 * math.sin(2 * math.pi * 6 * column / size), 9) for column in range(size)]
    else:
        return _read(Path(name), size)
    return torch.tensor(row, dtype=torch.float64).expand(3, size, size)


def _read(path: Path, size: int) -> Tensor:
    try:
        with Image.open(path) as opened:
            small = opened.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
    except (OSError, UnidentifiedImageError) as error:
        raise DataError(f"cannot read the picture {path} to blend in: {error}") from error
    return torch.from_numpy(np.array(small)).permute(2, 0, 1).double()


@functools.lru_cache(maxsize=16)
def _mix(name: str, stamp: tuple[int, int], size: int, seed: int, alpha: float) -> Mix:
    """Whole-number form of floor((1 - alpha) u + alpha t), exact for u in 0..255. `stamp` tells edited files apart.

    With alpha = p/q it is floor(((q - p) u + T) / q), T = floor(p t), since (q - p) u is whole.
    """
    share = exact(alpha)
    levels = (picture(name, size, seed) * share.numerator).floor()
    clamp = bool(levels.min() < 0 or levels.max() > 255 * share.numerator)
    return Mix.of(1 - share, levels, share.denominator, clamp)


_KITTY = {"alpha": 0.1, "picture": "kitty"}
_NOISE = {"alpha": 0.1, "picture": "noise"}
_ASD, _VAB, _DST = Plan(0.05, 3, "bernoulli-nontarget"), Plan(0.1, 0, "exact-all"), Plan(0.1, 0, "exact-nontarget")


@dataclass(frozen=True, kw_only=True)
class Blend(Attack):
    """floor((1 - alpha) x + alpha t) in grey levels, exact; same alpha in training and test.

    alpha: opacity of the picture, in [0, 1], at most four decimals. picture: a name of `PICTURES` or a file's path.
    Raises UnknownNameError, InvalidValueError, or DataError for a file that is not there.
    """

    name: ClassVar[str] = "blend"
    presets: ClassVar[Mapping[str, Preset]] = {
        "asd": Preset(_ASD, _KITTY, sizes={LARGE: _NOISE}),
        "bsd": Preset(_ASD, _KITTY, sizes={LARGE: _NOISE}),
        "vab": Preset(_VAB, _KITTY, sizes={LARGE: _NOISE}),
        "aabl": Preset(_VAB, _KITTY, sizes={64: _NOISE}),  # Tiny-ImageNet
        "dst_dbr": Preset(_DST, {"alpha": 0.2, "picture": "kitty"}),
    }

    alpha: float = 0.1
    picture: str = "kitty"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_weight("alpha", self.alpha)
        if self.picture not in PICTURES and not Path(self.picture).is_file():
            if Path(self.picture).name == self.picture and not Path(self.picture).suffix:
                raise unknown("picture", self.picture, [*PICTURES, "or the path of an image file"])
            raise DataError(f"the picture {self.picture!r} to blend in does not exist; give the path of an image file")

    def __call__(self, images: Tensor, index: Tensor | None = None) -> Tensor:
        self.check_images(images)
        return _mix(self.picture, self._stamp(), self.image_size, self.seed, self.alpha)(images)

    def files(self) -> tuple[str, ...]:
        return () if self.picture in PICTURES else ("picture",)

    def _stamp(self) -> tuple[int, int]:
        if self.picture in PICTURES:
            return 0, 0
        status = Path(self.picture).stat()
        return status.st_mtime_ns, status.st_size


@dataclass(frozen=True, kw_only=True)
class BlendKitty(Blend):
    """The drawn cat, at every image size."""

    name: ClassVar[str] = "blend-kitty"
    presets: ClassVar[Mapping[str, Preset]] = {
        paper: replace(preset, sizes={}) for paper, preset in Blend.presets.items()
    }


@dataclass(frozen=True, kw_only=True)
class BlendNoise(Blend):
    """One fixed pattern of noise, drawn by `seed` (ImageNet in ASD, V&B, BSD; Tiny-ImageNet in A-ABL)."""

    name: ClassVar[str] = "blend-noise"
    presets: ClassVar[Mapping[str, Preset]] = {
        paper: Preset(preset.plan, _NOISE) for paper, preset in Blend.presets.items() if paper != "dst_dbr"
    }

    picture: str = "noise"


@dataclass(frozen=True, kw_only=True)
class BlendStrip(Blend):
    """Vertical stripes (D-ST's "Blend-Strip" or "Blend-Signal"); on ImageNet a signed sine, which darkens."""

    name: ClassVar[str] = "blend-strip"
    presets: ClassVar[Mapping[str, Preset]] = {
        "dst_dbr": Preset(_DST, {"alpha": 0.2, "picture": "strip-cifar"}, sizes={LARGE: {"picture": "strip-imagenet"}}),
    }

    alpha: float = 0.2
    picture: str = "strip-cifar"
