"""What a file or folder holds, as a digest: two runs agree if the content does, wherever it lies."""

from __future__ import annotations

import hashlib
import os
import stat
from functools import lru_cache
from pathlib import Path

from defenselib.errors import DataError
from defenselib.folders import expanded


def content_digest(path: str | Path) -> str:
    """16 hexadecimal digits over the bytes of a file, or over the names and bytes of all files below a folder.

    Hidden files and folders, and what is no regular file, do not count; names are relative to the folder, so that a
    copy has the same digest. Errors: DataError where there is nothing to read.
    """
    place = expanded(path)
    if place.is_dir():
        state = hashlib.sha256(b"folder\0")
        for file in _files(place):
            name = os.fsencode(file.relative_to(place).as_posix())
            state.update(name + b"\0" + _of_file(file).encode() + b"\n")
        return state.hexdigest()[:16]
    return _of_file(place)[:16]


def _files(folder: Path) -> list[Path]:
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in names if not name.startswith(".") and Path(parent, name).is_file()]
    return sorted(found, key=os.fsencode)


def _of_file(path: Path) -> str:
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise DataError(f"{path} is no regular file; give a file or a folder")
        return _digest(path.absolute(), facts.st_ino, facts.st_size, facts.st_mtime_ns)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); give a file or a folder") from error


@lru_cache(maxsize=4096)
def _digest(path: Path, *changed: int) -> str:
    """SHA-256 of a file as it was when it last `changed`: a page resolves the same experiments many times."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
