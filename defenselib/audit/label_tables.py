"""A table of labels beside the images (labels.csv, metadata.csv, metadata.jsonl), read by the row."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from defenselib.audit.label_columns import Table, agrees, cell, label_column, meant, naming, split_column
from defenselib.audit.label_names import Names, is_image, leaves
from defenselib.audit.label_rows import KINDS, Row, readings
from defenselib.audit.names import visible
from defenselib.audit.pictures import Found, Skipped
from defenselib.audit.tree import note_of_links, walked, within
from defenselib.data.sources.folder import label_order, split_kind, subfolders, unwrapped
from defenselib.data.sources.parquet import kind_of_file
from defenselib.errors import DataError, printable
from defenselib.plots.words import plural

BESIDE = "file outside of the training images that are read"
_TABLES = 20  # of a folder
_APART = ("test", "val")


def find_labelled(root: Path, column: str | None = None) -> Found | None:
    """The images of `root` by the one table of labels in it, in the one folder in it or in its training folder.

    None where no table names the images, or where one has the names of the folders that these lie in, so that the
    folders can be read as classes (not where a `column` is asked for). Errors: DataError for several tables, for one
    that is damaged or names no file clearly, and where a column of labels must be chosen; UnknownNameError.
    """
    base = unwrapped(root)
    tables = tables_beside(root)
    if not tables:
        return None
    files, closed = walked(root)
    known = {path: _read(root, path, files) for path in tables}
    found = [(table, names) for table, names in known.values() if table is not None]
    split = [name for name in subfolders(base) if split_kind(name)]
    rest = [pair for pair in found if not _is_of_test(*pair, base.relative_to(root), split)]
    found = rest if any(split_kind(name) == "train" for name in split) else rest or found
    if not found or (column is None and all(agrees(*pair) for pair in found)):
        return None
    shown = [visible(table.path.relative_to(root).as_posix()) for table, _ in found]
    if len(found) > 1:
        raise DataError(f"{root} has several tables that name its images, {' and '.join(shown[:2])}; leave one there")
    table, names = found[0]
    if table.source.fault:
        raise DataError(f"{root}: {shown[0]} {table.source.fault}")
    if table.way is None:
        raise DataError(f"{root}: {shown[0]} names the images as {visible(table.example)}, {_unclear(table, names)}")
    nested = len({PurePosixPath(file).parent for file in names.images}) > 1
    labels = label_column(table, column, nested)
    return _Reading(root, base, table, names, labels, closed).found()


def tables_beside(root: Path) -> list[Path]:
    """The files that are looked at for being a table of labels."""
    base = unwrapped(root)
    inner = subfolders(base)
    train = [base / name for name in inner if split_kind(name) == "train"]
    alone = [base / inner[0]] if len(inner) == 1 else []
    inside = within(root)
    places = dict.fromkeys((root, base, *train, *alone))
    return [path for place in places if inside(place) for path in _tables(place)]


def _tables(place: Path) -> list[Path]:
    try:
        with os.scandir(place) as entries:
            found = [Path(item.path) for item in entries if item.name.lower().endswith(KINDS)]
        return sorted(path for path in found if path.is_file() and not path.is_symlink())[:_TABLES]
    except OSError:
        return []


def _read(root: Path, path: Path, files: list[str]) -> tuple[Table | None, Names]:
    """The table by the mark that finds most names, if any does."""
    names = Names(files, path.parent.relative_to(root).as_posix())
    tables = [table for rows in readings(path) if (table := naming(rows, names)) is not None and len(table.head) > 1]
    tables.sort(key=lambda table: (table.way is None, -len(table.head)))
    return (tables[0] if tables else None), names


def _is_of_test(table: Table, names: Names, base: Path, split: Sequence[str]) -> bool:
    """Whether a table is called after test or validation images, or names none but those in their folders."""
    if kind_of_file(table.path.stem) in _APART:
        return True
    apart = tuple(f"{(base / name).as_posix()}/" for name in split if split_kind(name) in _APART)
    return all(file.startswith(apart) for _, files in meant(table, names) for file in files)


def _unclear(table: Table, names: Names) -> str:
    if leaves(table.example):
        return "which leads out of the folder; write paths relative to the table"
    several = " and ".join(map(visible, names.alike(table.example)[:2]))
    return f"which says not which file is meant ({several}); write paths relative to the table"


@dataclass
class _Reading:
    """A table's rows put to the files. said: the rows of each file by the line and the label; reasons: what is not
    read, by name."""

    root: Path
    base: Path
    table: Table
    names: Names
    labels: int
    closed: Mapping[str, str]
    said: dict[str, list[tuple[int, str | None]]] = field(default_factory=lambda: defaultdict(list))
    reasons: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.name = self.table.path.relative_to(self.root).as_posix()
        self.shown = visible(self.name)
        self.split = split_column(self.table)
        if self.split == self.labels:
            self.split = None

    def found(self) -> Found:
        """All pictures that a row gives a label, by label and path. Errors: DataError where there is none."""
        given = [(row, self._file(row)) for row in self.table.rows]
        apart = self._apart([file for _, file in given if file is not None])
        for row, file in given:
            kind = self._kind(row, file, apart)
            if file is not None and kind is not None:
                self.reasons[file] = f"is a {kind} image by {self.shown}, and is not looked at"
            elif file is not None:
                self.said[file].append((row[0], cell(row, self.labels)))
        taken = {file: label for file, rows in self.said.items() if (label := self._label(file, rows)) is not None}
        if not taken:
            first = next((f"; the first: {visible(file)} {why}" for file, why in self.reasons.items()), "")
            raise DataError(f"{self.root}: no row of {self.shown} gives an image a label{first}")
        classes = label_order(set(taken.values()))
        place = {name: label for label, name in enumerate(classes)}
        names = sorted(taken, key=lambda file: (place[taken[file]], file))
        return Found(
            names=tuple(names),
            labels=tuple(place[taken[file]] for file in names),
            contents=lambda: (self.root / file for file in names),
            classes=tuple(map(printable, classes)),
            skipped=tuple(self._skipped(taken, apart)),
            notes=tuple(self._notes(taken, apart)),
        )

    def _file(self, row: Row) -> str | None:
        """The file that a row names; None where it names none that is read, with the reason noted."""
        line, cells = row
        stands = cells[self.table.files] if len(cells) > self.table.files else ""
        said, reason = stands or "", ""
        assert self.table.way is not None  # else there is nothing to read
        files = self.names.found(said, self.table.way)
        if len(cells) > len(self.table.head) and any(cells[len(self.table.head) :]):
            said = files[0] if len(files) == 1 else said
            reason = f"has {len(cells)} cells on line {line} of {self.shown}, which has {len(self.table.head)} columns"
        elif len(files) == 1:
            return files[0]
        elif not said.strip():
            said, reason = f"{self.name}#{line}", "names no file"
        elif leaves(said):
            reason = f"leads out of the folder (line {line} of {self.shown})"
        elif files:
            told = " and ".join(map(visible, files[:2]))
            reason = f"can be several files, as {told} (line {line} of {self.shown})"
        elif not any(self._is_closed(path) for path in self.names.here(said)):
            reason = f"is not there (line {line} of {self.shown})"
        if reason:
            self.reasons.setdefault(said, reason)
        return None

    def _is_closed(self, path: str) -> bool:
        """Whether a path, or a folder that it lies in, is told already: a link out, a hidden folder."""
        return any(str(one) in self.closed for one in (PurePosixPath(path), *PurePosixPath(path).parents))

    def _apart(self, files: list[str]) -> dict[str, str]:
        """Folders of test and validation images, with their kind, where there is one of training images beside them."""
        base = self.base.relative_to(self.root)
        kinds = {(base / name).as_posix(): split_kind(name) for name in subfolders(self.base)}
        train = [folder for folder, kind in kinds.items() if kind == "train"]
        if not any(file.startswith(f"{folder}/") for file in files for folder in train):
            return {}
        return {folder: kind for folder, kind in kinds.items() if kind is not None and kind in _APART}

    def _kind(self, row: Row, file: str | None, apart: Mapping[str, str]) -> str | None:
        """ "test" or "val" for an image that is not of the training images."""
        said = None if self.split is None else split_kind(cell(row, self.split) or "")
        lies = (kind for folder, kind in apart.items() if f"{file}".startswith(f"{folder}/"))
        return said if said in _APART else next(lies, None)

    def _label(self, file: str, rows: list[tuple[int, str | None]]) -> str | None:
        """The label that all rows of a file give it; None where they give none, with the reason noted."""
        line, label = rows[0]
        other = next(((number, said) for number, said in rows if said != label), None)
        if other is not None:
            told = " and ".join(visible((said or "none")[:80]) for said in (label, other[1]))
            self.reasons[file] = f"has two labels, {told} (lines {line} and {other[0]} of {self.shown})"
        elif label is None:
            self.reasons[file] = f"has a list for a label (line {line} of {self.shown})"
        elif not label:
            self.reasons[file] = f"has no label (line {line} of {self.shown})"
        elif file not in self.reasons:
            return label
        return None

    def _skipped(self, taken: Mapping[str, str], apart: Mapping[str, str]) -> Iterator[Skipped]:
        reasons = dict(self.closed) | self.reasons
        for file in sorted(self.names.files - set(taken) - set(reasons) - {self.name}):
            if not any(file.startswith(f"{folder}/") for folder in apart):
                reasons[file] = f"has no row in {self.shown}" if is_image(file) else BESIDE
        return (Skipped(file, reason) for file, reason in reasons.items())

    def _notes(self, taken: Mapping[str, str], apart: Mapping[str, str]) -> Iterator[str]:
        nested = len({PurePosixPath(file).parent for file in taken}) > 1
        folders = "; the names of folders are no classes then" if nested else ""
        yield f"labels are those of column {visible(self.table.head[self.labels])!r} in {self.shown}{folders}"
        again = sum(len(self.said[file]) - 1 for file in taken)
        if again:
            yield f"{plural(again, 'row', 'says', 'say')} again what another one says"
        yield from (
            f"{visible(folder)}/ holds {kind} images, which are not looked at" for folder, kind in apart.items()
        )
        yield from note_of_links(sum((self.root / file).is_symlink() for file in taken))
