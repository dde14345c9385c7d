"""Decoded data sets on disk: uint8 .npy arrays that are memory-mapped, and a small JSON with the digest.

An entry is a folder named by its data set and a key over the source files' paths, sizes and times. It appears in one
step, complete; what is in it is checked at every load (shapes and a checksum) and made anew if it is not right.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray

from defenselib.data.sources.images import Listing, fill, pick_size
from defenselib.data.sources.labels import checked_labels
from defenselib.data.types import ImageSet, digest_of
from defenselib.errors import DataError, FolderError, check_range
from defenselib.folders import CACHE, cache_root, make, named, writing

_FORMAT = 2  # raise when the bytes or names of an entry change
Allocate = Callable[[str, tuple[int, ...]], NDArray[np.uint8]]


@dataclass(frozen=True)
class Decoded:
    """A decoded listing; `test` is None where it has no split of its own."""

    train: ImageSet
    test: ImageSet | None
    digest: str


def load_decoded(name: str, listing: Listing, image_size: int | None = None) -> Decoded:
    """The decoded images of `listing`, from the cache if it holds them, else decoded and kept there.

    Errors: DataError for damaged images and labels, FolderError where DEFENSELIB_CACHE names a file. A cache folder
    that cannot be written only costs a warning.
    """
    if image_size is not None:
        check_range("image_size", image_size, 1, 4096)
    key = _key(listing, image_size)
    named(CACHE)
    try:
        entry = cache_root() / "decoded" / f"{name[:40]}-{key}"
        found = _read(entry)
        if found is not None:
            return found
        make(entry.parent, CACHE)
        with writing(entry.parent, CACHE), FileLock(entry.with_name(entry.name + ".lock")):
            return _read(entry) or _write(entry, listing, image_size)  # another process may have made it
    except FolderError as error:
        warnings.warn(f"no cache of decoded images: {error}", stacklevel=3)
        return _decode(listing, image_size, lambda _, shape: np.empty(shape, dtype=np.uint8))


def _key(listing: Listing, image_size: int | None) -> str:
    state = hashlib.sha256(json.dumps([_FORMAT, image_size]).encode())
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
            content = {name: {"shape": list(item.shape), "sum": _checksum(item)} for name, item in arrays.items()}
            meta = {"digest": made.digest, "folder": str(listing.folder), "arrays": content}
            (partial / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")
            shutil.rmtree(entry, ignore_errors=True)
            partial.replace(entry)
        return _read(entry) or made  # read anew: the arrays just written are shared with the file
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _read(entry: Path) -> Decoded | None:
    """What the entry holds, or None if it is missing, incomplete or damaged."""
    try:
        meta = json.loads((entry / "meta.json").read_text(encoding="utf-8"))
        arrays: dict[str, Any] = {}
        for name, facts in meta["arrays"].items():
            # copy-on-write: whoever changes a tensor in place changes neither the file nor anybody else's tensor
            array = np.load(entry / f"{name}.npy", mmap_mode="c")
            if list(array.shape) != facts["shape"] or _checksum(array) != facts["sum"]:
                return None
            arrays[name] = torch.from_numpy(array)
        train = ImageSet(arrays["train_images"], arrays["train_labels"])
        test = ImageSet(arrays["test_images"], arrays["test_labels"]) if "test_images" in arrays else None
        return Decoded(train, test, str(meta["digest"]))
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _checksum(array: NDArray[Any]) -> int:
    """Sum of the bytes as 64-bit words: finds lost pages and flipped bits at the speed of the memory."""
    flat = array.reshape(-1).view(np.uint8)
    whole = len(flat) // 8 * 8
    return int(flat[:whole].view(np.uint64).sum(dtype=np.uint64)) + int(flat[whole:].sum(dtype=np.uint64))


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
        warnings.warn(
            f"{resized} images of {listing.folder} have other sizes and were resized to {side}x{side}; "
            "give image_size (in pixels) to choose",
            stacklevel=2,
        )
    return Decoded(sets["train"], sets.get("test"), digest_of(*sets.values()))
