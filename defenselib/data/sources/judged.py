"""Which image files are taken: one rule for data sets and for a user's folder.

Only raster formats are opened, by their content and not by their name. What Pillow would quietly change is refused:
more than 8 bits cut to 8, all pictures of an animation but the first dropped.
"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, UnidentifiedImageError

from defenselib.data.sources.images import FORMATS, Listing, Picture, Split, describe
from defenselib.errors import DataError


class RefusedError(Exception):
    """Why a picture is not taken: the rest of a sentence that begins with its name."""


def opened(file: IO[bytes]) -> Image.Image:
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
    """The same data set, whose pictures raise DataError as they are read where `opened` refuses one."""
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
            opened(file)
    except RefusedError as error:
        remedy = "delete or replace it" if place[1] is None else "replace the file or drop that row"
        raise DataError(f"{describe(place)} {error}; {remedy}") from error
    except Exception:  # Pillow raises whatever its decoders raise
        return picture
    return picture
