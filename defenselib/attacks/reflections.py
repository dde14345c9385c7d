"""Where Refool's reflections come from: photos of another data set, a folder of image files, or drawn pictures.

The papers take 5,000 photos of PascalVOC. An image of the training set must not be among them: the network would
meet it twice, once as itself and once as a trigger.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from defenselib.data.load import find, load_dataset
from defenselib.data.sources.folder import EXTENSIONS, images_below, split_of
from defenselib.data.sources.images import fill
from defenselib.data.types import Dataset
from defenselib.errors import DataError, unknown
from defenselib.seeds import generator

PHOTOS = ("cifar10", "gtsrb", "cifar100")  # the order in which "auto" asks for them
SOURCES = ("auto", "synthetic", *PHOTOS)
FEWEST = 200  # the number of photos that Refool's authors selected; fewer would make one of them the trigger
_BLOCK = 250  # pictures drawn at a time: bounds the memory, and makes a larger bank begin with the smaller one


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
