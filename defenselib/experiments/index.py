"""Which result files a store's folder holds: listed once, held in memory, listed anew when a folder changes.

Only a cache of what stands on disk: other processes may add and remove files at any time.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from defenselib.experiments.names import HASH, WORKING_FOLDERS

# A folder that changed so shortly before it was listed can change again without another time stamp (ns): the clock of
# file systems ticks in hundredths of a second, that of some in seconds.
_TICK, _COARSE_TICK = 100_000_000, 2_500_000_000


@dataclass
class _Listing:
    """Names in a folder as they were at `changed` (its time stamp); `settled`: none can have been missed."""

    changed: int = -1
    settled: bool = False
    names: list[str] = field(default_factory=list)
    by_hash: dict[str, str] = field(default_factory=dict)
    starts: frozenset[str] = frozenset()


class Index:
    """The result files below one root, `PROFILE/...-HASH.json`."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._top = _Listing()
        self._folders: dict[str, _Listing] = {}

    def find(self, key: str) -> list[Path]:
        """Files of the results called `key` (a hash), in order of their folders."""
        listings = ((folder, self._listing(folder)) for folder in self._profiles())
        return [Path(folder, listing.by_hash[key]) for folder, listing in listings if key in listing.by_hash]

    def files(self, start: str = "") -> Iterator[Path]:
        """All files of results whose name begins with `start`, in order of folder and name."""
        for folder in self._profiles():
            yield from [Path(folder, name) for name in self._listing(folder).names if name.startswith(start)]

    def state(self) -> tuple[tuple[str, int, int], ...]:
        """Path, time stamp (ns) and size of every file of a result or its arrays: the same as long as all are."""
        found = []
        for folder in self._profiles():
            with suppress(FileNotFoundError), os.scandir(folder) as entries:
                found += [_facts(entry) for entry in entries if not entry.name.startswith(".")]
        return tuple(sorted(found))

    def starts(self) -> frozenset[str]:
        """What the files' names say before their hashes."""
        return frozenset().union(*(self._listing(folder).starts for folder in self._profiles()))

    def _profiles(self) -> list[str]:
        """The folders of results, one a profile."""
        changed = _time_stamp(self._root)
        if changed is None:
            return []
        if changed != self._top.changed or not self._top.settled:
            settled = _settled(changed)
            with os.scandir(self._root) as entries:
                names = [entry.name for entry in entries if _is_profile(entry)]
            self._top = _Listing(changed, settled, sorted(names))
        return [os.path.join(self._root, name) for name in self._top.names]

    def _listing(self, folder: str) -> _Listing:
        known = self._folders.get(folder)
        changed = _time_stamp(folder)
        if changed is None:
            return _Listing()
        if known is not None and known.settled and known.changed == changed:
            return known
        settled = _settled(changed)
        names = sorted(name for name in os.listdir(folder) if name.endswith(".json") and name[0] != ".")
        by_hash = {
            name[-21:-5]: name for name in reversed(names) if name[-22:-21] == "-" and HASH.fullmatch(name[-21:-5])
        }
        starts = frozenset(name[:-22] for name in by_hash.values())
        self._folders[folder] = _Listing(changed, settled, names, by_hash, starts)
        return self._folders[folder]


@lru_cache(maxsize=64)
def index_of(root: Path) -> Index:
    """The index of a folder (absolute), the same for all stores there."""
    return Index(root)


def _time_stamp(folder: str) -> int | None:
    """When the folder's list of names last changed, in ns; None where there is no folder."""
    try:
        facts = os.stat(folder)
    except OSError:
        return None
    return facts.st_mtime_ns if stat.S_ISDIR(facts.st_mode) else None


def _facts(entry: os.DirEntry[str]) -> tuple[str, int, int]:
    try:
        facts = entry.stat()
    except OSError:  # a link to nothing
        return entry.path, -1, -1
    return entry.path, facts.st_mtime_ns, facts.st_size


def _settled(changed: int) -> bool:
    return time.time_ns() - changed >= (_TICK if changed % 1_000_000_000 else _COARSE_TICK)


def _is_profile(entry: os.DirEntry[str]) -> bool:
    return entry.name not in WORKING_FOLDERS and not entry.name.startswith(".") and entry.is_dir()
