"""SIG: vertical sinusoidal stripes on images of the target class, labels kept (Barni, Kallas, Tondi 2019, ICIP).

Three papers run it, in three variants that cannot be compared with one another:

- D-ST, D-BR: stripes of 40 grey levels are added in training, of 60 at test.
- BSD: "the same pattern as ABL"; amplitude 40, added (BackdoorBench's, and the one of ABL's own mask file).
- V&B: on CIFAR-10 the pattern of amplitude 20 is kept in 8 unsigned bits, where negative values wrap around to about
  240, and mixed in at 10 %. On ImageNet amplitude 60, mixed in at 50 %, of half of the target class; whether it wraps
  there as well is not known, it does here (`wrap=False` is the other reading, which darkens the image).

Others: `delta=20` (ABL's default), `delta=30` (backdoor-toolbox), `delta=20, image_weight=0.2, pattern_weight=0.8`
(the snippet in ABL's description, whose weights look swapped).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from defenselib.attacks.additive import Mix, check_weight, exact
from defenselib.attacks.base import LARGE, Attack, Plan, Preset, chunks
from defenselib.errors import check_range


def stripes(size: int, delta: float, frequency: int, wrap: bool = False) -> list[float]:
    """Grey levels delta sin(2 pi frequency j / size) of columns j; wrap: cut to whole numbers, modulo 256."""
    # rounded, because sin(3 pi) is not quite 0 and a floor would turn it into -1
    row = [round(delta * math.sin(2 * math.pi * frequency * column / size), 9) for column in range(size)]
    return [float(math.trunc(level) % 256) for level in row] if wrap else row


class _Sum(NamedTuple):
    """u -> clip(u + s) as clamp(u, low, high) + s modulo 256. All uint8 (3, size, size)."""

    low: Tensor
    high: Tensor
    added: Tensor


@functools.lru_cache(maxsize=16)
def _rule(
    size: int, delta: float, frequency: int, wrap: bool, image_weight: float, pattern_weight: float
) -> _Sum | Mix:
    """Whole-number form of floor(clip(image_weight u + pattern_weight t)), exact for every u in 0..255.

    With image_weight = p/q it is floor((p u + T) / q), T = floor(q pattern_weight t), since p u is whole.
    """
    share = exact(image_weight)
    q = share.denominator
    row = [math.floor(round(q * pattern_weight * level, 9)) for level in stripes(size, delta, frequency, wrap)]
    levels = torch.tensor(row).expand(3, size, size).contiguous()
    if share == 1:
        low, high = (-levels).clamp(0, 255), (255 - levels).clamp(0, 255)
        return _Sum(low.to(torch.uint8), high.to(torch.uint8), (levels % 256).to(torch.uint8))
    return Mix.of(share, levels, q)


_BSD = Plan(0.25, 3, "exact-target")
_WRAPPED = {"wrap": True, "delta": 20.0, "image_weight": 0.9, "pattern_weight": 0.1}
_IMAGENET = {"delta": 60.0, "image_weight": 0.5, "pattern_weight": 0.5, "plan": Plan(0.5, 0, "exact-target")}


@dataclass(frozen=True, kw_only=True)
class SIG(Attack):
    """floor(clip(image_weight u + pattern_weight t)) in grey levels, t = delta sin(2 pi frequency column / side).

    delta: amplitude in grey levels, in [0, 255] (the papers' Delta). test_factor: what the amplitude is multiplied
    with at test time. frequency: periods across the image, at most half its side (f). wrap: keep t in 8 unsigned bits.
    image_weight (at most four decimals), pattern_weight: in [0, 1]; both 1 is the plain sum.
    Raises InvalidValueError outside of these.
    """

    name: ClassVar[str] = "sig"
    clean_label: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Preset]] = {
        "bsd": Preset(_BSD),
        "vab": Preset(Plan(0.1, 0, "exact-target"), _WRAPPED, sizes={LARGE: _IMAGENET}),
        "dst_dbr": Preset(Plan(0.1, 0, "exact-target"), {"test_factor": 1.5}),
    }

    plan: Plan = _BSD
    delta: float = 40.0
    test_factor: float = 1.0
    frequency: int = 6
    wrap: bool = False
    image_weight: float = 1.0
    pattern_weight: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("delta", self.delta, 0.0, 255.0)
        check_range("delta * test_factor", self.delta * self.test_factor, 0.0, 255.0)
        check_range("frequency", self.frequency, 1, max(1, self.image_size // 2))
        check_range("pattern_weight", self.pattern_weight, 0.0, 1.0)
        check_weight("image_weight", self.image_weight)

    def __call__(self, images: Tensor, index: Tensor | None = None) -> Tensor:
        return self._apply(images, self.delta)

    def trigger(self, images: Tensor, index: Tensor | None = None) -> Tensor:
        return self._apply(images, self.delta * self.test_factor)

    def _apply(self, images: Tensor, delta: float) -> Tensor:
        self.check_images(images)
        weights = self.image_weight, self.pattern_weight
        rule = _rule(self.image_size, delta, self.frequency, self.wrap, *weights)
        if isinstance(rule, Mix):
            return rule(images)
        low, high, added = (item.to(images.device) for item in rule)
        out = torch.empty_like(images)
        for part in chunks(images):
            torch.clamp(images[part], low, high, out=out[part]).add_(added)
        return out
