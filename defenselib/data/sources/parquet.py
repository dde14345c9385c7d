"""Parquet image tables in the Hugging Face layout: a column `image: {bytes, path}` and an integer label column."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from defenselib.data.sources.images import Listing, Picture, Split
from defenselib.errors import DataError

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "fine_label", "labels", "class", "target")
_SUBFOLDERS = ("data", "plain_text", "default", "train", "test", "val", "valid", "validation")
_BATCH = 512


def list_parquet(folder: Path) -> Listing | None:
    """The data set in the Parquet files of `folder`; None where there is none.

    Files whose name (or folder) begins with `train`, `test` or `val` are the splits, shards are joined in the order
    of their names; files with other names are one set. Errors: DataError for a damaged file or a missing column.
    """
    files = _group(folder)
    train = files.get("train") or (files.get("other") if len(files) == 1 else None)
    if not files:
        return None
    if train is None:
        raise DataError(f"{folder} has no training table; name it train.parquet")
    test = files.get("test") or files.get("val")
    classes = _class_names(train[0])
    return Listing(
        folder=folder,
        files=tuple(train + (test or [])),
        train=_split(train, classes),
        test=_split(test, classes) if test else None,
        classes=classes,
    )


def _group(folder: Path) -> dict[str, list[Path]]:
    groups: dict[str, list[Path]] = {}
    below = [folder / name for name in _SUBFOLDERS]
    for path in sorted(chain(folder.glob("*.parquet"), *(item.glob("*.parquet") for item in below))):
        hints = [path.stem.lower()] + ([path.parent.name] if path.parent != folder else [])
        kind = next((k for hint in hints for k in ("train", "test", "val") if hint.startswith(k)), "other")
        groups.setdefault(kind, []).append(path)
    return groups


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} is a damaged Parquet file ({error}); copy or download it again")


def _column(file: pq.ParquetFile, path: Path, allowed: tuple[str, ...]) -> str:
    names = file.schema_arrow.names
    for name in allowed:
        if name in names:
            return name
    raise DataError(f"{path} has no column {' or '.join(allowed)}; its columns: {', '.join(names)}")


def _class_names(path: Path) -> tuple[str, ...] | None:
    """The names that the `datasets` library writes into the file's metadata."""
    file = _open(path)
    try:
        features = json.loads(file.schema_arrow.metadata[b"huggingface"])["info"]["features"]
        return tuple(map(str, features[_column(file, path, LABEL_COLUMNS)]["names"]))
    except (KeyError, TypeError, ValueError):
        return None


def _split(files: list[Path], classes: tuple[str, ...] | None) -> Split:
    counts = [_open(path).metadata.num_rows for path in files]
    return Split(
        count=sum(counts),
        labels=lambda: np.concatenate([_labels(path, classes) for path in files]),
        pictures=lambda: chain.from_iterable(_pictures(path) for path in files),
    )


def _labels(path: Path, classes: tuple[str, ...] | None) -> NDArray[np.int64]:
    file = _open(path)
    name = _column(file, path, LABEL_COLUMNS)
    if not pa.types.is_integer(file.schema_arrow.field(name).type):
        raise DataError(f"{path}: column {name!r} is {file.schema_arrow.field(name).type}, labels must be integers")
    try:
        column = file.read(columns=[name]).column(name)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error
    # A missing label becomes -1 and is reported with the negative ones.
    labels: NDArray[np.int64] = column.cast(pa.int64()).fill_null(-1).to_numpy().astype(np.int64)
    wrong = np.flatnonzero((labels < 0) | (labels >= (len(classes) if classes else np.iinfo(np.int64).max)))
    if len(wrong):
        row = int(wrong[0])
        allowed = f"0 to {len(classes) - 1}" if classes else "0 or more"
        raise DataError(f"{path}, row {row}: label {column[row].as_py()} is not allowed, it must be {allowed}")
    return labels


def _pictures(path: Path) -> Iterator[Picture]:
    file = _open(path)
    name = _column(file, path, IMAGE_COLUMNS)
    kind = file.schema_arrow.field(name).type
    nested = pa.types.is_struct(kind)
    if not (nested and kind.get_field_index("bytes") >= 0) and not pa.types.is_binary(kind):
        raise DataError(f"{path}: column {name!r} is {kind}, it must be a struct with `bytes`, or binary")
    row = 0
    batches: Iterator[Any] = file.iter_batches(batch_size=_BATCH, columns=[name])
    while True:
        try:
            batch = next(batches, None)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(path, error) from error
        if batch is None:
            return
        column = batch.column(0)
        for content in (column.field("bytes") if nested else column).to_pylist():
            yield (path, row), content
            row += 1
