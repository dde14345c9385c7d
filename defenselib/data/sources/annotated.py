"""Test images that lie in one folder, their classes in a table beside it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from defenselib.errors import DataError

Row = tuple[int, str, str]  # line of the table, file, class


def rows_of(table: Path, columns: tuple[str, str] | None, separator: str) -> Iterator[Row]:
    """Line, file and class of each row of a text table; `columns` names those of file and class in its first line,
    None takes the first two of a table without such a line. Errors: DataError, naming the table."""
    try:
        with table.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file, delimiter=separator)
            header = next(reader, []) if columns else []
            places = [header.index(name) for name in columns] if columns else [0, 1]
            for row in reader:
                if row:
                    yield reader.line_num, row[places[0]].strip(), row[places[1]].strip()
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise DataError(
            f"{table} is missing or damaged ({type(error).__name__}: {error}); delete {table.parent} and download it "
            "again"
        ) from error


def annotated_split(
    rows: Iterable[Row], root: Path, names: Sequence[str], table: Path, others: Iterable[str] = ()
) -> list[list[Path]]:
    """The files below `root` of each class of `names`; rows of the classes `others` are left out.

    Errors: DataError for a class that is in neither, and for a file that would lie elsewhere.
    """
    labels = {name: label for label, name in enumerate(names)}
    left_out = set(others)
    files: list[list[Path]] = [[] for _ in names]
    for line, file, name in rows:
        inside = PurePosixPath(file)
        if not inside.name or inside.is_absolute() or ".." in inside.parts:
            raise DataError(f"{table}, line {line}: {file!r} is not allowed, it must be the name of an image file")
        if name in labels:
            files[labels[name]].append(root / file)
        elif name not in left_out:
            shown = f"it must be {names[0]} to {names[-1]}" if names else "there are no classes"
            raise DataError(f"{table}, line {line}: class {name!r} is not allowed, {shown}")
    return files
