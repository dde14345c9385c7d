"""GTSRB as torchvision downloads and lays it out, `GTSRB/Training`, `GTSRB/Final_Test` and `GT-final_test.csv`.

It has 26,640 training images, the Parquet copy has 39,209, so results made on them are told apart.
"""

from __future__ import annotations

import csv
from pathlib import Path

from defenselib.data.sources.folder import class_folders, images_below, split_of
from defenselib.data.sources.images import Listing
from defenselib.data.sources.names import GTSRB_CLASSES
from defenselib.errors import DataError

_COUNT = len(GTSRB_CLASSES)


def list_gtsrb(folder: Path) -> Listing | None:
    """The data set where it was unpacked below `folder`; None where it is not. Errors: DataError."""
    base = next((item for item in (folder / "gtsrb" / "GTSRB", folder / "GTSRB") if item.is_dir()), None)
    if base is None:
        return None
    names = class_folders(base / "Training")
    if len(names) != _COUNT:
        raise DataError(
            f"{base / 'Training'} has {len(names)} of {_COUNT} classes; delete {base.parent}, download it again"
        )
    train = [sorted(images_below(base / "Training" / name)) for name in names]
    table = base.parent / "GT-final_test.csv"
    test: list[list[Path]] = [[] for _ in range(_COUNT)]
    for name, label in _rows(table):
        test[label].append(base / "Final_Test" / "Images" / name)
    files = (table, *(path for item in train + test for path in item))
    return Listing(folder, files, split_of(train), split_of(test), None)


def _rows(table: Path) -> list[tuple[str, int]]:
    """File names and labels of the test images."""
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = [(row["Filename"], row["ClassId"]) for row in csv.DictReader(file, delimiter=";")]
        return [_row(table, number, name, text) for number, (name, text) in enumerate(rows, 2)]
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise DataError(
            f"{table} is missing or damaged ({type(error).__name__}: {error}); delete {table.parent} and download it "
            "again"
        ) from error


def _row(table: Path, line: int, name: str | None, text: str | None) -> tuple[str, int]:
    if not (text and text.strip().isdecimal() and int(text) < _COUNT):
        raise DataError(f"{table}, line {line}: label {text!r} is not allowed, it must be 0 to {_COUNT - 1}")
    if not name or Path(name).name != name:
        raise DataError(f"{table}, line {line}: {name!r} is not allowed, it must be the name of an image file")
    return name, int(text)
