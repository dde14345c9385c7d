"""Parquet image tables in the Hugging Face layout: a column `image: {bytes, path}` and a column of labels; which
of a folder make up a data set, and which split each belongs to."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from defenselib.data.sources.folder import split_kind, subfolders
from defenselib.data.sources.images import Listing, Picture, Split
from defenselib.data.sources.parquet_labels import Labels, image_column, label_column, labels_of, opened, reading
from defenselib.errors import DataError, DefenseLibError, printable

# Folders that only hold a data set, in the layouts of the Hugging Face hub.
_CONTAINERS = ("data", "plain_text", "default")
Tables = dict[str, list[Path]]
_BATCH = 512


def group_tables(folder: Path, files: Iterable[Path]) -> Tables:
    """The Parquet files of a data set (see `table_files`) by split ("train", "test", "val", "other"), in their order.

    A file belongs to the split that its name tells, else its folder's. Folders of other names are configurations of a
    data set: those of `folder` itself come first, else only one may hold training tables. Errors: DataError where
    several do.
    """
    configurations: dict[tuple[str, ...], Tables] = {}
    for path in files:
        parts = path.relative_to(folder).parts[:-1]
        kinds = [kind_of_file(path.stem), *(_kind_of_folder(part) for part in reversed(parts))]
        kind = next((item for item in kinds if item is not None), "other")
        inside = [part for part in parts if _kind_of_folder(part) is None]
        configuration = tuple(inside[1:] if inside[:1] == ["data"] else inside)
        configurations.setdefault(configuration, {}).setdefault(kind, []).append(path)
    if () in configurations or not configurations:
        return configurations.get((), {})
    full = {name: tables for name, tables in configurations.items() if "train" in tables or list(tables) == ["other"]}
    chosen = full or configurations
    if len(chosen) > 1:
        names = ", ".join(str(folder.joinpath(*name)) for name in sorted(chosen))
        raise DataError(f"{folder} holds several data sets; give the folder of one of them: {names}")
    return next(iter(chosen.values()))


def table_files(
    folder: Path, deep: bool = True, wanted: Callable[[Path], bool] = lambda _: True, levels: int = 2
) -> list[Path]:
    """The Parquet files in `folder` and up to `levels` folders below, shards in the order of their names.

    With `deep` false only in folders that are called like a split or a container, so that a folder of anything is not
    searched. wanted: which files and folders count as being there.
    """
    try:
        found = sorted(path for path in folder.glob("*.parquet") if os.path.isfile(path) and wanted(path))
    except OSError:
        return []
    if levels:
        for name in subfolders(folder):
            if (deep or name in _CONTAINERS or split_kind(name)) and wanted(folder / name):
                found += table_files(folder / name, deep, wanted, levels - 1)
    return found


def kind_of_file(stem: str) -> str | None:
    """The split that a file's name begins with, or has as a word: train-00000-of-00002, cifar10_test."""
    name = stem.casefold()
    for kind in ("train", "test", "val"):
        if name.startswith(kind):
            return kind
    return next((kind for kind in map(split_kind, re.split(r"[\W_]+", name)) if kind is not None), None)


def _kind_of_folder(name: str) -> str | None:
    return split_kind(name.removeprefix("partial-"))  # as the hub calls a split of which it converted a part


def list_parquet(folder: Path, deep: bool = True) -> Listing | None:
    """`list_tables` of the Parquet files of `folder` (see `table_files`)."""
    return list_tables(folder, group_tables(folder, table_files(folder, deep)))


def list_tables(folder: Path, files: Tables, column: str | None = None) -> Listing | None:
    """The data set in these Parquet files of `folder` by split; None where there are none.

    Test images are those of the test tables, else of the validation tables. column: where the labels stand, None for a
    column of a usual name; see `labels_of`. Errors: DataError for a damaged file, a missing column, or tables that name
    different classes; UnknownNameError for a `column` that a table has not.
    """
    if not files:
        return None
    train = files.get("train") or (files.get("other") if len(files) == 1 else None)
    if train is None:
        raise DataError(f"{folder} has no training table; name it train.parquet")
    test = files.get("test") or files.get("val") or []
    labels = labels_of(train, test, column)
    return Listing(
        folder=folder,
        files=tuple(train + test),
        train=_split(train, labels),
        test=_split(test, labels) if test else None,
        classes=None if labels.classes is None else tuple(map(printable, labels.classes)),
    )


def holds_pictures(path: Path, column: str | None = None) -> bool:
    """Whether a Parquet file can be read and has columns of images and labels."""
    try:
        file = opened(path)
        return bool(image_column(file, path) and label_column(file, path, column))
    except DefenseLibError:
        return False


def _split(files: list[Path], labels: Labels) -> Split:
    counts = [opened(path).metadata.num_rows for path in files]
    return Split(
        count=sum(counts),
        labels=lambda: np.concatenate([labels.of(path) for path in files]),
        pictures=lambda: chain.from_iterable(_pictures(path) for path in files),
    )


def _pictures(path: Path) -> Iterator[Picture]:
    file = opened(path)
    name = image_column(file, path)
    kind = file.schema_arrow.field(name).type
    nested = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
    if not _is_binary(kind.field("bytes").type if nested else kind):
        raise DataError(f"{path}: column {name!r} is {kind}, it must be a struct with `bytes`, or binary")
    row = 0
    batches: Iterator[Any] = file.iter_batches(batch_size=_BATCH, columns=[name])
    while True:
        with reading(path):
            batch = next(batches, None)
            contents = [] if batch is None else _contents(batch.column(0), nested)
        if batch is None:
            return
        for content in contents:
            yield (path, row), content
            row += 1


def _contents(column: pa.Array, nested: bool) -> list[bytes | None]:
    contents: list[bytes | None] = (column.field("bytes") if nested else column).to_pylist()
    return contents


def _is_binary(kind: pa.DataType) -> bool:
    """Whether values of a column are bytes, however they are laid out."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
    return any(test(kind) for test in tests)
