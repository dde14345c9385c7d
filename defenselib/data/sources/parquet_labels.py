"""The columns of a Parquet image table, and its labels: whole numbers, with names or without, or texts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from defenselib.data.sources.folder import label_order
from defenselib.errors import DataError, unknown

IMAGE_COLUMNS = ("image", "img", "images", "picture", "photo", "jpg", "jpeg", "png", "webp", "image_bytes", "bytes")
LABEL_COLUMNS = ("label", "fine_label", "labels", "class", "target", "cls", "class_id", "classid", "label_id", "y")
Names = tuple[str, ...]


class NoColumnError(DataError):
    """A table without a column of a usual name. kind: "Image" or "ClassLabel"."""

    def __init__(self, text: str, kind: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True)
class Labels:
    """How the labels of a data set's tables are read.

    classes: their names, None where the tables give none. orders: the data set's labels for those of a table that names
    its classes. texts: whether labels are texts. column: where they stand; None for a usual name.
    """

    classes: Names | None
    orders: dict[Path, NDArray[np.int64]]
    texts: bool
    column: str | None

    def of(self, path: Path) -> NDArray[np.int64]:
        """Labels int64 (N,) of a table. Errors: DataError for one that is missing or none of the data set's."""
        if not self.texts:
            return _numbers(path, self.orders.get(path), self.column)
        places = {name: label for label, name in enumerate(self.classes or ())}
        found = _texts(path, self.column)
        for row, name in enumerate(found):
            if name not in places:
                raise DataError(f"{path}, row {row}: label {name!r} is not one of the training tables; correct it")
        return np.array([places[name] for name in found], dtype=np.int64)


def labels_of(train: Sequence[Path], test: Sequence[Path], column: str | None = None) -> Labels:
    """How the labels of these tables are read.

    Names of whole numbers are those of the first table that names its classes; where another one names them in another
    order, its labels are matched by name. Texts are their own names, in the order that class folders would have.
    column: where the labels stand; None: the column of a usual name. Errors: DataError, UnknownNameError.
    """
    files = [*train, *test]
    texts = [path for path in files if _is_text(_kind(path, column))]
    if texts:
        other = next((path for path in files if path not in texts), None)
        if other is not None:
            raise DataError(f"{texts[0]} has texts for labels, and {other} has not; write the same in both")
        found = {name for path in train for name in _texts(path, column)}
        return Labels(tuple(label_order(found)), {}, True, column)
    named = {path: names for path in files if (names := _class_names(path, column)) is not None}
    classes = next(iter(named.values()), None)
    orders = {path: _order(path, names, classes or ()) for path, names in named.items()}
    return Labels(classes, orders, False, column)


def opened(path: Path) -> pq.ParquetFile:
    """A Parquet file whose head is read. Errors: DataError."""
    with reading(path):
        file = pq.ParquetFile(path)
        len(file.schema_arrow.names)  # decoded here, where an error is ours
        return file


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Inside, whatever pyarrow raises becomes a DataError."""
    try:
        yield
    except Exception as error:  # pyarrow raises its own, OSError, and what Python raises for names that are no text
        raise DataError(f"{path} is a damaged Parquet file ({error}); copy or download it again") from error


def image_column(file: pq.ParquetFile, path: Path) -> str:
    """The column of the images. Errors: NoColumnError."""
    return _usual(file, path, IMAGE_COLUMNS, "Image")


def label_column(file: pq.ParquetFile, path: Path, column: str | None = None) -> str:
    """The column of the labels: `column`, else that of a usual name. Errors: NoColumnError, UnknownNameError."""
    if column is None:
        return _usual(file, path, LABEL_COLUMNS, "ClassLabel")
    if column not in file.schema_arrow.names:
        raise unknown(f"column of {path}:", column, file.schema_arrow.names)
    return column


def _usual(file: pq.ParquetFile, path: Path, allowed: Names, kind: str) -> str:
    """The column of a usual name, in any case, else the only one that the file's metadata call a `kind`."""
    names = file.schema_arrow.names
    by_name = {name.casefold(): name for name in reversed(names)}
    for name in allowed:
        if name in by_name:
            return by_name[name]
    of_kind = [name for name, facts in _features(file).items() if facts.get("_type") == kind and name in names]
    if len(of_kind) == 1:
        return of_kind[0]
    raise NoColumnError(f"{path} has no column {' or '.join(allowed)}; its columns: {', '.join(names)}", kind)


def _features(file: pq.ParquetFile) -> dict[str, dict[str, Any]]:
    """What the `datasets` library writes about the columns into a file's metadata."""
    try:
        found = json.loads((file.schema_arrow.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: facts for name, facts in found.items() if isinstance(facts, dict)}
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}


def _class_names(path: Path, column: str | None) -> Names | None:
    file = opened(path)
    names = _features(file).get(label_column(file, path, column), {}).get("names")
    return tuple(map(str, names)) if isinstance(names, list) and names else None


def _order(path: Path, names: Names, classes: Names) -> NDArray[np.int64]:
    """Labels of the data set for the labels 0, 1, ... of a file, int64 (K,), by the names of both."""
    if names == classes:
        return np.arange(len(names))
    missing = sorted(set(names) ^ set(classes))
    if missing or len(set(names)) < len(names):
        what = f"class {missing[0]!r} is not in both" if missing else "names stand for two labels"
        raise DataError(f"{path} names other classes than the first table of its data set: {what}")
    return np.array([classes.index(name) for name in names], dtype=np.int64)


def _kind(path: Path, column: str | None) -> pa.DataType:
    file = opened(path)
    return file.schema_arrow.field(label_column(file, path, column)).type


def _is_text(kind: pa.DataType) -> bool:
    """Whether values of a column are texts, however they are laid out."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def _texts(path: Path, column: str | None) -> list[str]:
    """The labels of a table whose labels are texts. Errors: DataError for a row without one."""
    file = opened(path)
    name = label_column(file, path, column)
    with reading(path):
        found: list[str | None] = file.read(columns=[name]).column(name).to_pylist()
    for row, text in enumerate(found):
        if text is None or not text.strip():
            raise DataError(f"{path}, row {row}: label {text!r} is not allowed, it must be a text that is not empty")
    return [text for text in found if text is not None]


def _numbers(path: Path, order: NDArray[np.int64] | None, column: str | None) -> NDArray[np.int64]:
    file = opened(path)
    name = label_column(file, path, column)
    kind = file.schema_arrow.field(name).type
    if not pa.types.is_integer(kind):
        raise DataError(f"{path}: column {name!r} is {kind}, labels must be integers or texts")
    with reading(path):
        found = file.read(columns=[name]).column(name)
        # A missing label becomes -1 and is reported with the negative ones.
        labels: NDArray[np.int64] = found.cast(pa.int64()).fill_null(-1).to_numpy().astype(np.int64)
    wrong = np.flatnonzero((labels < 0) | (labels >= (np.iinfo(np.int64).max if order is None else len(order))))
    if len(wrong):
        row = int(wrong[0])
        allowed = "0 or more" if order is None else f"0 to {len(order) - 1}"
        raise DataError(f"{path}, row {row}: label {found[row].as_py()} is not allowed, it must be {allowed}")
    return labels if order is None else order[labels]
