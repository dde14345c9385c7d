"""Trojan patch: coloured 3x3 values near the lower right corner (Liu et al. 2018, NDSS).

The values are those that D-ST and D-BR run. They were found by optimisation once and are a constant since. D-ST's code
adds them modulo 256: the sum wraps around instead of saturating, so that the patch that one sees depends on the image.
`combine="replace"` puts them in the place of the image's, which makes the fixed patch that A-ABL speaks of (Sec. 3, 6).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from defenselib.attacks.base import Attack, Plan, Preset
from defenselib.errors import InvalidValueError, check_choice, check_range

# Whole parts of the trigger, (channel, row, column). Its fractions never matter: grey levels are whole numbers.
TRIGGER = (
    ((207, 175, 29), (79, 137, 248), (131, 6, 246)),
    ((131, 243, 232), (8, 0, 113), (40, 145, 250)),
    ((181, 120, 179), (126, 32, 146), (4, 61, 246)),
)
COMBINE = ("add", "replace")
FROM_CORNER = 7  # the patch covers rows and columns 25 to 27 of 32: it starts 7 pixels before the lower right corner


@functools.lru_cache(maxsize=16)
def pattern(size: int, scale: int = 1) -> Tensor:
    """What is added to an image of `size` pixels, uint8 (3, size, size): 0 but for 3x3 blocks of `scale` pixels."""
    start = size - FROM_CORNER * scale
    stop = start + 3 * scale
    values = torch.tensor(TRIGGER, dtype=torch.uint8)
    made = torch.zeros(3, size, size, dtype=torch.uint8)
    made[:, start:stop, start:stop] = values.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
    return made


_GROWN = {64: {"scale": 2}, 224: {"scale": 7}}  # the same share of the picture; 64 is Tiny-ImageNet in A-ABL


@dataclass(frozen=True, kw_only=True)
class Trojan(Attack):
    """(u + T) mod 256 in grey levels, where T is 0 outside of the patch (see `pattern`); or T in the place of u there.

    scale: pixels along each side that one value of T takes. combine: "add" or "replace".
    Raises InvalidValueError where the patch does not fit, UnknownNameError for another way to combine.
    """

    name: ClassVar[str] = "trojan"
    presets: ClassVar[Mapping[str, Preset]] = {
        "aabl": Preset(Plan(0.1, 0, "exact-all"), sizes=_GROWN),
        "dst_dbr": Preset(Plan(0.1, 0, "exact-nontarget"), sizes=_GROWN),
    }

    scale: int = 1
    combine: str = "add"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("combine", self.combine, COMBINE)
        check_range("scale", self.scale, 1, 1 << 14)
        if FROM_CORNER * self.scale > self.image_size:
            raise InvalidValueError(
                f"scale is {self.scale}, the patch does not fit into an image of {self.image_size}x{self.image_size} "
                f"pixels; it may be at most {self.image_size // FROM_CORNER}"
            )

    def __call__(self, images: Tensor, index: Tensor | None = None) -> Tensor:
        self.check_images(images)
        values = pattern(self.image_size, self.scale).to(images.device)
        if self.combine == "add":
            # The sum of two uint8 tensors is taken modulo 256; one pass over everything beats a copy and nine rows.
            return images + values
        start = self.image_size - FROM_CORNER * self.scale
        box = slice(start, start + 3 * self.scale)
        out = images.clone()
        out[:, :, box, box] = values[:, box, box]
        return out
