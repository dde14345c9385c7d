"""The folder that is written to: a delivery's is new, or its run is unfinished and was asked for in the same words; a
scan's is new, or holds what an earlier scan has written."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock

from defenselib import folders
from defenselib.audit.export import ABOUT, write_json
from defenselib.audit.names import listed, visible
from defenselib.errors import InvalidValueError

UNFINISHED, REQUEST, LOCK = ".unfinished", "request.json", "lock"
REPORT = "report.html"  # of a delivery, the last that is written
SCANNED = ("scan.json", "suspects.csv", "skipped.csv", "report.html")  # of a scan, by the first it is known
Request = Mapping[str, Any]


def check_apart(out: Path, inputs: Mapping[str, Path | None]) -> None:
    """Raise InvalidValueError where `out` lies in a folder that is read: its files would be taken for data."""
    place = out.resolve()
    for name, folder in inputs.items():
        if folder is not None and place.is_relative_to(folders.expanded(folder).resolve()):
            raise InvalidValueError(f"--out {out} lies in {name} {folder}; choose a folder outside of it")


def check_free(out: Path) -> Path:
    """The folder of a new or an unfinished run. Errors: InvalidValueError for a file, a finished delivery, or a folder
    with anything else in it."""
    there = _content(out)
    if there and not _is_run(out) and _kept(out):
        raise InvalidValueError(f"--out {out} holds an unfinished scan; choose another folder")
    if there and not _is_run(out) and there != [UNFINISHED]:
        raise InvalidValueError(
            f"--out {out} is not empty (it holds {there[0]}), and nothing in it is written over; choose another folder"
        )
    return out


def finished(out: Path) -> Request | None:
    """What was asked for of the run that is finished there; None where none is."""
    try:
        if (out / UNFINISHED).exists() or not (out / REPORT).is_file():
            return None
        found = json.loads((out / ABOUT).read_text(encoding="utf-8"))["request"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, dict) else None


def check_finished(out: Path, before: Request, now: Request) -> None:
    """Raise InvalidValueError where the run that is finished there was asked for in other words than it is now."""
    if other := _other(before, now):
        raise InvalidValueError(
            f"--out {out} holds a finished run with {other}; nothing in it is written over: choose another folder"
        )


def check_scan(out: Path, root: Path | None = None) -> Path:
    """The folder of a scan: new, empty, or with what a scan has written or not finished. Errors: InvalidValueError for
    a file, for a folder with anything else in it, and for the finished scan of another folder than `root`."""
    there = _content(out)
    strange = [name for name in there if name not in (UNFINISHED, *SCANNED)]
    own = SCANNED[0] in there or (UNFINISHED in there and not strange and not _is_run(out))
    if there and not own:
        raise InvalidValueError(
            f"--out {out} is not empty (it holds {(strange or there)[0]}) and has no {SCANNED[0]} of an earlier scan, "
            "which alone is written over; choose another folder"
        )
    before = _scanned(out)
    if root is not None and before is not None and not _same_place(before, root):
        raise InvalidValueError(
            f"--out {out} holds the finished scan of {visible(before)}, now {visible(str(root))} is to be scanned; "
            "choose another --out"
        )
    return out


def _scanned(out: Path) -> str | None:
    """The folder whose finished scan lies in `out`, as scan.json names it; None where it names none."""
    try:
        found = json.loads((out / SCANNED[0]).read_text(encoding="utf-8"))["folder"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) else None


def _same_place(before: str, root: Path) -> bool:
    return before == listed(str(root)) or os.path.realpath(before) == os.path.realpath(root)


def _content(out: Path) -> list[str]:
    """Names of what lies there, sorted; none where there is nothing yet, but something can be made."""
    try:
        above = next(path for path in (out, *out.absolute().parents) if path.exists())
        if not above.is_dir():
            what = "is a file" if above == out else f"lies below {above}, which is a file"
            raise InvalidValueError(f"--out {out} {what}; choose a folder that does not exist yet")
        if not os.access(above, os.W_OK | os.X_OK):
            raise InvalidValueError(f"--out {out}: you may not write in {above}; choose another folder")
        return sorted(item.name for item in out.iterdir()) if out.is_dir() else []
    except OSError as error:
        raise InvalidValueError(f"--out {out} cannot be looked at ({error.strerror})") from error


def _kept(place: Path) -> list[str]:
    """Names of what an unfinished run or scan keeps there."""
    work = place / UNFINISHED
    return sorted(item.name for item in work.iterdir()) if work.is_dir() else []


def _is_run(place: Path) -> bool:
    """Whether a delivery is unfinished there; a scan keeps other files."""
    return not {REQUEST, LOCK}.isdisjoint(_kept(place))


@contextmanager
def working_in(out: Path, request: Request) -> Iterator[Path]:
    """Inside, the folder for what a run keeps until it is finished; it stays if the block ends badly.

    Errors: InvalidValueError as `check_free`, for an unfinished run of another request, and where another process is at
    work; FolderError where nothing can be written.
    """
    work = folders.make(check_free(out) / UNFINISHED)
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
    if other := _other(before, now):
        raise InvalidValueError(
            f"--out {out} holds an unfinished run with {other}; ask for the same, choose another folder, or delete "
            f"{out / UNFINISHED}"
        )


def _other(before: Request, now: Request) -> str | None:
    """The first thing in which two requests differ, with both values."""
    new = json.loads(json.dumps(now))
    other = next((key for key in new if before.get(key) != new[key]), None)
    return None if other is None else f"{other} {_short(before.get(other))}, now it is {_short(new[other])}"


def _short(value: Any) -> str:
    text = value.get("name", value) if isinstance(value, dict) else value
    return repr(text)[:60]
