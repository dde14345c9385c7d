"""Which Parquet files of a folder make up a data set, and which split each belongs to."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from defenselib.data.sources.folder import split_kind, subfolders
from defenselib.errors import DataError

# Folders that only hold a data set, in the layouts of the Hugging Face hub.
_CONTAINERS = ("data", "plain_text", "default")
Tables = dict[str, list[Path]]


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
