"""The pictures of a user's folder: what is found, what is taken, what is left out and why, and how one becomes S x S
pixels.

The rule is that of data sets (`open_taken`), and more, for a folder that nobody vouches for and of which a file can be
left out. Nothing here raises for a picture; the reason is a text.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from defenselib.data.sources.images import Content, RefusedError, open_taken

MOST_PIXELS = 50_000_000  # of one picture: 150 MB when decoded
MOST_BYTES = 256_000_000  # of one file
LEAST_SIDE = 8
MOST_CLASSES = 1000


@dataclass(frozen=True)
class Header:
    """What a picture says of itself before it is decoded: size in pixels and Pillow's mode."""

    width: int
    height: int
    mode: str

    @property
    def shorter(self) -> int:
        return min(self.width, self.height)


def look(content: Content) -> Header | str:
    """The header of a picture that is taken, or the reason why it is left out. No pixel is decoded."""
    if isinstance(content, np.ndarray):
        return Header(content.shape[1], content.shape[0], "RGB")
    try:
        with _opened(content) as image:
            return _refused(image) or Header(*image.size, image.mode)
    except Exception as error:  # Pillow raises whatever its decoders raise
        return _why(error)


def decode(content: Content, side: int) -> NDArray[np.uint8] | str:
    """Pixels uint8 (side, side, 3) of a picture that `look` took, or the reason why it cannot be decoded.

    It is turned upright as its EXIF note says, brought to RGB as Pillow converts (grey is repeated, a palette looked
    up, an alpha channel dropped, as common loaders do), and resized as a whole, without cropping.
    """
    try:
        if isinstance(content, np.ndarray):
            return _sized(Image.fromarray(content), side)
        with _opened(content) as image:
            image.load()
            return _sized(_upright(image), side)
    except Exception as error:
        return _why(error)


@contextmanager
def _opened(content: bytes | Path | None) -> Iterator[Image.Image]:
    if content is None:
        raise RefusedError("holds no image bytes")
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    if size > MOST_BYTES:
        raise RefusedError(f"is huge: {size / 1e6:.0f} MB; at most {MOST_BYTES / 1e6:.0f} MB are read")
    with (
        io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file,
        open_taken(file) as image,
    ):
        yield image


def _refused(image: Image.Image) -> str:
    """Why a picture that a data set may hold is left out of a user's folder; empty if it is not."""
    width, height = image.size
    if width * height > MOST_PIXELS:
        return f"is huge: {width}x{height} pixels; at most {MOST_PIXELS // 1_000_000} million are decoded"
    if min(width, height) < LEAST_SIDE:
        return f"is tiny: {width}x{height} pixels; at least {LEAST_SIDE} a side"
    if image.mode == "CMYK":  # a data set may: ImageNet's own files hold a few, and loaders convert them
        return "has CMYK colours, whose look depends on the reader; convert it to RGB"
    return ""


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a damaged note says nothing, and the pixels are fine
        return image


def _sized(image: Image.Image, side: int) -> NDArray[np.uint8]:
    image = image.convert("RGB")
    if image.size != (side, side):
        image = image.resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(image)


def _why(error: Exception) -> str:
    if isinstance(error, RefusedError):
        return str(error)
    if isinstance(error, PermissionError):
        return "may not be read (permission denied)"
    if isinstance(error, Image.DecompressionBombError):
        return "is huge: more pixels than can be decoded safely"
    if isinstance(error, MemoryError):
        return "is huge: it does not fit into memory"
    return f"is damaged or truncated ({type(error).__name__}: {' '.join(str(error).split())[:120]})"


@dataclass(frozen=True)
class Skipped:
    """A file (or folder) that is not part of the data: its path relative to the user's folder, and one reason."""

    file: str
    reason: str


@dataclass(frozen=True)
class Found:
    """Pictures by name, not yet opened.

    names: relative path or row of each picture; labels: its position in `classes`; contents: the pictures in this
    order, anew at every call; skipped, notes: as of `UserData`.
    """

    names: tuple[str, ...]
    labels: tuple[int, ...]
    contents: Callable[[], Iterator[Content]]
    classes: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
