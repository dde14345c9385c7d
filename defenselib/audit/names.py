"""Names of a user's files, as a table, a terminal and a spreadsheet can hold them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from defenselib import folders
from defenselib.errors import printable

# A cell that begins with one of these is a formula to a spreadsheet.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def visible(text: str) -> str:
    """`text` on one line, with what a terminal would obey or not show (control and format characters, lone bytes)
    written as an escape."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in printable(text)
    )


def listed(name: str) -> str:
    """A relative path as it stands in our tables: the same path, but no formula of a spreadsheet (`./=1+1.png`)."""
    text = printable(name)
    return f"./{text}" if text.startswith(_FORMULA) else text


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, as texts; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file (UTF-8, a newline in a name stays in its cell) that appears whole or not at all. None is an
    empty cell. Errors: FolderError.

    All cells are in quotes: a spreadsheet that separates at semicolons too must not find a formula in `x;=1+1.png`.
    """
    folders.make(path.parent)
    with (
        folders.writing(path),
        folders.atomic(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(columns)
        writer.writerows([listed(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
