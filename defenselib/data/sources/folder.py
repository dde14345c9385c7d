"""Image folders: one folder per class, below train/ and test/ or as one tree; or test images in one folder, their
classes in a table beside it."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from defenselib.data.sources.images import Listing, Picture, Split
from defenselib.errors import DataError, printable

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".webp", ".gif", ".tif", ".tiff")
CLASS_LIST = "class_list.txt"
# Usual names of a split's folder, in lower case and without signs; `set`, `images` and `data` may follow.
_SPLIT = re.compile(
    r"(?:(?P<train>train|training)|(?P<test>test|testing)|(?P<val>val|valid|validation|eval|evaluation|dev))"
    r"(?:set|images?|data)?"
)
_DIGITS = 300  # of a class that is a number: Python turns no text of any length into one
Row = tuple[int, str, str]  # line of the table, file, class


def list_folder(folder: Path) -> Listing | None:
    """The data set in the class folders of `folder`, or of the one folder in it; None where there are none.

    Classes are sorted by name (by value where all names are numbers), unless `folder` has a `class_list.txt`: then they
    are those that it names, one a line, in its order, and the others are left out. Errors: DataError for a class folder
    without images, for a test class that is not trained, and where the names of splits say something else than
    `splits`.
    """
    folder = unwrapped(folder)
    train_root, test_root = splits(folder)
    everyone = class_folders(train_root)
    names = listed_classes(folder, everyone)
    train = class_files(train_root, names)
    if not names or not any(train):
        return None
    for name, files in zip(names, train, strict=True):
        if not files:
            raise DataError(f"class folder {train_root / name} holds no image ({', '.join(EXTENSIONS)}); remove it")
        if name.lower().endswith(EXTENSIONS):
            raise DataError(f"{train_root / name} is a folder that is called like an image; rename or remove it")
    test = None
    if test_root is not None:
        extra = sorted(set(class_folders(test_root)) - set(everyone))
        if extra:
            raise DataError(f"{test_root / extra[0]} is a class that {train_root} does not have; add or remove it")
        test = class_files(test_root, names)
        if not any(test):
            raise DataError(f"{test_root} has no class folder with images; fill it like {train_root}, or remove it")
    return listing_of(folder, train, test, tuple(map(printable, names)))


def splits(folder: Path) -> tuple[Path, Path | None]:
    """The folders of training and test classes; (folder, None) for one tree of classes.

    A split is found by its usual names, in any case: train, Training, test_set, val, ... Test images are those of the
    test folder, else of the validation folder. Errors: DataError where a split's name can be none, for it would be
    taken for a class: no folder per class in it, or two folders for one split.
    """
    kinds: dict[str, list[str]] = {"train": [], "test": [], "val": []}
    for name in subfolders(folder):
        kind = split_kind(name)
        if kind is not None:
            kinds[kind].append(name)
    with_classes = {kind: [name for name in names if subfolders(folder / name)] for kind, names in kinds.items()}
    for kind, names in with_classes.items():
        if len(names) > 1:
            raise DataError(f"{folder} has two folders of {kind} images, {names[0]} and {names[1]}; keep one of them")
    if not with_classes["train"]:
        named = [name for names in kinds.values() for name in names]
        if named:
            raise DataError(
                f"{folder} has a folder {named[0]!r} but no training folder with a folder per class; expected "
                "train/CLASS/*.png and test/CLASS/*.png, or CLASS/*.png alone with no class called like a split"
            )
        return folder, None
    test = with_classes["test"] or with_classes["val"] or kinds["test"] or kinds["val"]
    return folder / with_classes["train"][0], folder / test[0] if test else None


def split_kind(name: str) -> str | None:
    """Which split a folder is called after: "train", "test", "val"; None for any other name."""
    found = _SPLIT.fullmatch(re.sub(r"[\W_]+", "", name.casefold()))
    return None if found is None else found.lastgroup


def subfolders(folder: Path) -> list[str]:
    """Names of the folders below `folder`; hidden ones and `__MACOSX` are passed over."""
    try:
        with os.scandir(folder) as entries:
            return sorted(item.name for item in entries if _is_folder(item) and not item.name.startswith((".", "__")))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror})") from error


def _is_folder(item: os.DirEntry[str]) -> bool:
    try:
        return item.is_dir()
    except OSError:  # a link that leads in a circle, or to a name that is none
        return False


def class_folders(folder: Path) -> list[str]:
    """Names of the folders below `folder`, in label order."""
    return label_order(subfolders(folder))


def label_order(names: Iterable[str]) -> list[str]:
    """Class names in the order of their labels: sorted, and by value where all are numbers."""
    found = sorted(names)
    numbers = all(name.isdecimal() and len(name) <= _DIGITS for name in found)
    return sorted(found, key=lambda name: (int(name), name)) if numbers else found


def listing_of(
    folder: Path, train: list[list[Path]], test: list[list[Path]] | None, classes: tuple[str, ...], *tables: Path
) -> Listing:
    """The data set of these files per class, in label order; tables: files that say something of them."""
    files = (*tables, *(path for part in train + (test or []) for path in part))
    return Listing(folder, files, split_of(train), None if test is None else split_of(test), classes)


def split_of(files: list[list[Path]]) -> Split:
    """A split of the files per class, in label order."""
    labels = np.repeat(np.arange(len(files)), [len(item) for item in files])

    def pictures() -> Iterator[Picture]:
        return (((path, None), path) for item in files for path in item)

    return Split(count=len(labels), labels=lambda: labels.astype(np.int64), pictures=pictures)


def images_below(folder: Path) -> Iterator[Path]:
    """All image files below `folder`, by their extension; pipes and the like are passed over."""
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        names = [name for name in files if name.lower().endswith(EXTENSIONS) and name[0] != "."]
        # A link to nothing counts: it stands for an image that is lost, which is said where it is read.
        yield from (path for path in (Path(parent, name) for name in names) if path.is_file() or not path.exists())


def unwrapped(folder: Path) -> Path:
    """The one folder in `folder` where that holds splits (an archive unpacked into a folder of its name)."""
    inner = subfolders(folder)
    if len(inner) == 1 and split_kind(inner[0]) is None and any(map(split_kind, subfolders(folder / inner[0]))):
        return folder / inner[0]
    return folder


def listed_classes(folder: Path, names: list[str]) -> list[str]:
    """Those of the class folders `names` that the folder's `class_list.txt` names, in its order; all without one.

    Errors: DataError for a line that is no class folder, and one that stands twice.
    """
    file = folder / CLASS_LIST
    if not file.is_file():
        return names
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read ({error})") from error
    chosen = [line for line in lines if line and not line.startswith("#")]
    for position, name in enumerate(chosen):
        if name not in names:
            raise DataError(f"{file} names {name!r}, and there is no such class folder; one name a line")
        if name in chosen[:position]:
            raise DataError(f"{file} names {name!r} twice; remove one of the lines")
    return chosen


def class_files(root: Path, names: list[str]) -> list[list[Path]]:
    """The image files of each class folder of `root`, sorted."""
    return [sorted(images_below(root / name)) for name in names]


def rows_of(table: Path, columns: tuple[str, str] | None, separator: str) -> Iterator[Row]:
    """Line, file and class of each row of a text table; `columns` names those of file and class in its first line,
    None takes the first two of a table without such a line. Errors: DataError, naming the table."""
    try:
        with table.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file, delimiter=separator)
            header = next(reader, []) if columns else []
            places = [header.index(name) for name in columns] if columns else [0, 1]
            for row in reader:
                if row:
                    yield reader.line_num, row[places[0]].strip(), row[places[1]].strip()
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise DataError(
            f"{table} is missing or damaged ({type(error).__name__}: {error}); delete {table.parent} and download it "
            "again"
        ) from error


def annotated_split(
    rows: Iterable[Row], root: Path, names: Sequence[str], table: Path, others: Iterable[str] = ()
) -> list[list[Path]]:
    """The files below `root` of each class of `names`; rows of the classes `others` are left out.

    Errors: DataError for a class that is in neither, and for a file that would lie elsewhere.
    """
    labels = {name: label for label, name in enumerate(names)}
    left_out = set(others)
    files: list[list[Path]] = [[] for _ in names]
    for line, file, name in rows:
        inside = PurePosixPath(file)
        if not inside.name or inside.is_absolute() or ".." in inside.parts:
            raise DataError(f"{table}, line {line}: {file!r} is not allowed, it must be the name of an image file")
        if name in labels:
            files[labels[name]].append(root / file)
        elif name not in left_out:
            shown = f"it must be {names[0]} to {names[-1]}" if names else "there are no classes"
            raise DataError(f"{table}, line {line}: class {name!r} is not allowed, {shown}")
    return files
