"""A user's folder as an image set: everything readable is taken, everything else is reported, nothing raises for it."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from defenselib.audit.layouts import find
from defenselib.audit.names import visible
from defenselib.audit.pictures import MOST_CLASSES, Content, Found, Header, Skipped, decode, look
from defenselib.data.types import ImageSet
from defenselib.errors import DataError, check_range
from defenselib.folders import expanded
from defenselib.plots.words import plural

SIZES = (32, 64, 96, 128, 224)
LEAST_SIZE, LARGEST_SIZE = 16, 512
_IN_MEMORY = 2 << 30  # bytes of pixels; more lie in a file without a name, which the system pages in
_CHUNK = 64
T = TypeVar("T")

__all__ = ["SIZES", "Skipped", "UserData", "read_folder"]


@dataclass(frozen=True)
class UserData:
    """A user's pictures, as a defense may see them.

    root: the folder, absolute. images: uint8 (N, 3, S, S) and labels int64 (N,). files: relative path of each image, or
    `TABLE.parquet#ROW`, in their order. classes: names of folders or labels of a table (with what a terminal would obey
    as escapes) by label.
    skipped: what is not among them, and why. notes: what was done, in sentences.
    """

    root: Path
    images: ImageSet
    files: tuple[str, ...]
    classes: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]


def read_folder(
    root: str | Path, image_size: int | None = None, *, label_column: str | None = None, progress: bool = False
) -> UserData:
    """Read a folder of class folders, a train/ tree of them, images beside a table of labels (labels.csv, metadata.csv,
    metadata.jsonl), Parquet tables, or a data set as torchvision stores it.

    image_size: side S in pixels, 16 to 512; None takes the one of 32, 64, 96, 128 and 224 that is nearest to the median
    shorter side. Pictures are resized as a whole. label_column: where a table has the labels; None: the only column
    that could be it, in Parquet one of a usual name. Errors: DataError for a folder that is none or holds no data set
    of 2 to 1,000 classes with a readable picture, NoTableError (a DataError) for a column where there is no table,
    InvalidValueError for a size, UnknownNameError for a column.
    """
    if image_size is not None:
        check_range("image_size", image_size, LEAST_SIZE, LARGEST_SIZE)
    place = _checked(root)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's on damaged notes: what matters is reported by file
        found = find(place, label_column)
        names = _shown(found.classes, place)
        seen = list(_each(found, look, len(found.names), "looking", progress))
        headers = [item for item in seen if isinstance(item, Header)]
        if not headers:
            reason = next((f"; the first: {visible(found.names[0])} {item}" for item in seen if item), "")
            reason += next((f"; beside them: {visible(item.file)} ({item.reason})" for item in found.skipped), "")
            raise DataError(f"{place} has no readable image among {len(seen)} files{reason}")
        side = image_size or _nearest_size(headers)
        pixels, failed = _decoded(found, seen, side, progress)
    skipped = [Skipped(name, item) for name, item in zip(found.names, seen, strict=True) if isinstance(item, str)]
    kept = [i for i, item in enumerate(seen) if not isinstance(item, str)]
    good = [row for row in range(len(kept)) if row not in failed]
    skipped += [Skipped(found.names[kept[row]], reason) for row, reason in failed.items()]
    everything = sorted({*found.skipped, *skipped}, key=lambda item: item.file)
    labels, classes, notes = _relabelled([found.labels[kept[row]] for row in good], names, place, everything)
    images = torch.from_numpy(pixels if not failed else pixels[good])
    return UserData(
        root=place,
        images=ImageSet(images, torch.tensor(labels, dtype=torch.int64)),
        files=tuple(found.names[kept[row]] for row in good),
        classes=classes,
        skipped=tuple(everything),
        notes=(*found.notes, *_notes([headers[row] for row in good], side, image_size), *notes),
    )


def _checked(root: str | Path) -> Path:
    place = expanded(root).absolute()
    try:
        if place.is_dir():
            return place
        what = "is a file; give the folder that holds it" if place.exists() else "does not exist"
    except (OSError, ValueError) as error:
        what = f"cannot be looked at ({error})"
    raise DataError(
        f"{place} {what}; a folder of class folders, images with a table of labels, Parquet tables or a torchvision "
        "data set is needed"
    )


def _each(
    found: Found,
    function: Callable[[Content], T],
    total: int,
    what: str,
    progress: bool,
    wanted: Callable[[int], bool] = lambda _: True,
) -> Iterator[T]:
    """`function` of the wanted pictures, in order, by a few threads (decoders leave Python's lock)."""
    contents = (item for i, item in enumerate(found.contents()) if wanted(i))
    with (
        ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool,
        tqdm(total=total, desc=what, unit=" files", disable=not progress) as bar,
    ):
        while chunk := list(islice(contents, _CHUNK)):
            yield from pool.map(function, chunk)
            bar.update(len(chunk))


def _decoded(
    found: Found, seen: list[Header | str], side: int, progress: bool
) -> tuple[NDArray[np.uint8], dict[int, str]]:
    """Pixels (N, 3, S, S) of all pictures with a header, and the reasons of those rows that could not be decoded."""
    count = sum(isinstance(item, Header) for item in seen)
    out = _allocate((count, 3, side, side))
    failed: dict[int, str] = {}
    results = _each(found, lambda content: decode(content, side), count, "decoding", progress,
                    lambda i: isinstance(seen[i], Header))  # fmt: skip
    for row, result in enumerate(results):
        if isinstance(result, str):
            failed[row] = result
        else:
            out[row] = result.transpose(2, 0, 1)
    return out, failed


def _allocate(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    if int(np.prod(shape)) <= _IN_MEMORY:
        return np.empty(shape, dtype=np.uint8)
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, dtype=np.uint8, mode="w+", shape=shape)


def _nearest_size(headers: list[Header]) -> int:
    median = float(np.median([item.shorter for item in headers]))
    return min(SIZES, key=lambda size: (abs(size - median), size))


def _shown(classes: tuple[str, ...], root: Path) -> tuple[str, ...]:
    """The names of classes as a terminal can show them; refused where two become one by that."""
    names = tuple(map(visible, classes))
    for name, count in Counter(names).items():
        if count > 1:
            raise DataError(f"{root} has {count} classes whose names read {name}; rename all but one of them")
    return names


def _relabelled(
    labels: list[int], classes: tuple[str, ...], root: Path, skipped: list[Skipped]
) -> tuple[list[int], tuple[str, ...], list[str]]:
    """Labels without gaps, the names of the classes that have a picture, and notes on those that have one or none."""
    used = sorted(set(labels))
    if not 2 <= len(used) <= MOST_CLASSES:
        what = "no class" if not used else "one class" if len(used) == 1 else f"{len(used)} classes"
        name = f", {classes[used[0]]}" if len(used) == 1 else ""
        lost = {Path(item.file).parent: f"{visible(item.file)} ({item.reason})" for item in reversed(skipped)}
        some = (
            f"; not read, the first of each folder: {_some([*lost.values()][::-1])}" if lost and len(used) < 2 else ""
        )
        raise DataError(f"{root} has {what} with a readable image{name}; 2 to {MOST_CLASSES} are allowed{some}")
    place = {label: new for new, label in enumerate(used)}
    lone = [classes[label] for label, count in sorted(Counter(labels).items()) if count == 1]
    gone = [name for label, name in enumerate(classes) if label not in place]
    notes = [f"classes with a single image: {_some(lone)}"] if lone else []
    notes += [f"classes without a readable image, left out: {_some(gone)}"] if gone else []
    return [place[label] for label in labels], tuple(classes[label] for label in used), notes


def _notes(headers: list[Header], side: int, image_size: int | None) -> list[str]:
    """What was done to the pictures that were taken."""
    sizes = [item.shorter for item in headers]
    rule = "as asked" if image_size else f"the one of {', '.join(map(str, SIZES))} nearest to the median shorter side"
    resized = sum((item.width, item.height) != (side, side) for item in headers)
    done = f"{resized} {'was' if resized == 1 else 'were'} resized"
    notes = [f"{len(headers)} images, shorter sides {min(sizes)} to {max(sizes)} pixels (median {np.median(sizes):g}); "
             f"used at {side}x{side} ({rule}); {done}, as a whole, without cropping"]  # fmt: skip
    for mode in sorted({item.mode for item in headers} - {"RGB"}):
        such = plural(sum(item.mode == mode for item in headers), "image", "was", "were")
        notes.append(f"{such} converted from {mode} to RGB")
    return notes


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
