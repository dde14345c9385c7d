"""The folders that the library reads and writes, the variables that name them, and files that appear whole."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from defenselib.errors import FolderError

DATA, STORE, RESULTS, CACHE = "DEFENSELIB_DATA", "DEFENSELIB_STORE", "DEFENSELIB_RESULTS", "DEFENSELIB_CACHE"
_REASONS = {
    errno.ENOSPC: "no space is left on its disk",
    errno.EDQUOT: "your quota of its disk is used up",
    errno.EFBIG: "files may not become that large there",
    errno.EROFS: "its disk is read-only",
    errno.EACCES: "you may not write there",
    errno.EPERM: "you may not write there",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EEXIST: "a file is in its place",
    errno.EISDIR: "a folder is in its place",
    errno.ELOOP: "its links lead in a circle",
}


def named(variable: str) -> Path | None:
    """The folder that an environment variable names, `~` expanded; None where it is empty or not set.

    It need not exist. Errors: FolderError, naming the variable, for a file and for a home that is not known.
    """
    text = os.environ.get(variable)
    if not text:
        return None
    try:
        path = expanded(text)
        is_file = path.exists() and not path.is_dir()
    except (FolderError, ValueError, OSError) as error:
        raise FolderError(f"{variable} is {text!r}, which is no path here ({error}); set it to a folder") from error
    if is_file:
        raise FolderError(f"{variable} is {text!r}, which is a file; set it to a folder")
    return path


def expanded(path: str | Path) -> Path:
    """`path` with `~` as the home folder. Errors: FolderError where there is no such home."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise FolderError(f"{path} cannot be found: {error}") from error


def cache_root() -> Path:
    """The folder for everything that can be made again: DEFENSELIB_CACHE, else ~/.cache/defenselib.

    Errors: FolderError as `named`, and where there is no home.
    """
    return named(CACHE) or _at_home(CACHE)


def working_root() -> Path:
    """The folder of the results of one's own runs: DEFENSELIB_STORE, else ~/.cache/defenselib/results.

    Errors: FolderError as `named`, and where there is no home.
    """
    return named(STORE) or _at_home(STORE) / "results"


def _at_home(variable: str) -> Path:
    try:
        return Path.home() / ".cache" / "defenselib"
    except RuntimeError as error:
        raise FolderError(f"there is no home folder to write to; set {variable} to a folder") from error


@contextmanager
def writing(path: Path, variable: str = "") -> Iterator[None]:
    """Inside, an OSError becomes a FolderError that names `path`, and the variable that moves it elsewhere."""
    try:
        yield
    except OSError as error:
        why = _REASONS.get(error.errno or 0, error.strerror or str(error))
        remedy = f"; set {variable} to another folder" if variable else ""
        raise FolderError(f"cannot write {path}: {why}{remedy}") from error


def make(path: Path, variable: str = "") -> Path:
    """The folder `path`, made with its parents. Errors: FolderError."""
    with writing(path, variable):
        path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well, and vanishes when not."""
    # The beginning of the name only: with its ending the temporary name must not become longer than a name may be.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str, variable: str = "") -> Path:
    """Write a text in UTF-8, so that the file appears whole or not at all; its path. Errors: FolderError."""
    make(path.absolute().parent, variable)
    with writing(path, variable), atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def check_file(path: Path) -> Path:
    """`path`, its folder made. Errors: FolderError, before the work whose outcome cannot be written there."""
    make(path.absolute().parent)
    with writing(path), tempfile.TemporaryFile(dir=path.absolute().parent):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
    return path


def set_aside(path: Path, variable: str = "") -> Path:
    """Move a damaged file or folder to `NAME.damaged` (`.damaged-2`, ...) beside it; the new path.

    Errors: FolderError.
    """
    number, target = 1, path.with_name(f"{path.name}.damaged")
    while os.path.lexists(target):
        number += 1
        target = path.with_name(f"{path.name}.damaged-{number}")
    with writing(target, variable):
        path.rename(target)
    return target
