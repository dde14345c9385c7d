"""Parquet image tables in the Hugging Face layout: a column `image: {bytes, path}` and an integer label column;
which of a folder make up a data set, and which split each belongs to."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from defenselib.data.sources.folder import split_kind, subfolders
from defenselib.data.sources.images import Listing, Picture, Split
from defenselib.errors import DataError, printable

# Folders that only hold a data set, in the layouts of the Hugging Face hub.
_CONTAINERS = ("data", "plain_text", "default")
Tables = dict[str, list[Path]]
IMAGE_COLUMNS = ("image", "img", "images", "picture", "photo", "jpg", "jpeg", "png", "webp", "image_bytes", "bytes")
LABEL_COLUMNS = ("label", "fine_label", "labels", "class", "target", "cls", "class_id", "classid", "label_id", "y")
_BATCH = 512
Names = tuple[str, ...]


def group_tables(folder: Path, files: Iterable[Path]) -> Tables:
    """The Parquet files of a data set (see `table_files`) by split ("train", "test", "val", "other"), in their order.

    A file belongs to the split that its name tells, else its folder's. Folders of other names are configurations of a
    data set: those of `folder` itself come first, else only one may hold training tables. Errors: DataError where
    several do.
    """
    configurations: dict[tuple[str, ...], Tables] = {}
    for path in files:
        parts = path.relative_to(folder).parts[:-1]
        kinds = [_kind_of_file(path.stem), *(_kind_of_folder(part) for part in reversed(parts))]
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


def _kind_of_file(stem: str) -> str | None:
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


def list_tables(folder: Path, files: Tables) -> Listing | None:
    """The data set in these Parquet files of `folder` by split; None where there are none.

    Test images are those of the test tables, else of the validation tables. Labels are those of the first table that
    names its classes; where another one names them in another order, its labels are matched by name. Errors: DataError
    for a damaged file, a missing column, or tables that name different classes.
    """
    if not files:
        return None
    train = files.get("train") or (files.get("other") if len(files) == 1 else None)
    if train is None:
        raise DataError(f"{folder} has no training table; name it train.parquet")
    test = files.get("test") or files.get("val") or []
    named = {path: names for path in train + test if (names := _class_names(path)) is not None}
    classes = next(iter(named.values()), None)
    orders = {path: _order(path, names, classes or ()) for path, names in named.items()}
    return Listing(
        folder=folder,
        files=tuple(train + test),
        train=_split(train, orders),
        test=_split(test, orders) if test else None,
        classes=None if classes is None else tuple(map(printable, classes)),
    )


def holds_pictures(path: Path) -> bool:
    """Whether a Parquet file can be read and has columns of images and labels."""
    try:
        file = _open(path)
        return bool(_column(file, path, IMAGE_COLUMNS, "Image") and _column(file, path, LABEL_COLUMNS, "ClassLabel"))
    except DataError:
        return False


def _order(path: Path, names: Names, classes: Names) -> NDArray[np.int64]:
    """Labels of the data set for the labels 0, 1, ... of a file, int64 (K,), by the names of both."""
    if names == classes:
        return np.arange(len(names))
    missing = sorted(set(names) ^ set(classes))
    if missing or len(set(names)) < len(names):
        what = f"class {missing[0]!r} is not in both" if missing else "names stand for two labels"
        raise DataError(f"{path} names other classes than the first table of its data set: {what}")
    return np.array([classes.index(name) for name in names], dtype=np.int64)


def _open(path: Path) -> pq.ParquetFile:
    with _reading(path):
        file = pq.ParquetFile(path)
        len(file.schema_arrow.names)  # decoded here, where an error is ours
        return file


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # pyarrow raises its own, OSError, and what Python raises for names that are no text
        raise DataError(f"{path} is a damaged Parquet file ({error}); copy or download it again") from error


def _column(file: pq.ParquetFile, path: Path, allowed: Names, kind: str) -> str:
    """The column of a usual name, in any case, else the only one that the file's metadata call a `kind`."""
    names = file.schema_arrow.names
    by_name = {name.casefold(): name for name in reversed(names)}
    for name in allowed:
        if name in by_name:
            return by_name[name]
    of_kind = [name for name, facts in _features(file).items() if facts.get("_type") == kind and name in names]
    if len(of_kind) == 1:
        return of_kind[0]
    raise DataError(f"{path} has no column {' or '.join(allowed)}; its columns: {', '.join(names)}")


def _features(file: pq.ParquetFile) -> dict[str, dict[str, Any]]:
    """What the `datasets` library writes about the columns into a file's metadata."""
    try:
        found = json.loads((file.schema_arrow.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: facts for name, facts in found.items() if isinstance(facts, dict)}
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}


def _class_names(path: Path) -> Names | None:
    file = _open(path)
    names = _features(file).get(_column(file, path, LABEL_COLUMNS, "ClassLabel"), {}).get("names")
    return tuple(map(str, names)) if isinstance(names, list) and names else None


def _split(files: list[Path], orders: dict[Path, NDArray[np.int64]]) -> Split:
    counts = [_open(path).metadata.num_rows for path in files]
    return Split(
        count=sum(counts),
        labels=lambda: np.concatenate([_labels(path, orders.get(path)) for path in files]),
        pictures=lambda: chain.from_iterable(_pictures(path) for path in files),
    )


def _labels(path: Path, order: NDArray[np.int64] | None) -> NDArray[np.int64]:
    file = _open(path)
    name = _column(file, path, LABEL_COLUMNS, "ClassLabel")
    if not pa.types.is_integer(file.schema_arrow.field(name).type):
        raise DataError(f"{path}: column {name!r} is {file.schema_arrow.field(name).type}, labels must be integers")
    with _reading(path):
        column = file.read(columns=[name]).column(name)
        # A missing label becomes -1 and is reported with the negative ones.
        labels: NDArray[np.int64] = column.cast(pa.int64()).fill_null(-1).to_numpy().astype(np.int64)
    wrong = np.flatnonzero((labels < 0) | (labels >= (np.iinfo(np.int64).max if order is None else len(order))))
    if len(wrong):
        row = int(wrong[0])
        allowed = "0 or more" if order is None else f"0 to {len(order) - 1}"
        raise DataError(f"{path}, row {row}: label {column[row].as_py()} is not allowed, it must be {allowed}")
    return labels if order is None else order[labels]


def _pictures(path: Path) -> Iterator[Picture]:
    file = _open(path)
    name = _column(file, path, IMAGE_COLUMNS, "Image")
    kind = file.schema_arrow.field(name).type
    nested = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
    if not _is_binary(kind.field("bytes").type if nested else kind):
        raise DataError(f"{path}: column {name!r} is {kind}, it must be a struct with `bytes`, or binary")
    row = 0
    batches: Iterator[Any] = file.iter_batches(batch_size=_BATCH, columns=[name])
    while True:
        with _reading(path):
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
