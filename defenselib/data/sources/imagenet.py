"""ImageNet (ILSVRC 2012) and subsets of it: `train/WNID/*.JPEG` and validation images, in folders or in a table.

A subset is a `class_list.txt` beside `train`, one WordNet number a line in label order (links to one copy of the
images are enough), or a `Part`, which is drawn. Images have other sizes; `load_dataset(..., image_size=...)` says to
which they are brought.
"""

from __future__ import annotations

import re
from pathlib import Path

from defenselib.data.sources.annotated import Row, annotated_split, rows_of
from defenselib.data.sources.folder import class_files, class_folders, listed_classes, listing_of, subfolders
from defenselib.data.sources.images import Listing
from defenselib.data.sources.parts import Part
from defenselib.errors import DataError, printable

_WNID = re.compile(r"n\d{8}")


def list_imagenet(folder: Path, part: Part | None = None) -> Listing | None:
    """The data set in `folder`, or where the archives unpack it below; None where it is not. Errors: DataError.

    part: what is drawn where there are more classes than it has.

    Test images are the published validation images: `val/WNID/*.JPEG`, or `val/*.JPEG` with `LOC_val_solution.csv`.
    """
    base = next((item for item in (folder, folder / "ILSVRC" / "Data" / "CLS-LOC") if _is_imagenet(item)), None)
    if base is None:
        return None
    everyone = class_folders(base / "train")
    names = listed_classes(folder, everyone)
    drawn = part is not None and len(names) > part.classes
    if part is not None and drawn:
        names = part.of_folders(base / "train", names)
    train = class_files(base / "train", names)
    table = folder / "LOC_val_solution.csv"
    if subfolders(base / "val"):
        test = class_files(base / "val", names)
    elif table.is_file():
        test = annotated_split(_solution(table), base / "val", names, table, everyone)
    else:
        raise DataError(f"{base / 'val'} has no folder per class, and there is no {table}; add one of them")
    for place, found in (("train", train), ("val", test)):
        empty = next((name for name, files in zip(names, found, strict=True) if not files), None)
        if empty is not None:
            raise DataError(f"{base / place} has no images of class {empty}; unpack the data set again")
    listing = listing_of(folder, train, test, words(folder / "LOC_synset_mapping.txt", names))
    return part.images_of(listing) if part is not None and drawn else listing


def words(file: Path, names: list[str]) -> tuple[str, ...]:
    """The first word for each WordNet number, from a file of lines "n01440764 tench, ..."; the numbers without one."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return tuple(map(printable, names))
    known = {parts[0]: parts[1].split(",")[0] for parts in (line.split(None, 1) for line in lines) if len(parts) == 2}
    found = [known.get(name, name) for name in names]
    # Two kinds of crane: a word that stands twice is told apart by its number.
    return tuple(
        word if found.count(word) == 1 else f"{word} ({name})" for word, name in zip(found, names, strict=True)
    )


def _is_imagenet(folder: Path) -> bool:
    names = subfolders(folder / "train")
    return bool(names) and (folder / "val").is_dir() and all(_WNID.fullmatch(name) for name in names)


def _solution(table: Path) -> list[Row]:
    """Rows whose class is the first word of "n03995372 85 1 499 272", a box each."""
    rows = rows_of(table, ("ImageId", "PredictionString"), ",")
    return [(line, f"{image}.JPEG", boxes.partition(" ")[0]) for line, image, boxes in rows]
