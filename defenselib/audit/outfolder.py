"""The folder that a delivery is written to: new, or one whose run is unfinished and was asked for in the same words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock

from defenselib import folders
from defenselib.audit.export import write_json
from defenselib.errors import InvalidValueError

UNFINISHED, REQUEST, LOCK = ".unfinished", "request.json", "lock"
Request = Mapping[str, Any]


def check_apart(out: Path, inputs: Mapping[str, Path | None]) -> None:
    """Raise InvalidValueError where `out` lies in a folder that is read: its files would be taken for data."""
    place = folders.expanded(out).resolve()
    for name, folder in inputs.items():
        if folder is not None and place.is_relative_to(folders.expanded(folder).resolve()):
            raise InvalidValueError(f"--out {out} lies in {name} {folder}; choose a folder outside of it")


def check_free(out: Path) -> Path:
    """The folder of a new or an unfinished run. Errors: InvalidValueError for a file, a finished delivery, or a folder
    with anything else in it."""
    place = folders.expanded(out)
    try:
        if place.exists() and not place.is_dir():
            raise InvalidValueError(f"--out {out} is a file; choose a folder that does not exist yet")
        there = sorted(item.name for item in place.iterdir()) if place.is_dir() else []
    except OSError as error:
        raise InvalidValueError(f"--out {out} cannot be looked at ({error.strerror})") from error
    if there and UNFINISHED not in there:
        raise InvalidValueError(
            f"--out {out} is not empty (it holds {there[0]}), and nothing in it is written over; choose another folder"
        )
    return place


@contextmanager
def working_in(out: Path, request: Request) -> Iterator[Path]:
    """Inside, the folder for what a run keeps until it is finished; it stays if the block ends badly.

    Errors: InvalidValueError as `check_free`, for an unfinished run of another request, and where another process is at
    work; FolderError where nothing can be written.
    """
    place = check_free(out)
    work = folders.make(place / UNFINISHED)
    lock = filelock.FileLock(work / LOCK)
    with folders.writing(work / LOCK):
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout as error:  # an OSError too
            raise InvalidValueError(f"--out {out}: another process is at work there; choose another folder") from error
    try:
        _same(work, request, out)
        yield work
        shutil.rmtree(work)
    finally:
        lock.release()


def _same(work: Path, request: Request, out: Path) -> None:
    """Note the request, or raise where another one is noted already."""
    path = work / REQUEST
    now = json.loads(json.dumps(request))
    try:
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    except (OSError, ValueError):
        before = None
    if before is None:
        write_json(path, now)
        return
    other = [key for key in now if before.get(key) != now[key]]
    if other:
        key = other[0]
        raise InvalidValueError(
            f"--out {out} holds an unfinished run with {key} {_short(before.get(key))}, now it is {_short(now[key])}; "
            f"ask for the same, choose another folder, or delete {out / UNFINISHED}"
        )


def _short(value: Any) -> str:
    text = value.get("name", value) if isinstance(value, dict) else value
    return repr(text)[:60]
