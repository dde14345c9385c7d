"""Which result files a store's folder holds, `ROOT/PROFILE/...-HASH.json`: a profile's folder is listed anew when it
changes.

Only a cache of what stands on disk: other processes may add and remove files at any time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from defenselib.experiments.schema import HASH, WORKING_FOLDERS

# A folder that changed so shortly before it was listed can change again without another time stamp (ns): the clock of
# some file systems ticks in seconds.
_TICK = 2_500_000_000


class _Listing(NamedTuple):
    """Names of the files in a folder. starts: what they say before their hashes."""

    names: list[str]
    by_hash: dict[str, str]
    starts: frozenset[str]


def find(root: Path, key: str) -> list[Path]:
    """Files of the results called `key` (a hash), in order of their folders."""
    listings = ((folder, _listing(folder)) for folder in _profiles(root))
    return [Path(folder, listing.by_hash[key]) for folder, listing in listings if key in listing.by_hash]


def files(root: Path, start: str = "") -> Iterator[Path]:
    """All files of results whose name begins with `start`, in order of folder and name."""
    for folder in _profiles(root):
        yield from [Path(folder, name) for name in _listing(folder).names if name.startswith(start)]


def state(root: Path) -> tuple[tuple[str, int, int], ...]:
    """Path, time stamp (ns) and size of every file of a result or its arrays: the same as long as all are."""
    found = []
    for folder in _profiles(root):
        with suppress(FileNotFoundError), os.scandir(folder) as entries:
            found += [_facts(entry) for entry in entries if not entry.name.startswith(".")]
    return tuple(sorted(found))


def starts(root: Path, profile: str = "") -> frozenset[str]:
    """What the files' names say before their hashes; of one profile's alone where one is named."""
    chosen = [folder for folder in _profiles(root) if profile in ("", os.path.basename(folder))]
    return frozenset().union(*(_listing(folder).starts for folder in chosen))


def _profiles(root: Path) -> list[str]:
    """The folders of results, one a profile."""
    try:
        with os.scandir(root.absolute()) as entries:
            return sorted(entry.path for entry in entries if _is_profile(entry))
    except OSError:
        return []


def _listing(folder: str) -> _Listing:
    try:
        changed = os.stat(folder).st_mtime_ns
    except OSError:
        return _Listing([], {}, frozenset())
    settled = time.time_ns() - changed >= _TICK
    return _listed(folder, changed) if settled else _listed.__wrapped__(folder, changed)


@lru_cache(maxsize=256)
def _listed(folder: str, changed: int) -> _Listing:
    """The folder as it was at `changed`, its time stamp (ns)."""
    names = sorted(name for name in os.listdir(folder) if name.endswith(".json") and name[0] != ".")
    by_hash = {name[-21:-5]: name for name in reversed(names) if name[-22:-21] == "-" and HASH.fullmatch(name[-21:-5])}
    return _Listing(names, by_hash, frozenset(name[:-22] for name in by_hash.values()))


def _facts(entry: os.DirEntry[str]) -> tuple[str, int, int]:
    try:
        facts = entry.stat()
    except OSError:  # a link to nothing
        return entry.path, -1, -1
    return entry.path, facts.st_mtime_ns, facts.st_size


def _is_profile(entry: os.DirEntry[str]) -> bool:
    return entry.name not in WORKING_FOLDERS and not entry.name.startswith(".") and entry.is_dir()
