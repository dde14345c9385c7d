"""Decoded data sets on disk: uint8 .npy arrays that are memory-mapped, and a small JSON with the digest.

An entry is a folder named by its data set and a key over the source files' paths, sizes and times. It appears in one
step, complete; what is in it is checked at every load (shapes and a checksum) and made anew if it is not right. Arrays
of more than `LARGE` bytes are decoded by several processes, checked when their file is not the one that was checked
last, and handed out as `HostImages`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray

from defenselib.data.host.files import Mapped
from defenselib.data.host.images import HostImages, digest_in_parts
from defenselib.data.sources import bulk
from defenselib.data.sources.bulk import checksum
from defenselib.data.sources.images import Listing, checked, fill, pick_size
from defenselib.data.sources.labels import Labels, checked_labels
from defenselib.data.sources.preparation import Preparation
from defenselib.data.types import ImageSet, digest_of
from defenselib.errors import DataError, FolderError
from defenselib.folders import CACHE, atomic, cache_root, make, named, writing

LARGE = 1 << 31  # bytes of decoded images from which on a data set stays in its file
_PART = 512  # images that are checked at a time
_FORMAT = 2  # raise when the bytes or names of an entry change
Allocate = Callable[[str, tuple[int, ...]], NDArray[np.uint8]]


@dataclass(frozen=True)
class Decoded:
    """A decoded listing; `test` is None where it has no split of its own."""

    train: ImageSet
    test: ImageSet | None
    digest: str


def load_decoded(name: str, listing: Listing, preparation: Preparation | None = None) -> Decoded:
    """The decoded images of `listing`, from the cache if it holds them, else decoded and kept there.

    Errors: DataError for damaged images and labels, FolderError where DEFENSELIB_CACHE names a file. A cache folder
    that cannot be written only costs a warning, except to a data set that does not fit the memory: FolderError.
    """
    listing, how, large = checked(listing), preparation or Preparation(), False
    key = _key(listing, how)
    named(CACHE)
    try:
        entry = cache_root() / "decoded" / f"{name[:40]}-{key}"
        found = _read(entry)
        if found is not None:
            return found
        labels = checked_labels(listing)  # before any image is looked at
        sized = how if how.side is not None else replace(how, side=pick_size(listing.train))
        large = sized.crops or bytes_of(listing, sized) > LARGE
        make(entry.parent, CACHE)
        with writing(entry.parent, CACHE), FileLock(entry.with_name(entry.name + ".lock")):
            found = _read(entry)  # another process may have made it
            if found is not None:
                return found
            if large:
                return _write_large(entry, listing, labels, sized, how.side is None)
            return _write(entry, listing, how.side)
    except FolderError as error:
        if large:
            raise
        warnings.warn(f"no cache of decoded images: {error}", stacklevel=3)
        return _decode(listing, how.side, lambda _, shape: np.empty(shape, dtype=np.uint8))


def is_decoded(name: str, listing: Listing, how: Preparation) -> bool:
    """Whether the cache holds the decoded images of `listing`, or would if they are as they were. Errors: DataError."""
    return (cache_root() / "decoded" / f"{name[:40]}-{_key(listing, how)}" / "meta.json").is_file()


def bytes_of(listing: Listing, how: Preparation) -> int:
    """Of all decoded images, where their size is known."""
    count = listing.train.count + (0 if listing.test is None else listing.test.count)
    return 3 * count * (how.side or 0) ** 2


def _key(listing: Listing, how: Preparation) -> str:
    crop = [] if how.shorter is None else [how.shorter]
    state = hashlib.sha256(json.dumps([_FORMAT, how.side, *crop, *listing.chosen]).encode())
    for path in listing.files:
        try:
            facts = path.stat()
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error}); copy or download the data set again") from error
        if not stat.S_ISREG(facts.st_mode):
            raise DataError(f"{path} is no regular file; remove it")
        # Names of files are bytes, and need not be text.
        state.update(os.fsencode(path.absolute()) + f"\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode())
    return state.hexdigest()[:16]


def _write(entry: Path, listing: Listing, image_size: int | None) -> Decoded:
    partial = entry.with_name(entry.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()

    def allocate(name: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        free = shutil.disk_usage(partial).free
        if free < 1.02 * np.prod(shape):  # writing to a map on a full disk would kill the process
            warnings.warn(f"only {free / 1e6:.0f} MB are free at {partial}; the decoded data is not kept", stacklevel=2)
            return np.empty(shape, dtype=np.uint8)
        return np.lib.format.open_memmap(partial / f"{name}.npy", mode="w+", dtype=np.uint8, shape=shape)

    try:
        made = _decode(listing, image_size, allocate)
        arrays: dict[str, NDArray[Any]] = {}
        for name, item in (("train", made.train), ("test", made.test)):
            if item is not None:
                np.save(partial / f"{name}_labels.npy", item.labels.numpy())
                arrays |= {f"{name}_images": item.images.numpy(), f"{name}_labels": item.labels.numpy()}
        if all((partial / f"{name}.npy").exists() for name in arrays):
            content = {name: {"shape": list(item.shape), "sum": checksum(item)} for name, item in arrays.items()}
            meta = {"digest": made.digest, "folder": str(listing.folder), "arrays": content}
            (partial / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")
            shutil.rmtree(entry, ignore_errors=True)
            partial.replace(entry)
        return _read(entry) or made  # read anew: the arrays just written are shared with the file
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_large(
    entry: Path, listing: Listing, labels: tuple[Labels, Labels | None], how: Preparation, unasked: bool
) -> Decoded:
    """As `_write`, by several processes; what is done stays in the partial folder of a try that was killed."""
    partial = entry.with_name(entry.name + ".partial")
    make(partial, CACHE)
    there = sum(path.stat().st_blocks * 512 for path in partial.glob("*_images.npy"))
    free, needed = shutil.disk_usage(partial).free, bytes_of(listing, how) - there
    if free < 1.02 * needed:
        raise FolderError(
            f"{partial} needs {needed / 1e9:.1f} GB more for the decoded images and {free / 1e9:.1f} GB are free; make "
            f"room, or set {CACHE} to a folder on a larger disk"
        )
    sets, content, resized = [], {}, 0
    for name, split, found in (("train", listing.train, labels[0]), ("test", listing.test, labels[1])):
        if split is None or found is None:
            continue
        made = bulk.decode(partial, f"{name}_images", split, how)
        resized += made.resized
        np.save(partial / f"{name}_labels.npy", found)
        images = np.load(partial / f"{name}_images.npy", mmap_mode="c")
        sets.append(ImageSet(HostImages.over(images), torch.from_numpy(found)))
        content[f"{name}_images"] = {"shape": list(images.shape), "sum": made.sum}
        _note(partial / f"{name}_images.npy", made.sum)
        content[f"{name}_labels"] = {"shape": list(found.shape), "sum": checksum(found)}
    meta = {"digest": digest_in_parts(*sets), "folder": str(listing.folder), "arrays": content}
    (partial / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")
    (partial / bulk.JOURNAL).unlink(missing_ok=True)
    if resized and unasked:
        _warn_of(resized, listing, how.side)
    shutil.rmtree(entry, ignore_errors=True)
    partial.replace(entry)
    kept = _read(entry)
    if kept is None:
        raise FolderError(f"{entry} does not keep what is written to it; check the disk, or set {CACHE}")
    return kept


def _read(entry: Path) -> Decoded | None:
    """What the entry holds, or None if it is missing, incomplete or damaged."""
    try:
        meta = json.loads((entry / "meta.json").read_text(encoding="utf-8"))
        arrays: dict[str, Any] = {}
        for name, facts in meta["arrays"].items():
            # copy-on-write: whoever changes a tensor in place changes neither the file nor anybody else's tensor
            array = np.load(entry / f"{name}.npy", mmap_mode="c")
            if list(array.shape) != facts["shape"] or not _right(entry / f"{name}.npy", array, facts["sum"]):
                return None
            arrays[name] = HostImages.over(array) if _large(array) else torch.from_numpy(array)
        train = ImageSet(arrays["train_images"], arrays["train_labels"])
        test = ImageSet(arrays["test_images"], arrays["test_labels"]) if "test_images" in arrays else None
        return Decoded(train, test, str(meta["digest"]))
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _right(path: Path, array: NDArray[Any], noted: int) -> bool:
    """Whether an array has the checksum that was noted; of a large one, whether its file is the one that had it."""
    if not _large(array):
        return checksum(array) == noted
    seen = path.with_suffix(".checked")
    if seen.is_file() and seen.read_text(encoding="utf-8") == _stamp(path, noted):
        return True
    if _checksum_of(array) != noted:
        return False
    with contextlib.suppress(OSError):  # in a cache that cannot be written it is checked again
        _note(path, noted)
    return True


def _large(array: NDArray[Any]) -> bool:
    return array.ndim == 4 and array.nbytes > LARGE


def _stamp(path: Path, noted: int) -> str:
    facts = path.stat()
    return json.dumps([facts.st_size, facts.st_mtime_ns, facts.st_ino, noted])


def _note(path: Path, noted: int) -> None:
    """Leave word that the file as it is now was read and has this checksum."""
    with atomic(path.with_suffix(".checked")) as temporary:
        temporary.write_text(_stamp(path, noted), encoding="utf-8")


def _checksum_of(array: NDArray[Any]) -> int:
    """The checksum, read in parts that do not stay in this process's memory. A part is a multiple of eight bytes."""
    source, total = Mapped.of(array), 0
    for start in range(0, len(array), _PART):
        total += checksum(array[start : start + _PART])
        source.forget()
    return total % (1 << 64)


def _decode(listing: Listing, image_size: int | None, allocate: Allocate) -> Decoded:
    labels = dict(zip(("train", "test"), checked_labels(listing), strict=True))
    side = image_size or pick_size(listing.train)
    sets: dict[str, ImageSet] = {}
    resized = 0
    for name, split in (("train", listing.train), ("test", listing.test)):
        if split is not None:
            out = allocate(f"{name}_images", (split.count, 3, side, side))
            resized += fill(split, out)
            sets[name] = ImageSet(torch.from_numpy(out), torch.from_numpy(labels[name]))
    if resized and image_size is None:
        _warn_of(resized, listing, side)
    return Decoded(sets["train"], sets.get("test"), digest_of(*sets.values()))


def _warn_of(resized: int, listing: Listing, side: int | None) -> None:
    warnings.warn(
        f"{resized} images of {listing.folder} have other sizes and were resized to {side}x{side}; "
        "give image_size (in pixels) to choose",
        stacklevel=3,
    )
