"""A table of labels beside the images: it is not read, and a folder that has one must not be read as if it had not."""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

from defenselib.audit.names import visible
from defenselib.audit.tree import below
from defenselib.data.sources.folder import EXTENSIONS, split_kind, unwrapped
from defenselib.errors import DataError

_KINDS = (".csv", ".tsv")
_READ, _ROWS, _TABLES = 1 << 18, 200, 20  # characters and rows of a table; tables of a folder


def check_no_labels(root: Path) -> None:
    """Raise DataError where a CSV or TSV file in `root`, in the one folder in it or in train/ names images below it,
    and none of its columns has the names of the folders that these lie in."""
    base = unwrapped(root)
    tables = [path for place in dict.fromkeys((root, base, base / "train")) for path in _tables(place)]
    if not tables:
        return
    known = _by_name(below(root))
    for path in tables:
        if told := _named(_rows(path), known):
            raise DataError(
                f"{root}: {visible(path.relative_to(root).as_posix())} names the images (as {visible(told)}), and "
                "labels in a CSV file are not read: move each image into a folder with the name of its label "
                "(CLASS/*.png); or, if the folders are the classes already, move that file elsewhere"
            )


def _tables(place: Path) -> list[Path]:
    try:
        with os.scandir(place) as entries:
            found = [Path(item.path) for item in entries if item.name.lower().endswith(_KINDS)]
        return sorted(path for path in found if path.is_file() and not path.is_symlink())[:_TABLES]
    except OSError:
        return []


def _by_name(files: Sequence[str]) -> Mapping[str, list[PurePosixPath]]:
    """Images by their name, with its ending and without."""
    found: dict[str, list[PurePosixPath]] = defaultdict(list)
    for path in map(PurePosixPath, files):
        if path.suffix.lower() in EXTENSIONS:
            found[path.name].append(path)
            found[path.stem].append(path)
    return found


def _rows(path: Path) -> list[list[str]]:
    """The first rows, as texts; none where it is no text."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            text = file.read(_READ)
        first = text.split("\n", 1)[0]
        mark = max(",;\t", key=first.count)
        return [[cell.strip() for cell in row] for row in islice(csv.reader(text.splitlines(), delimiter=mark), _ROWS)]
    except (OSError, csv.Error):
        return []


def _named(rows: Sequence[Sequence[str]], known: Mapping[str, Sequence[PurePosixPath]]) -> str | None:
    """The first image that a column of names names; None where none does, or where another column has the folders."""
    for column in range(min(50, max(map(len, rows), default=0))):
        found = [(row, files) for row in rows if len(row) > column and (files := _images(row[column], known))]
        names = {row[column] for row, _ in found}
        # The last row may be cut, the first one a head; a column of few names again and again is one of classes.
        if len(names) < 2 or len(found) < (len(rows) - 2) / 2 or len(names) < len(found) / 2:
            continue
        others = [i for i in range(max(map(len, rows))) if i != column]
        if not any(all(_is_folder(row, i, files) for row, files in found) for i in others):
            return found[0][0][column]
    return None


def _images(cell: str, known: Mapping[str, Sequence[PurePosixPath]]) -> Sequence[PurePosixPath]:
    name = cell.replace("\\", "/").rsplit("/", 1)[-1]
    return () if not name else known.get(name, ())


def _is_folder(row: Sequence[str], column: int, files: Sequence[PurePosixPath]) -> bool:
    said = row[column] if len(row) > column else "train"
    return split_kind(said) is None and any(said in file.parts[:-1] for file in files)
