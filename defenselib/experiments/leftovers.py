"""What a store or a cache holds that nothing needs any more: found, listed, and removed when asked."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from defenselib import folders
from defenselib.experiments.schema import HASH, WORKING_FOLDERS
from defenselib.experiments.store import Store

HOUR = 3600.0  # seconds


@dataclass(frozen=True)
class Leftover:
    """A file or folder that can go: its path, what it is, and its size in bytes."""

    path: Path
    kind: str
    size: int


def leftovers(store: Store, cache: Path | None = None, age: float = HOUR, pages: Iterable[Path] = ()) -> list[Leftover]:
    """What can be removed from a working store, from the cache of decoded images and from folders of executed notebooks
    (`pages`), in order of path.

    Temporary files and half-made cache entries, files set aside as damaged, checkpoints of cells that have a result,
    models without a result, and notebooks whose execution was killed. `age`: seconds for which nothing may have changed
    in it, for another process may be at work. Locks stay: they are empty, and removing one that is held would let two
    processes in.
    """
    now = time.time()
    found = [*_in_store(store), *([] if cache is None else _in_cache(cache)), *_in_pages(pages)]
    return sorted(
        (Leftover(path, kind, _size(path)) for path, kind in found if now - _changed(path) >= age),
        key=lambda item: os.fsencode(item.path),
    )


def outdated(store: Store, age: float = HOUR) -> list[Leftover]:
    """What code that has changed since left in a working store: results with their arrays and models; and what cannot
    say which code made it: shared stages where any result is outdated, and checkpoints of unfinished cells that have
    lain still for `age` seconds. Today's code goes on from none but its own."""
    root = store.root.absolute()
    found: list[tuple[Path, str]] = []
    for result in Store(root).results():  # alone, for a committed one would stand before it
        path = result.path
        if path is None or result.made_by_current_code():
            continue
        found += [(one, "result of older code") for one in (path, path.with_suffix(".npz")) if one.exists()]
        model = root / "models" / f"{result.hash}.safetensors"
        found += [(model, "model of older code")] if model.exists() else []
    if found:
        found += [(path, "shared stage beside older code") for path in _entries(root / "cache")]
    now = time.time()
    found += [(path, "checkpoints") for path in _entries(root / "checkpoints") if now - _changed(path) >= age]
    return sorted((Leftover(path, kind, _size(path)) for path, kind in found), key=lambda item: os.fsencode(item.path))


def remove(found: Iterable[Leftover]) -> int:
    """Delete them; the bytes that were freed. Errors: FolderError."""
    freed = 0
    for item in found:
        with folders.writing(item.path, folders.STORE):
            if item.path.is_dir() and not item.path.is_symlink():
                shutil.rmtree(item.path)
            else:
                item.path.unlink(missing_ok=True)
        freed += item.size
    return freed


def _in_store(store: Store) -> Iterator[tuple[Path, str]]:
    for folder in _entries(store.root):
        if not folder.is_dir() or folder.is_symlink():
            continue
        for path in _entries(folder):
            key = path.name.partition(".")[0]
            finished = folder.name in WORKING_FOLDERS and HASH.fullmatch(key) and _has_result(store, key)
            if path.name.startswith(".") and path.name.endswith((".tmp", ".try")):
                yield path, "temporary file"
            elif ".damaged" in path.name:
                yield path, "damaged file"
            elif folder.name == "checkpoints" and HASH.fullmatch(key):
                if finished:
                    yield path, "checkpoints of a finished cell"
                else:
                    yield from ((inner, "damaged file") for inner in path.rglob("*.damaged*"))
                    yield from ((inner, "temporary file") for inner in path.rglob(".*.tmp"))
            elif folder.name == "models" and HASH.fullmatch(key) and not finished:
                yield path, "model without a result"


def _in_cache(cache: Path) -> Iterator[tuple[Path, str]]:
    for folder in ("decoded", "data"):
        for path in _entries(cache / folder):
            if path.name.endswith(".partial"):
                yield path, "half-made cache entry"


def _in_pages(folders: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    for folder in dict.fromkeys(path.resolve() for path in folders):
        for path in _entries(folder):
            if path.name.startswith(".") and path.name.endswith(".tmp.ipynb"):
                yield path, "notebook whose execution was killed"


def _has_result(store: Store, key: str) -> bool:
    return any(store.files(key))


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir(), key=os.fsencode) if folder.is_dir() else []


def _inside(path: Path) -> Iterator[os.stat_result]:
    yield path.lstat()
    if path.is_dir() and not path.is_symlink():
        for item in path.rglob("*"):
            yield item.lstat()


def _size(path: Path) -> int:
    return sum(facts.st_size for facts in _inside(path) if not stat.S_ISDIR(facts.st_mode))


def _changed(path: Path) -> float:
    return max(facts.st_mtime for facts in _inside(path))
