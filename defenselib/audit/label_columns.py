"""Which table of a folder names its images, in which column, and which column has their labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from defenselib.audit.label_names import WAYS, Names, is_image
from defenselib.audit.label_rows import Row, Rows
from defenselib.audit.names import visible
from defenselib.audit.pictures import MOST_CLASSES
from defenselib.data.sources.folder import split_kind
from defenselib.data.sources.parquet_labels import LABEL_COLUMNS
from defenselib.errors import DataError, unknown

OPTION = "--label-column NAME"
_COLUMNS, _SAMPLE, _TOLD = 50, 200, 6  # columns searched for names; rows held against folders; columns that are told


@dataclass(frozen=True)
class Table:
    """A table that names images. head: its columns; rows: the others; files: the column of names; way: how these are
    to be read (see `Names`), None where no file can be told from them, as of the cell `example`."""

    source: Rows
    head: list[str]
    rows: list[Row]
    files: int
    way: str | None
    example: str

    @property
    def path(self) -> Path:
        return self.source.path

    def values(self, column: int) -> list[str | None]:
        return [cell(row, column) for row in self.rows]


def cell(row: Row, column: int) -> str | None:
    """A cell without blanks around it; empty where the row ends before it."""
    cells = row[1]
    text = cells[column] if len(cells) > column else ""
    return None if text is None else text.strip()


def naming(rows: Rows, names: Names) -> Table | None:
    """The table with the column that names images; None where none does."""
    best: tuple[int, int, str | None, str] | None = None
    for column in range(min(_COLUMNS, rows.width)):
        found = _way(rows, column, names)
        if found is not None and (best is None or found[0] > best[0]):
            best = (found[0], column, found[1], found[2])
    if best is None:
        return None
    _, column, way, example = best
    if rows.head is not None:
        return Table(rows, rows.head, rows.rows, column, way, example)
    first = cell(rows.rows[0], column) or ""
    if is_image(first) or (way is not None and names.found(first, way)):  # a row as all others
        return Table(rows, [str(i + 1) for i in range(rows.width)], rows.rows, column, way, example)
    head = [text.strip() if text else "" for text in rows.rows[0][1]]
    return Table(rows, head, rows.rows[1:], column, way, example)


def _way(rows: Rows, column: int, names: Names) -> tuple[int, str | None, str] | None:
    """How many rows of a column name an image, how, and the first of them; None for a column of anything else."""
    texts = [text for row in rows.rows if (text := cell(row, column))]
    hits = {way: [text for text in texts if len(names.found(text, way)) == 1] for way in WAYS}
    most = max(map(len, hits.values()))
    for way, found in hits.items():
        if 2 * len(found) >= max(most, 1) and _is_of_names(found, texts, names):
            return len(found), way, found[0]
    alike = [text for text in texts if names.alike(text)]
    return (0, None, alike[0]) if _is_of_names(alike, texts, names) else None


def _is_of_names(found: list[str], texts: list[str], names: Names) -> bool:
    """Whether the cells `found` that name images make a column of names: they are half of its rows or name half of the
    images (of a set of which a part was copied), and no class again and again."""
    different = len(set(found))
    many = len(found) >= (len(texts) - 2) / 2 or different >= len(names.images) / 2
    return different >= 2 and many and different >= len(found) / 2


def agrees(table: Table, names: Names) -> bool:
    """Whether a column has the names of the folders that the images lie in: the folders say the same then."""
    known = meant(table, names)
    for column in set(range(len(table.head))) - {table.files}:
        if all(_is_folder(cell(row, column), files) for row, files in known):
            told = {cell(row, column) for row, _ in known}
            if len(told) > 1 or not all(told & set(PurePosixPath(file).parts[:-1]) for file in names.images):
                return bool(known)
    return False


def meant(table: Table, names: Names) -> list[tuple[Row, list[str]]]:
    """The first rows that name an image, each with those that it can mean."""
    texts = ((row, cell(row, table.files) or "") for row in table.rows)
    found = ((row, (names.found(text, table.way) if table.way else []) or names.alike(text)) for row, text in texts)
    return list(islice((pair for pair in found if pair[1]), _SAMPLE))


def _is_folder(said: str | None, files: list[str]) -> bool:
    if said is None or split_kind(said) is not None:
        return False
    return any(said in PurePosixPath(file).parts[:-1] for file in files)


def split_column(table: Table) -> int | None:
    """The column that says of every row which split it is of; None where there is none."""
    for column in range(len(table.head)):
        told = set(table.values(column)) - {""}
        if column != table.files and told and all(said and split_kind(said) for said in told):
            return column
    return None


def label_column(table: Table, wanted: str | None, nested: bool) -> int:
    """The column of labels: the one `wanted`, else the only one that is called like one, else the only one that could
    be one: of 2 to 1,000 texts, not each of them once. nested: whether the images lie in several folders.
    Errors: DataError, UnknownNameError."""
    where = visible(table.path.name)
    if wanted is not None:
        places = [i for i, name in enumerate(table.head) if name == wanted]
        if len(places) > 1:
            raise DataError(f"{table.path} has {len(places)} columns {wanted!r}; rename all but one of them")
        if not places or places[0] == table.files:
            raise unknown(f"column of labels in {where}:", wanted, _others(table).values())
        return places[0]
    usual = [i for i in _others(table) if table.head[i].casefold() in LABEL_COLUMNS]
    apart = split_column(table)
    could = usual or [i for i in _others(table) if i != apart and _could_be(table, i)]
    if len(could) == 1:
        return could[0]
    told = _listed([table.head[i] for i in could or _others(table)])
    remedy = f"choose by {OPTION}" + (", or move that file elsewhere if the folders are the classes" if nested else "")
    if could:
        raise DataError(f"{table.path} has {len(could)} columns that could be the label: {told}; {remedy}")
    raise DataError(
        f"{table.path} names the images (as {visible(table.example)}), and no other column could be their label, which "
        f"has 2 to {MOST_CLASSES} texts and not each of them once: {told}; {remedy}"
    )


def _others(table: Table) -> Mapping[int, str]:
    return {i: name for i, name in enumerate(table.head) if i != table.files}


def _could_be(table: Table, column: int) -> bool:
    texts = [text for text in table.values(column) if text]
    return 2 <= len(set(texts)) <= min(MOST_CLASSES, len(texts) - 1)


def _listed(names: list[str]) -> str:
    told = [visible(name[:40]) or "(no name)" for name in names]
    return ", ".join(told[:_TOLD]) + (f" and {len(told) - _TOLD} more" if len(told) > _TOLD else "")
