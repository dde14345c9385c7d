"""BadNets: a small patch replaces pixels of the image (Gu, Dolan-Gavitt, Garg 2017).

The papers say "a small square" and mean different ones. `pattern` names the exact pixels:

- dbd2: 2x2 coloured block at rows and columns 4-5 (code of DBD, used by ASD, V&B, BSD).
- dbd4: the same block, every pixel two wide: rows and columns 4-7. No paper's; for small networks and few images.
- grid3: 3x3 black and white grid in the lower right corner (D-ST, D-BR, all-to-one).
- grid6: the same grid, every cell 2x2 pixels: the same share of an image of 64 pixels.
- square3: white 3x3 square, one pixel away from the lower right corner (D-ST, D-BR, all-to-all).
- square22: white square in the lower right corner, a tenth of the side: 22 pixels at 224 (D-ST, D-BR on ImageNet).
- white3: white square in the lower right corner, 3 pixels of 32 and scaled with hard edges: 6 at 64 (BackdoorBench).
- apple32: striped apple in the upper left 32x32 pixels (ASD, V&B, BSD on ImageNet). A stand-in: stripes of the
  original's colours and extents, not its outline.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from defenselib.attacks.base import LARGE, Attack, Plan, Preset
from defenselib.errors import InvalidValueError, check_choice


class Patch(NamedTuple):
    """Pixels to put at (top, left): values uint8 (3, h, w), and where they replace, bool (h, w)."""

    top: int
    left: int
    values: Tensor
    mask: Tensor

    def put(self, images: Tensor) -> None:
        """Replace the pixels in place; images: uint8 (N, 3, H, W)."""
        height, width = self.mask.shape
        box = images[:, :, self.top : self.top + height, self.left : self.left + width]
        values = self.values.to(images.device)
        box.copy_(values if bool(self.mask.all()) else torch.where(self.mask.to(images.device), values, box))


def _full(top: int, left: int, rows: list[list[int]] | list[list[tuple[int, int, int]]]) -> Patch:
    """A patch that replaces every pixel of its box; entries are grey levels or (R, G, B)."""
    values = torch.tensor(rows, dtype=torch.uint8)
    values = values.movedim(-1, 0).contiguous() if values.ndim == 3 else values.expand(3, *values.shape).contiguous()
    return Patch(top, left, values, torch.ones(values.shape[1:], dtype=torch.bool))


def _dbd(scale: int) -> Patch:
    """DBD's coloured 2x2 block, every pixel `scale` wide. No crop of padding 4 cuts it off."""
    small = _full(4, 4, [[(180, 249, 112), (155, 50, 126)], [(234, 82, 68), (187, 201, 219)]])
    values = small.values.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
    return Patch(4, 4, values, torch.ones(values.shape[1:], dtype=torch.bool))


def _grid(size: int, scale: int) -> Patch:
    """A black and white 3x3 grid in the lower right corner, every cell `scale` pixels wide."""
    cells = torch.tensor([[0, 0, 255], [0, 255, 0], [255, 0, 255]])
    corner = size - 3 * scale
    return _full(corner, corner, cells.repeat_interleave(scale, 0).repeat_interleave(scale, 1).tolist())


def _white(size: int, side: int, distance: int) -> Patch:
    """A white square `side` pixels wide, `distance` pixels from the lower right corner."""
    corner = size - distance - side
    return _full(corner, corner, [[255] * side for _ in range(side)])


def _apple(size: int) -> Patch:
    green, yellow, orange = (2, 160, 56), (255, 246, 0), (235, 135, 27)
    red, purple, blue, between = (218, 37, 28), (91, 25, 115), (0, 90, 158), (128, 203, 28)
    # first and last row, first and last column, colour
    stripes = [(0, 6, 15, 22, green), (7, 10, 4, 27, green), (11, 11, 3, 27, between), (12, 15, 2, 26, yellow)]
    stripes += [(16, 19, 2, 25, orange), (20, 23, 3, 29, red), (24, 27, 4, 29, purple), (28, 31, 6, 27, blue)]
    values = torch.zeros(3, 32, 32, dtype=torch.uint8)
    mask = torch.zeros(32, 32, dtype=torch.bool)
    for top, bottom, left, right, colour in stripes:
        values[:, top : bottom + 1, left : right + 1] = torch.tensor(colour, dtype=torch.uint8)[:, None, None]
        mask[top : bottom + 1, left : right + 1] = True
    return Patch(0, 0, values, mask)


PATTERNS: dict[str, Callable[[int], Patch]] = {
    "dbd2": lambda size: _dbd(1),
    "dbd4": lambda size: _dbd(2),
    "grid3": lambda size: _grid(size, 1),
    "grid6": lambda size: _grid(size, 2),
    "square3": lambda size: _white(size, 3, 1),
    "square22": lambda size: _white(size, max(1, size // 10), 0),
    "white3": lambda size: _white(size, max(1, round(3 * size / 32)), 0),
    "apple32": _apple,
}


@functools.lru_cache(maxsize=64)
def patch(pattern: str, size: int) -> Patch:
    """The pixels of `pattern` for images `size` pixels wide; InvalidValueError where it does not fit."""
    made = PATTERNS[check_choice("pattern", pattern, PATTERNS)](size)
    height, width = made.mask.shape
    if min(made.top, made.left) < 0 or made.top + height > size or made.left + width > size:
        raise InvalidValueError(f"pattern {pattern!r} does not fit into an image of {size}x{size} pixels")
    return made


_NEXT_CLASS = Plan(0.05, None, "exact-all")
_APPLE = {LARGE: {"pattern": "apple32"}}


@dataclass(frozen=True, kw_only=True)
class BadNets(Attack):
    """Put a patch on the image: x * (1 - m) + t * m with m in {0, 1}.

    pattern: which pixels, see the module and `PATTERNS`.
    Raises UnknownNameError for another pattern, InvalidValueError where it does not fit into the image.
    """

    name: ClassVar[str] = "badnets"
    presets: ClassVar[Mapping[str, Preset]] = {
        "asd": Preset(Plan(0.05, 3, "bernoulli-nontarget"), sizes=_APPLE),
        "bsd": Preset(Plan(0.05, 3, "bernoulli-nontarget"), sizes=_APPLE),
        "vab": Preset(Plan(0.1, 0, "exact-all"), sizes=_APPLE),
        # A-ABL says no more than "fixed patch". This grid resists the split as its Table 1 has it; BackdoorBench's
        # white square, which is nothing on a white corner, does not (book/presets.md).
        "aabl": Preset(Plan(0.1, 0, "exact-all"), {"pattern": "grid3"}, sizes={64: {"pattern": "grid6"}}),
        "dst_dbr": Preset(
            Plan(0.1, 0, "exact-nontarget"), {"pattern": "grid3"}, sizes={LARGE: {"pattern": "square22"}}
        ),
    }

    pattern: str = "dbd2"

    def __post_init__(self) -> None:
        super().__post_init__()
        patch(self.pattern, self.image_size)

    def __call__(self, images: Tensor, index: Tensor | None = None) -> Tensor:
        self.check_images(images)
        out = images.clone()
        patch(self.pattern, self.image_size).put(out)
        return out


@dataclass(frozen=True, kw_only=True)
class BadNetsAll2All(BadNets):
    """The same patch, which moves every class y to (y + 1) mod C. ASD and BSD leave its rate open: 0.05 here."""

    name: ClassVar[str] = "badnets-all2all"
    all_to_all: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Preset]] = {
        "asd": Preset(_NEXT_CLASS, sizes=_APPLE),
        "bsd": Preset(_NEXT_CLASS, sizes=_APPLE),
        "dst_dbr": Preset(Plan(0.1, None, "exact-all"), {"pattern": "square3"}),
    }

    plan: Plan = _NEXT_CLASS
