"""Refool: the reflection of another photo, as on a window pane, is the trigger (Liu, Ma, Bailey, Lu 2020).

ASD and BSD use it with dirty labels and one of three kinds of reflection at random (see `optics`); the search of the
original for the photos that work best is not part of that. They say no more. At the strength of the original code, 0.05
to 0.45, the attack does not take here: there, images are enlarged to 560 pixels before they are blended; here they are
blended as they are, where the kinds stay distinct. So both presets take the one strength of BackdoorBench, 0.6, which
blends at the data set's size too and which BSD names among its sources.

The papers take reflections from 5,000 photos of PascalVOC; here they are photos of another data set, a folder of image
files, or drawn pictures. An image of the training set must not be among them: the network would meet it twice, once as
itself and once as a trigger.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from defenselib.attacks.base import Plan, Preset, TrainedAttack, uniform
from defenselib.attacks.optics import LONGEST, WIDEST, ghost, in_focus, out_of_focus
from defenselib.data.load import find, load_dataset
from defenselib.data.sources.folder import EXTENSIONS, images_below, split_of
from defenselib.data.sources.images import fill
from defenselib.data.types import Dataset, ImageSet
from defenselib.errors import DataError, check_range, unknown
from defenselib.learning.context import Context
from defenselib.seeds import generator, spawn

PHOTOS = ("cifar10", "gtsrb", "cifar100")  # the order in which "auto" asks for them
SOURCES = ("auto", "synthetic", *PHOTOS)
FEWEST = 200  # the number of photos that Refool's authors selected; fewer would make one of them the trigger
_BLOCK = 250  # pictures drawn at a time: bounds the memory, and makes a larger bank begin with the smaller one
SHIFT = (3, LONGEST)  # pixels, of the second image of a ghost
SECOND = (0.15, 0.5)  # its weight, or one minus it
SIGMA = (1.0, WIDEST)  # pixels, of the blur
DARKENING = (1.08, 1.18)  # times the overexposure
SMALLEST = 16  # pixels: twice the longest shift, and more than the blur reaches
_PIECE = 1 << 16  # image values that are worked on at a time: as float64 they stay in the processor's cache


def check_source(name: str) -> None:
    """Raise UnknownNameError or DataError for `reflections` that are neither of `SOURCES` nor a folder of images."""
    if name in SOURCES:
        return
    folder = Path(name)
    if not folder.is_dir():
        if folder.name == name:
            raise unknown("reflections", name, [*SOURCES, "or the path of a folder of images"])
        raise DataError(f"the folder {name!r} of reflections does not exist; give the path of a folder of images")
    found = sum(1 for _ in images_below(folder))
    if found < FEWEST:
        raise DataError(
            f"the folder {name!r} of reflections holds {found} images ({', '.join(EXTENSIONS)}); "
            f"put at least {FEWEST} into it"
        )


def load_reflections(name: str, train: Tensor, count: int, seed: int) -> Tensor:
    """A bank of at most `count` reflections, uint8 (B, 3, S, S), for training images `train` (N, 3, S, S).

    name: see `Refool`. Of a data set the test images are taken. All are drawn by `seed`, and those that are training
    images, byte by byte, are left out.
    Raises DataError for a data set that is not there or is the training set itself, and where fewer than `FEWEST`
    pictures are left.
    """
    side = train.shape[-1]
    known = set(_fingerprints(train))
    if name == "auto":
        name = next(
            (other for other in PHOTOS if _at_hand(other) and not _same(_load(other, side), known)), "synthetic"
        )
    if name == "synthetic":
        bank = draw_reflections(count, side, seed)
    elif name in PHOTOS:
        other = _load(name, side)
        if _same(other, known):
            rest = ", ".join(repr(source) for source in SOURCES[1:] if source != name)
            raise DataError(f"reflections {name!r} are the training set itself; take one of {rest}, or a folder")
        bank = other.test.images[_order(len(other.test), seed)[:count]]
    else:
        bank = _read(Path(name), side, count, seed)
    fresh = torch.tensor([mark not in known for mark in _fingerprints(bank)], dtype=torch.bool)
    if int(fresh.sum()) < FEWEST:
        raise DataError(
            f"reflections {name!r}: {int(fresh.sum())} of {len(bank)} pictures are no training images, "
            f"{FEWEST} are needed; take another data set or folder"
        )
    return bank[fresh].contiguous().to(train.device)


def draw_reflections(count: int, side: int, seed: int) -> Tensor:
    """`count` pictures of noise, whose amplitude falls with 1/frequency as in photos, behind two to five polygons of
    one colour each; uint8 (count, 3, side, side) on the CPU."""
    blocks = [
        _draw(_BLOCK, side, generator(seed, "reflections", "synthetic", block)) for block in range(-(-count // _BLOCK))
    ]
    return torch.cat(blocks)[:count]


def _draw(n: int, side: int, source: torch.Generator) -> Tensor:
    down, across = torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)[None]
    frequency = torch.hypot(down, across)
    frequency[0, 0] = 1.0
    # Channels share most of the noise: photos are grey rather than colourful.
    white = torch.randn(n, 1, side, side, generator=source) + 0.25 * torch.randn(n, 3, side, side, generator=source)
    picture = torch.fft.irfft2(torch.fft.rfft2(white) / frequency, s=(side, side))
    picture = picture - picture.mean((1, 2, 3), keepdim=True)
    picture = 0.2 * picture / picture.std((1, 2, 3), keepdim=True)
    picture = picture + 0.25 + 0.5 * torch.rand(n, 1, 1, 1, generator=source)
    shown = torch.randint(2, 6, (n,), generator=source)
    for polygon in range(5):
        inside = _polygon(n, side, source) & (polygon < shown).view(n, 1, 1)
        picture = torch.where(inside.unsqueeze(1), torch.rand(n, 3, 1, 1, generator=source), picture)
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8)


def _polygon(n: int, side: int, source: torch.Generator) -> Tensor:
    """bool (n, side, side): a convex polygon each, what five half-planes around a random centre share."""
    axis = (torch.arange(side) + 0.5) / side
    x, y = (axis.view(shape) - torch.rand(n, 1, 1, 1, generator=source) for shape in ((1, 1, 1, side), (1, 1, side, 1)))
    turn = torch.arange(5).view(1, 5, 1, 1) + torch.rand(n, 5, 1, 1, generator=source)
    reach = 0.05 + 0.25 * torch.rand(n, 5, 1, 1, generator=source)
    angle = turn * (2 * torch.pi / 5)
    return (x * angle.cos() + y * angle.sin() < reach).all(1)


def _at_hand(name: str) -> bool:
    try:
        find(name, None, fetch=False)
    except DataError:
        return False
    return True


def _load(name: str, side: int) -> Dataset:
    """The data set at `side` pixels."""
    try:
        other = load_dataset(name)
        return other if other.test.image_size == side else load_dataset(name, image_size=side)
    except DataError as error:
        raise DataError(
            f"reflections {name!r}: {error}; or take reflections='synthetic', which need no files"
        ) from error


def _same(other: Dataset, known: set[bytes]) -> bool:
    """Whether most training images (or all of a part of them) are those of `other`."""
    return len(known.intersection(_fingerprints(other.train.images))) > len(known) / 2


def _read(folder: Path, side: int, count: int, seed: int) -> Tensor:
    files = sorted(images_below(folder))
    chosen = [files[i] for i in _order(len(files), seed)[:count].tolist()]
    pixels = np.empty((len(chosen), 3, side, side), np.uint8)
    fill(split_of([chosen]), pixels)
    return torch.from_numpy(pixels)


def _order(total: int, seed: int) -> Tensor:
    return torch.randperm(total, generator=generator(seed, "reflections", "order"))


def _fingerprints(images: Tensor) -> list[bytes]:
    """A hash of the pixels of each image."""
    return [hashlib.blake2b(row, digest_size=16).digest() for row in images.cpu().contiguous().numpy()]


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
