"""The rows of a table of labels, as texts: CSV with commas, semicolons or tabs, or a JSON object a line."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

KINDS = (".csv", ".tsv", ".jsonl")
MOST_BYTES = 128 << 20  # of a table; of a larger one the first rows are looked at, to say whether it is one
_FIRST = 1 << 18
_MARKS = (",", ";", "\t")
Cells = list[str | None]  # None: a list or an object of JSON, which is no name and no label
Row = tuple[int, Cells]  # with the line on which it begins, from 1


@dataclass(frozen=True)
class Rows:
    """What a table holds. head: names of the columns, None where the first row may be one. fault: why it cannot be
    trusted, the rest of a sentence that begins with its name; empty where it can."""

    path: Path
    rows: list[Row]
    head: list[str] | None = None
    fault: str = ""

    @property
    def width(self) -> int:
        return max((len(cells) for _, cells in self.rows), default=0)


def readings(path: Path) -> Iterator[Rows]:
    """The table as it reads with each mark between its cells that its first line has; nothing where it cannot be read
    or has one column alone."""
    try:
        text, fault = _text(path)
    except OSError:
        return
    if path.suffix.lower() == ".jsonl":
        yield _objects(path, text, fault)
        return
    first = next((line for line in text.splitlines() if line.strip()), "")
    for mark in _MARKS:
        if mark in first:
            yield _cells(path, text, mark, fault)


def _text(path: Path) -> tuple[str, str]:
    """The text of a file without the mark of its encoding, and what is wrong with it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        data = file.read(_FIRST if size > MOST_BYTES else MOST_BYTES)
    if size > MOST_BYTES:
        told = f"has {size >> 20} MiB, and at most {MOST_BYTES >> 20} are read; keep its columns of names and labels"
        return data.decode("utf-8-sig", "replace"), told
    code = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return data.decode(code), ""
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return data.decode(code, "replace"), f"is not UTF-8 text (line {line}); save it as UTF-8"


def _cells(path: Path, text: str, mark: str, fault: str) -> Rows:
    rows: list[Row] = []
    # Strict: an open quote would swallow the rows behind it.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True, skipinitialspace=mark != "\t")
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((line, list(cells)))
            line = reader.line_num + 1
    except csv.Error as error:
        fault = fault or f"cannot be read from line {line} on ({error}); put names with quotes or line breaks in quotes"
        # Only to tell whether it is a table of images: what has a fault is not taken.
        lines = enumerate(text.replace('"', "").splitlines(), start=1)
        rows = [(number, list(said.split(mark))) for number, said in lines if said.strip()]
    return Rows(path, rows, None, fault)


def _objects(path: Path, text: str, fault: str) -> Rows:
    rows: list[Row] = []
    places: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            fault = fault or f"has no JSON object on line {number}"
            continue
        for name in found:
            places.setdefault(name, len(places))
        cells: Cells = [""] * len(places)
        for name, value in found.items():
            cells[places[name]] = _said(value)
        rows.append((number, cells))
    return Rows(path, rows, list(places), fault)


def _said(value: object) -> str | None:
    if value is None:
        return ""
    if isinstance(value, list | dict):
        return None
    return value if isinstance(value, str) else json.dumps(value)
