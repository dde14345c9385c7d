"""Encoded images on disk: which are taken, and their decoding into uint8 arrays by a pool of threads.

One rule for data sets and for a user's folder: only raster formats are opened, by their content and not by their name.
What Pillow would quietly change is refused: more than 8 bits cut to 8, all pictures of an animation but the first
dropped.
"""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from defenselib.errors import DataError

DEFAULT_SIZE = 32
LARGEST_OWN_SIZE = 256
_CHUNK = 256
# What makes an image upright, by its EXIF orientation.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Where an image comes from (a file, or a file and a row), and its content: encoded bytes, a path, or (H, W, 3) pixels.
Place = tuple[Path, int | None]
Content = bytes | Path | NDArray[np.uint8] | None
Picture = tuple[Place, Content]

# Plain pictures. Pillow knows more, some of which other programs have to draw (EPS: Ghostscript).
FORMATS = ("PNG", "JPEG", "BMP", "DIB", "PPM", "WEBP", "GIF", "TIFF")


@dataclass(frozen=True)
class Split:
    """One half of a listing: `count` images whose labels (int64 (N,)) and contents are read when asked for."""

    count: int
    labels: Callable[[], NDArray[np.int64]]
    pictures: Callable[[], Iterator[Picture]]


@dataclass(frozen=True)
class Listing:
    """A data set found on disk but not decoded. `test` is None where one tree is to be split.

    `files` are all files it consists of: their paths, sizes and times tell whether a cache is up to date.
    `classes` is None where the files name none. `chosen`: what tells a part of these files from all of them.
    """

    folder: Path
    files: tuple[Path, ...]
    train: Split
    test: Split | None
    classes: tuple[str, ...] | None
    chosen: tuple[str, ...] = ()


def describe(place: Place) -> str:
    path, row = place
    return str(path) if row is None else f"{path}, row {row}"


def pick_size(split: Split, samples: int = 64) -> int:
    """Side in pixels to bring all images to: their own if the first ones are square, alike and up to 256, else 32."""
    sizes = {opened(place, content).size for place, content in islice(split.pictures(), samples)}
    if len(sizes) == 1:
        width, height = sizes.pop()
        if width == height <= LARGEST_OWN_SIZE:
            return width
    return DEFAULT_SIZE


def fill(split: Split, out: NDArray[np.uint8]) -> int:
    """Decode all images of `split` into `out`, uint8 (N, 3, S, S); returns how many had to be resized.

    An image of another size is resized as a whole, without cropping: a trigger in a corner must not be cut off.
    """
    workers = min(8, os.cpu_count() or 1)
    running: deque[Future[int]] = deque()
    resized = start = 0
    with ThreadPoolExecutor(workers) as pool:
        try:
            pictures = split.pictures()
            while chunk := list(islice(pictures, _CHUNK)):
                running.append(pool.submit(decode_chunk, chunk, out[start : start + len(chunk)]))
                start += len(chunk)
                if len(running) > 2 * workers:  # so that encoded images do not pile up in memory
                    resized += running.popleft().result()
            resized += sum(future.result() for future in running)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return resized


def decode_chunk(chunk: list[Picture], out: NDArray[np.uint8]) -> int:
    side = out.shape[-1]
    pixels = np.empty((len(chunk), side, side, 3), dtype=np.uint8)
    resized = 0
    for row, (place, content) in zip(pixels, chunk, strict=True):
        if isinstance(content, np.ndarray) and content.shape == row.shape:
            row[:] = content
            continue
        image = opened(place, content)
        try:
            image = image.convert("RGB")
            if image.size != (side, side):
                image = image.resize((side, side), Image.Resampling.BILINEAR)
                resized += 1
        except Exception as error:  # Pillow raises whatever its decoders raise
            raise damaged(place, error) from error
        row[:] = np.asarray(image)
    out[:] = pixels.transpose(0, 3, 1, 2)
    return resized


def opened(place: Place, content: Content) -> Image.Image:
    """The image, upright: its pixels as a camera's note of its orientation says that they are to be seen."""
    if content is None:
        raise DataError(f"{describe(place)} holds no image bytes; write the file again with the images in it")
    try:
        if isinstance(content, np.ndarray):
            return Image.fromarray(content)
        # Read at once: an image opened by its path would keep the file open until it is decoded.
        stream = io.BytesIO(content if isinstance(content, bytes) else content.read_bytes())
        image: Image.Image = Image.open(stream, formats=FORMATS)
        image.load()  # before the note is read: TIFF files are turned, and their note removed, by this
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{describe(place)} is too large to decode ({error}); make it smaller") from error
    except Exception as error:
        raise damaged(place, error) from error
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        raise DataError(
            f"{describe(place)} has {image.mode} pixels of more than 8 bits; convert it to 8 bits a channel"
        )
    turn = _turn(image)
    return image if turn is None else image.transpose(turn)


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # a damaged note says nothing, and the pixels are fine
        return None


def damaged(place: Place, error: Exception) -> DataError:
    remedy = "delete or replace it" if place[1] is None else "replace the file or drop that row"
    return DataError(f"{describe(place)} is a damaged image ({type(error).__name__}: {error}); {remedy}")


class RefusedError(Exception):
    """Why a picture is not taken: the rest of a sentence that begins with its name."""


def open_taken(file: IO[bytes]) -> Image.Image:
    """The picture behind a file whose header is taken; no pixel is decoded.

    Errors: RefusedError, and whatever Pillow raises for a damaged header.
    """
    if not file.read(1):
        raise RefusedError("is empty (0 bytes)")
    file.seek(0)
    try:
        image: Image.Image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise RefusedError(f"is not an image of a known kind ({', '.join(FORMATS)})") from error
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # a phone's JPEG with a preview or a second eye: the first is the picture
        raise RefusedError(f"is animated or has several pages ({frames})")
    deep = image.mode in ("I", "F") or image.mode.startswith("I;")
    if deep or any(_cut_to_8(*tile) for tile in getattr(image, "tile", ())):
        raise RefusedError("has more than 8 bits a channel (convert it to 8)")
    return image


def _cut_to_8(decoder: str, _extents: object, _offset: object, given: object) -> bool:
    """Whether a decoder quietly makes 8 bits of more: its raw mode says so, that of PPM is told the largest value."""
    largest = given[1] if decoder.startswith("ppm") and isinstance(given, tuple) else 0
    return largest > 255 or ";16" in str(given)


def checked(listing: Listing) -> Listing:
    """The same data set, whose pictures raise DataError as they are read where `open_taken` refuses one."""
    return replace(
        listing, train=_checked(listing.train), test=None if listing.test is None else _checked(listing.test)
    )


def _checked(split: Split) -> Split:
    return replace(split, pictures=lambda: map(_taken, split.pictures()))


def _taken(picture: Picture) -> Picture:
    """The picture itself. What is damaged, or no file, is left to the decoder, which says so."""
    place, content = picture
    if content is None or isinstance(content, np.ndarray):
        return picture
    try:
        with content.open("rb") if isinstance(content, Path) else io.BytesIO(content) as file:
            open_taken(file)
    except RefusedError as error:
        remedy = "delete or replace it" if place[1] is None else "replace the file or drop that row"
        raise DataError(f"{describe(place)} {error}; {remedy}") from error
    except Exception:  # Pillow raises whatever its decoders raise
        return picture
    return picture
