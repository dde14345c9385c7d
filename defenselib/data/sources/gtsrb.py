"""GTSRB with its files as images: as torchvision lays it out, and as it is often passed on.

torchvision: `GTSRB/Training`, `GTSRB/Final_Test`, `GT-final_test.csv`, 26,640 training images. The other: `Train`,
`Test`, `Test.csv`, 39,209 of them as in the Parquet copy. Results on them are told apart by the digest of the pixels.
"""

from __future__ import annotations

from pathlib import Path

from defenselib.data.info import KNOWN
from defenselib.data.sources.annotated import annotated_split, rows_of
from defenselib.data.sources.folder import class_files, class_folders, listing_of
from defenselib.data.sources.images import Listing
from defenselib.errors import DataError

_CLASSES = KNOWN["gtsrb"].classes
_LABELS = tuple(map(str, range(len(_CLASSES))))


def list_gtsrb(folder: Path) -> Listing | None:
    """The data set where it was unpacked in or below `folder`; None where it is not. Errors: DataError."""
    base = next((item for item in (folder / "gtsrb" / "GTSRB", folder / "GTSRB") if item.is_dir()), None)
    if base is not None:
        table, columns, separator = base.parent / "GT-final_test.csv", ("Filename", "ClassId"), ";"
        train_root, test_root = base / "Training", base / "Final_Test" / "Images"
    elif (folder / "Test.csv").is_file() and (folder / "Train").is_dir():
        table, columns, separator = folder / "Test.csv", ("Path", "ClassId"), ","
        train_root, test_root = folder / "Train", folder
    else:
        return None
    names = class_folders(train_root)
    if len(names) != len(_LABELS):
        raise DataError(
            f"{train_root} has {len(names)} of {len(_LABELS)} classes; delete {table.parent}, download it again"
        )
    train = class_files(train_root, names)
    test = annotated_split(rows_of(table, columns, separator), test_root, _LABELS, table)
    return listing_of(folder, train, test, _CLASSES, table)
