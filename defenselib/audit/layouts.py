"""Which layout a user's folder has: class folders, images with a table of labels, Parquet tables, or a data set as
torchvision stores it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from defenselib.audit.label_columns import OPTION
from defenselib.audit.label_tables import BESIDE, find_labelled, tables_beside
from defenselib.audit.names import visible
from defenselib.audit.pictures import Content, Found, Header, look
from defenselib.audit.stored import find_stored
from defenselib.audit.tree import below, find_tree, others, within
from defenselib.data.sources.parquet import group_tables, holds_pictures, list_tables, table_files
from defenselib.data.sources.parquet_labels import NoColumnError
from defenselib.errors import DataError

_SPLITS = {kind: f"holds {kind} images, which are not looked at" for kind in ("test", "val")}


class NoTableError(DataError):
    """A column of labels was asked for, and labels are the names of folders or those of a torchvision data set."""


def find(root: Path, column: str | None = None) -> Found:
    """The pictures of `root`, and what lies beside them.

    A table that names the images goes before their folders, unless a column of it has the names of these. Two class
    folders with a readable picture go before Parquet tables below `root`, which are then told as skipped. column: where
    a table has the labels. Errors: DataError where such folders stand beside a Parquet table in `root` itself, for
    either could be meant, or where they are no layout that is known; for a folder that holds neither. NoTableError for
    a `column` where there is no table, UnknownNameError for a `column` that a table has not.
    """
    stored = find_stored(root, within(root))
    tables = table_files(root, wanted=within(root))
    files = (*(() if stored is None else stored.files), *tables)
    if not files:
        return find_labelled(root, column) or _tree(root, column)
    first = visible(files[0].relative_to(root).as_posix())
    known, tree = set(files), None
    try:
        tree = find_tree(root, known)
        folders = _pictured((tree.classes[label] for label in tree.labels), tree.contents())
    except DataError as error:
        names = [name for name in below(root) if root / name not in known]
        folders = _pictured((str(Path(name).parent) for name in names), (root / name for name in names))
        if len(folders) > 1:
            told = " and ".join(map(visible, folders))
            raise DataError(
                f"{error}; move {first} elsewhere, or the images in {told}: one data set is read"
            ) from error
    if tree is None or len(folders) < 2:
        if stored is None:
            return _tables(root, tables, column)
        _check_no_column(root, column)
        return replace(stored.read(), skipped=others(root, stored.files, lambda _: BESIDE))
    either = [path for path in files if path.parent == root and (path not in tables or holds_pictures(path, column))]
    if either:
        told = " and ".join(map(visible, folders))
        raise DataError(
            f"{root} holds both a table, {visible(either[0].name)}, and class folders with images, as {told}; move "
            "one of the two elsewhere"
        )
    if (labelled := find_labelled(root, column)) is not None:
        return labelled
    _check_no_column(root, column)
    return replace(tree, notes=(*tree.notes, f"tables beside the class folders are not read, the first: {first}"))


def _tree(root: Path, column: str | None) -> Found:
    _check_no_column(root, column)
    try:
        return find_tree(root)
    except DataError as error:
        tables = [visible(path.relative_to(root).as_posix()) for path in tables_beside(root)]
        if tables:
            raise DataError(f"{error}; {tables[0]} is no table that names images here") from error
        raise


def _check_no_column(root: Path, column: str | None) -> None:
    if column is not None:
        raise NoTableError(f"{root} has no table of labels, and so no column {column!r}; leave --label-column out")


def _pictured(groups: Iterable[str], contents: Iterable[Content]) -> list[str]:
    """The first two groups of which a picture can be read."""
    found: list[str] = []
    for group, content in zip(groups, contents, strict=True):
        if group not in found and isinstance(look(content), Header):
            found.append(group)
            if len(found) == 2:
                break
    return found


def _tables(root: Path, tables: list[Path], column: str | None) -> Found:
    try:
        listing = list_tables(root, groups := group_tables(root, tables), column)
    except NoColumnError as error:
        raise DataError(f"{error}; choose by {OPTION}" if error.kind == "ClassLabel" else str(error)) from error
    assert listing is not None  # some were found
    kinds = {path: kind for kind, paths in groups.items() for path in paths}
    read = [path for path in listing.files if kinds[path] not in _SPLITS]
    given, labels = np.unique(listing.train.labels(), return_inverse=True)
    # A row may hold nothing; its place is known all the same.
    places = [place for place, _ in listing.train.pictures()]

    def contents() -> Iterator[Content]:
        return (content for _, content in listing.train.pictures())

    if listing.classes is not None and given[-1:] >= len(listing.classes):
        raise DataError(
            f"{root} has label {given[-1]} in a table, and another one names {len(listing.classes)} classes"
        )
    return Found(
        names=tuple(f"{path.relative_to(root).as_posix()}#{row}" for path, row in places),
        labels=tuple(labels.tolist()),
        contents=contents,
        classes=tuple(str(x) if listing.classes is None else listing.classes[x] for x in given.tolist()),
        skipped=others(root, read, lambda path: _SPLITS.get(kinds.get(path, ""), BESIDE)),
        notes=() if listing.test is None else ("the table of test images is not looked at",),
    )
