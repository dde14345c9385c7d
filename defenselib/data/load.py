"""`load_dataset` and `info`: data sets by name or by path."""

from __future__ import annotations

import os
from pathlib import Path

from defenselib.data.info import KNOWN, DatasetInfo
from defenselib.data.sources.cache import cache_root, load_decoded
from defenselib.data.sources.folder import class_folders, list_folder, splits
from defenselib.data.sources.images import Listing
from defenselib.data.sources.parquet import list_parquet
from defenselib.data.sources.shapes import TRAIN_SIZE, make_shapes
from defenselib.data.sources.torchvision_sets import can_download, download, list_torchvision
from defenselib.data.subset import TEST_SHARE, split_tree, take
from defenselib.data.types import Dataset
from defenselib.errors import DataError, InvalidValueError, unknown

_LAYOUTS = "train.parquet and test.parquet, or train/ and test/ with a folder per class"


def load_dataset(
    name: str | Path,
    root: str | Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    holdout: int = 0,
    *,
    image_size: int | None = None,
    fetch: bool = True,
) -> Dataset:
    """Load a data set as uint8 tensors (N, 3, S, S) on the host.

    name: "cifar10", "cifar100", "gtsrb", "shapes"; a folder of Parquet tables or of images (a folder per class, below
        train/ and test/, or one tree that is split 80/20 by seed); or the name of such a folder on the search path.
    root: first folder of the search path; then DEFENSELIB_DATA, ./data, and the cache's data folder. In each, both
        <root>/<name>/ and <root>/ itself are looked at.
    limit: that many training images, drawn in class proportions by seed. For "shapes": how many are drawn.
    holdout: so many training images (drawn before `limit`) are taken out and become the test set.
    image_size: side in pixels that all images are brought to; None: their own, or 32 (with a warning) where they
        differ or are not square. Nothing is cropped; grayscale becomes RGB.
    fetch: whether a known data set that is nowhere may be downloaded.

    The digest is that of the full data set, whatever `limit`, `holdout` and `seed`.
    Errors: UnknownNameError, DataError (missing, damaged), InvalidValueError (sizes).
    """
    name = str(name)
    if name == "shapes":
        if limit is not None and limit < KNOWN[name].num_classes:
            raise InvalidValueError(f"limit is {limit}, it must be at least {KNOWN[name].num_classes} for 'shapes'")
        wanted = TRAIN_SIZE if limit is None else limit + holdout
        return take(make_shapes(wanted, seed=seed), limit, holdout, seed)
    listing = find(name, root, fetch)
    facts = KNOWN.get(name)
    label = name if facts else _plain_name(listing.folder)
    decoded = load_decoded(label, listing, image_size)
    train, test = (decoded.train, decoded.test) if decoded.test else split_tree(decoded.train, seed)
    count = 1 + max(int(part.labels.max()) for part in (train, test))
    classes = _classes(listing, facts, count)
    if count > len(classes):
        raise DataError(f"{listing.folder} has label {count - 1}, but {name!r} has {len(classes)} classes")
    return take(Dataset(label, train, test, classes, decoded.digest), limit, holdout, seed)


def info(name: str | Path, root: str | Path | None = None) -> DatasetInfo:
    """Facts of a data set: of a known one without the data at hand, of a folder from its listing.

    Errors: UnknownNameError for a name that is neither, DataError for a folder without a data set.
    """
    name = str(name)
    if name in KNOWN:
        return KNOWN[name]
    listing = find(name, root, fetch=False)
    size = listing.train.count
    half = (0.5, 0.5, 0.5)
    return DatasetInfo(
        name=_plain_name(listing.folder),
        classes=_classes(listing, None, None),
        train_size=size if listing.test else size - round(TEST_SHARE * size),
        source=None,
        flip=True,
        mean=half,
        std=(0.25, 0.25, 0.25),
    )


def search_path(root: str | Path | None = None) -> list[Path]:
    """Folders in which data sets are looked for, in order. Errors: DataError if `root` does not exist."""
    if root is not None and not Path(root).expanduser().is_dir():
        raise DataError(f"root {root} is not a folder; create it, or leave root out to search the usual places")
    places = [root, os.environ.get("DEFENSELIB_DATA") or None, "data", cache_root() / "data"]
    return [Path(place).expanduser().absolute() for place in places if place is not None]


def find(name: str, root: str | Path | None, fetch: bool) -> Listing:
    """Where a data set lies, by name or path; may download a known one if `fetch`. Errors: as `load_dataset`."""
    if name in KNOWN:
        return _find_known(name, root, fetch)
    places = [Path(name).expanduser(), *(place / name for place in search_path(root))]
    folder = next((place for place in places if name and place.is_dir()), None)
    if folder is not None:
        listing = list_parquet(folder) or list_folder(folder)
        if listing is None:
            raise DataError(f"{folder.absolute()} holds no data set; put {_LAYOUTS} into it")
        return listing
    if os.sep in name or name.startswith(("~", ".")):
        raise DataError(f"the folder {name} does not exist; give a data set's name or a folder with {_LAYOUTS}")
    raise unknown("data set", name, KNOWN)


def _find_known(name: str, root: str | Path | None, fetch: bool) -> Listing:
    looked: list[str] = []
    places = search_path(root)
    for place in places:
        listing = _list_known(name, place / name)
        if listing is not None:
            return listing
        looked.append(str(place / name))
        try:
            listing = _list_known(name, place, own=False)
        except DataError as error:  # may be another data set's trouble, so it only goes into the message
            looked.append(f"{place} ({error})")
            continue
        if listing is not None:
            return listing
        looked.append(str(place))
    reason = ""
    if fetch and can_download(name):
        try:
            download(name, cache_root() / "data" / name)
            listing = _list_known(name, cache_root() / "data" / name)
            if listing is not None:
                return listing
        except DataError as error:
            reason = f" {str(error)[0].upper()}{str(error)[1:]}."
    raise DataError(
        f"no data for {name!r}: looked in {', '.join(looked)}.{reason} Put {_LAYOUTS} into a folder called {name!r} "
        "and set DEFENSELIB_DATA (or root) to the folder that holds it; DEFENSELIB_DATA is "
        f"{os.environ.get('DEFENSELIB_DATA') or 'not set'}"
    )


def _list_known(name: str, folder: Path, own: bool = True) -> Listing | None:
    """The listing of the known data set `name` in `folder`; None where there is none.

    own: the folder carries the data set's name, so that what lies in it counts as the data set.
    """
    if not folder.is_dir():
        return None
    facts = KNOWN[name]
    own = own or folder.name == name
    listing = list_torchvision(name, folder)
    if listing is not None:  # its folders have names of their own, nothing else can be meant
        return listing
    listing = list_parquet(folder)
    # A folder that only may hold the data set can be anything, a home for example: look before listing all files.
    if listing is None and (own or set(class_folders(splits(folder)[0])) == set(facts.classes)):
        listing = list_folder(folder)
    if listing is None or not (own or listing.classes == facts.classes or listing.train.count == facts.train_size):
        return None
    if listing.test is None:
        raise DataError(f"{folder} has training images of {name!r} but no test images; add test.parquet or test/")
    count = len(_classes(listing, facts, None))
    if count != facts.num_classes:
        raise DataError(f"{folder} has {count} classes, {name!r} has {facts.num_classes}; put the right files there")
    return listing


def _classes(listing: Listing, facts: DatasetInfo | None, count: int | None) -> tuple[str, ...]:
    """The names that the files give, else the known ones, else numbers."""
    if listing.classes is not None:
        return listing.classes
    if facts is not None:
        return facts.classes
    return tuple(map(str, range(1 + int(listing.train.labels().max()) if count is None else count)))


def _plain_name(folder: Path) -> str:
    """Name of a data set that is given by its folder; `shapes` stays the drawn one."""
    name = folder.absolute().resolve().name or "data"
    return f"{name}-folder" if name == "shapes" else name
