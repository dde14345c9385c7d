"""Refool: the reflection of another photo, as on a window pane, is the trigger (Liu, Ma, Bailey, Lu 2020).

ASD and BSD use it with dirty labels and one of three kinds of reflection at random (see `optics`); the search of the
original for the photos that work best is not part of that. They say no more. At the strength of the original code, 0.05
to 0.45, the attack does not take here: there, images are enlarged to 560 pixels before they are blended; here they are
blended as they are, where the kinds stay distinct. So both presets take the one strength of BackdoorBench, 0.6, which
blends at the data set's size too and which BSD names among its sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from defenselib.attacks.base import Plan, Preset
from defenselib.attacks.hashing import uniform
from defenselib.attacks.optics import LONGEST, WIDEST, ghost, in_focus, out_of_focus
from defenselib.attacks.reflections import FEWEST, SOURCES, check_source, draw_reflections, load_reflections
from defenselib.attacks.trained import TrainedAttack
from defenselib.data.types import ImageSet
from defenselib.errors import check_range
from defenselib.learning.context import Context
from defenselib.seeds import spawn

SHIFT = (3, LONGEST)  # pixels, of the second image of a ghost
SECOND = (0.15, 0.5)  # its weight, or one minus it
SIGMA = (1.0, WIDEST)  # pixels, of the blur
DARKENING = (1.08, 1.18)  # times the overexposure
SMALLEST = 16  # pixels: twice the longest shift, and more than the blur reaches
_PIECE = 1 << 16  # image values that are worked on at a time: as float64 they stay in the processor's cache


class Draws(NamedTuple):
    """What is drawn for each image; all (N,). kind: 0 ghost, 1 out of focus, 2 in focus. photo: in the bank."""

    kind: Tensor
    photo: Tensor
    a: Tensor
    weight: Tensor
    down: Tensor
    right: Tensor
    sigma: Tensor
    darkening: Tensor

    def select(self, rows: Tensor) -> Draws:
        return Draws(*(values[rows] for values in self))


_PLAN = Plan(0.05, 3, "bernoulli-nontarget")
_BENCH = {"weakest": 0.6, "strongest": 0.6}


@dataclass(frozen=True, kw_only=True)
class Refool(TrainedAttack):
    """Put the reflection of a photo on the image; kind, photo and strength are drawn once for each image.

    The test trigger is drawn anew. a is one minus a number drawn evenly from `weakest` to `strongest`, the weight of
    the reflection: 0.05 to 0.45 in the original code, 0.6 for both in BackdoorBench. (An in-focus reflection has
    weights of its own.)

    reflections: "auto" (another data set's test images if one is at hand, else drawn pictures), "synthetic" (drawn),
    "cifar10", "gtsrb", "cifar100" (its test images), or the path of a folder with at least 200 image files.
    candidates: how many photos there are to choose from, at most; 5,000 in the papers.
    Raises UnknownNameError, InvalidValueError, or DataError for a folder that is not there or holds too few images.
    """

    name: ClassVar[str] = "refool"
    presets: ClassVar[Mapping[str, Preset]] = {"asd": Preset(_PLAN, _BENCH), "bsd": Preset(_PLAN, _BENCH)}

    plan: Plan = _PLAN
    weakest: float = 0.05
    strongest: float = 0.45
    reflections: str = "auto"
    candidates: int = 5000

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(f"image_size of attack {self.name!r}", self.image_size, SMALLEST, 1 << 14)
        check_range("strongest", self.strongest, 0.0, 1.0)
        check_range("weakest", self.weakest, 0.0, self.strongest)
        check_range("candidates", self.candidates, FEWEST, 100_000)
        check_source(self.reflections)

    def files(self) -> tuple[str, ...]:
        return () if self.reflections in SOURCES else ("reflections",)

    def prepare(self, train: ImageSet, target: int | None, context: Context) -> Self:
        """The attack with its bank of photos: made in seconds, so that it is not worth a place in the store."""
        self.check_images(train.images)
        return self.with_trained(self.learn(train, target, context))

    def learn(self, train: ImageSet, target: int | None, context: Context) -> dict[str, Tensor]:
        return {"photos": load_reflections(self.reflections, train.images, self.candidates, self.seed)}

    def untrained(self) -> Self:
        """Ready to use with drawn photos, whatever `reflections` says; for speed and shapes only."""
        return self.with_trained({"photos": draw_reflections(FEWEST, self.image_size, self.seed)})

    def __call__(self, images: Tensor, index: Tensor | None = None) -> Tensor:
        return self._reflect(images, index, "train")

    def trigger(self, images: Tensor, index: Tensor | None = None) -> Tensor:
        return self._reflect(images, index, "test")

    def draw(self, index: Tensor, stream: str, photos: int) -> Draws:
        """What the images at the positions `index` (int64 (N,)) get, `stream` being "train" or "test"."""

        def between(name: str, low: float, high: float) -> Tensor:
            return low + (high - low) * uniform(index, spawn(self.seed, self.name, stream, name))

        def whole(name: str, low: int, high: int) -> Tensor:
            return between(name, low, high + 1).long().clamp_(max=high)

        second = between("weight", *SECOND)
        return Draws(
            kind=whole("kind", 0, 2),
            photo=whole("photo", 0, photos - 1),
            a=1 - between("a", self.weakest, self.strongest),
            weight=(whole("coin", 0, 1) - second).abs(),
            down=whole("down", *SHIFT),
            right=whole("right", *SHIFT),
            sigma=between("sigma", *SIGMA),
            darkening=between("darkening", *DARKENING),
        )

    def _reflect(self, images: Tensor, index: Tensor | None, stream: str) -> Tensor:
        self.check_images(images)
        photos = self.ready()["photos"].to(images.device)
        if index is None:
            index = torch.arange(len(images), device=images.device)
        drawn = self.draw(index, stream, len(photos))
        out = torch.empty_like(images)
        piece = max(1, _PIECE // (3 * self.image_size**2))
        for kind in range(3):
            for rows in (drawn.kind == kind).nonzero().flatten().split(piece):
                d = drawn.select(rows)
                pair = images[rows], photos[d.photo]
                if kind == 0:
                    out[rows] = ghost(*pair, d.a, d.weight, d.down, d.right)
                elif kind == 1:
                    out[rows] = out_of_focus(*pair, d.a, d.sigma, d.darkening)
                else:
                    out[rows] = in_focus(*pair)
        return out
