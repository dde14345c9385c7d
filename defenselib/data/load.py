"""`load_dataset` and `info`: data sets by name or by path."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from defenselib.data.info import KNOWN, LAYOUT, DatasetInfo
from defenselib.data.sources.cache import LARGE, bytes_of, is_decoded, load_decoded
from defenselib.data.sources.folder import class_folders, list_folder, splits
from defenselib.data.sources.images import DEFAULT_SIZE, Listing
from defenselib.data.sources.labels import checked_labels
from defenselib.data.sources.parquet import list_parquet
from defenselib.data.sources.preparation import Preparation
from defenselib.data.sources.published import can_download, download, list_by_layout, list_published
from defenselib.data.sources.shapes import TRAIN_SIZE, make_shapes
from defenselib.data.subset import TEST_SHARE, split_tree, take
from defenselib.data.types import Dataset
from defenselib.errors import DataError, FolderError, InvalidValueError, printable, unknown
from defenselib.folders import CACHE, DATA, cache_root, expanded, named


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
    """Load a data set as uint8 tensors (N, 3, S, S) on the host. Images of more than two gigabytes stay in a file that
    is mapped, and come in batches (see `data.host.images.HostImages`).

    name: a known one (`available`: "cifar10", "gtsrb", "tiny-imagenet", "imagenet-30", ...); a folder of Parquet tables
        or of images (a folder per class, below train/ and test/, or one tree that is split 80/20 by seed); or the name
        of such a folder on the search path.
    root: first folder of the search path; then DEFENSELIB_DATA, ./data, and the cache's data folder. In each, both
        <root>/<name>/ and <root>/ itself are looked at.
    limit: that many training images, drawn in class proportions by seed. For "shapes": how many are drawn.
    holdout: so many training images (drawn before `limit`) are taken out and become the test set.
    image_size: side in pixels that all images are brought to as a whole; None: as the papers prepare a known data set
        (the subsets of ImageNet at 224, some of them cut from the middle, see `info`), else their own, or 32 (with a
        warning) where they differ or are not square. Grayscale becomes RGB.
    fetch: whether a known data set that is nowhere may be downloaded.

    The digest is that of the full data set, whatever `limit`, `holdout` and `seed`.
    Errors: UnknownNameError, DataError (missing, damaged), InvalidValueError (sizes), FolderError (a variable that
    names a file).
    """
    name = os.fspath(name)
    if name == "shapes":
        if limit is not None and limit < KNOWN[name].num_classes:
            raise InvalidValueError(f"limit is {limit}, it must be at least {KNOWN[name].num_classes} for 'shapes'")
        wanted = TRAIN_SIZE if limit is None else limit + holdout
        return take(make_shapes(wanted, seed=seed), limit, holdout, seed)
    listing = find(name, root, fetch)
    facts = KNOWN.get(name)
    if facts is None:
        _check_classes(listing)
    label = name if facts else _plain_name(listing.folder)
    decoded = load_decoded(label, listing, _preparation(facts, image_size))
    train, test = (decoded.train, decoded.test) if decoded.test else split_tree(decoded.train, seed)
    classes = _classes(listing, 1 + int(train.labels.max()))
    return take(Dataset(label, train, test, classes, decoded.digest), limit, holdout, seed)


def info(name: str | Path, root: str | Path | None = None) -> DatasetInfo:
    """Facts of a data set: of a known one without the data at hand, of a folder from its listing.

    Errors: UnknownNameError for a name that is neither, DataError for a folder without a data set.
    """
    name = os.fspath(name)
    if name in KNOWN:
        return KNOWN[name]
    listing = find(name, root, fetch=False)
    _check_classes(listing)
    size = listing.train.count
    half = (0.5, 0.5, 0.5)
    return DatasetInfo(
        name=_plain_name(listing.folder),
        classes=listing.classes or _classes(listing, 1 + int(checked_labels(listing)[0].max())),
        train_size=size if listing.test else size - round(TEST_SHARE * size),
        flip=True,
        mean=half,
        std=(0.25, 0.25, 0.25),
        layout=LAYOUT,
    )


def _check_classes(listing: Listing) -> None:
    """Errors: DataError for a user's data set of one class, in which nothing is to be told from anything."""
    count = 1 + int(checked_labels(listing)[0].max()) if listing.classes is None else len(listing.classes)
    if count < 2:
        named = "" if listing.classes is None else f", {listing.classes[0]!r}"
        raise DataError(
            f"{listing.folder} has one class{named}, it must have at least 2; add a folder or label of another"
        )


def undecoded(name: str, root: str | Path | None = None) -> Listing | None:
    """The listing of a known data set that is at hand, where loading it would first decode more than fits the memory;
    None for any other. Errors: DataError where it is not at hand."""
    facts = KNOWN.get(name)
    if facts is None or facts.image_size == DEFAULT_SIZE:
        return None
    listing, how = find(name, root, fetch=False), _preparation(facts, None)
    large = how.crops or bytes_of(listing, how) > LARGE
    return listing if large and not is_decoded(name, listing, how) else None


def _preparation(facts: DatasetInfo | None, image_size: int | None) -> Preparation:
    if image_size is not None or facts is None or facts.image_size == DEFAULT_SIZE:
        return Preparation(image_size)
    return Preparation(facts.image_size, facts.shorter)


def search_path(root: str | Path | None = None) -> list[Path]:
    """Folders in which data sets are looked for, in order.

    Errors: DataError if `root` does not exist, FolderError for a variable that names a file.
    """
    if root is not None and not expanded(root).is_dir():
        raise DataError(f"root {root} is not a folder; create it, or leave root out to search the usual places")
    places = [None if root is None else expanded(root), named(DATA), Path("data")]
    try:
        places.append(cache_root() / "data")
    except FolderError:
        named(CACHE)  # a variable that names a file is said; without a home there is one place less
    return [place.absolute() for place in places if place is not None]


def find(name: str, root: str | Path | None, fetch: bool) -> Listing:
    """Where a data set lies, by name or path; may download a known one if `fetch`. Errors: as `load_dataset`."""
    if name in KNOWN:
        return _find_known(name, root, fetch)
    places = [expanded(name), *(place / name for place in search_path(root))]
    try:
        folder = next((place for place in places if name and place.is_dir()), None)
        is_file = places[0].is_file()
    except (OSError, ValueError) as error:  # a name that is too long, or holds a zero
        raise DataError(f"the folder {name!r} cannot be looked at ({error})") from error
    if folder is not None:
        listing = list_parquet(folder) or list_by_layout(folder) or list_folder(folder)
        if listing is None:
            raise DataError(f"{folder.absolute()} holds no data set; put {LAYOUT} into it")
        return listing
    if is_file:
        what = "a Parquet table" if name.endswith(".parquet") else "a file"
        raise DataError(f"{name} is {what}, not a folder; give a data set's name or a folder with {LAYOUT}")
    if os.sep in name or name.startswith(("~", ".")):
        raise DataError(f"the folder {name} does not exist; give a data set's name or a folder with {LAYOUT}")
    raise unknown("data set", name, KNOWN)


def _find_known(name: str, root: str | Path | None, fetch: bool) -> Listing:
    looked: list[str] = []
    facts = KNOWN[name]
    for place in search_path(root):
        for folder in (place / name, *([] if facts.part is None else [place / facts.part.whole])):
            if str(folder) not in looked:
                listing = _list_known(name, folder)
                if listing is not None:
                    return listing
                looked.append(str(folder))
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
        f"no data for {name!r}: looked in {', '.join(looked)}.{reason} {_how_to_get(facts)}; DEFENSELIB_DATA is "
        f"{os.environ.get(DATA) or 'not set'}"
    )


def _how_to_get(facts: DatasetInfo) -> str:
    """What to put where, and who gives it out on which page; the same for whoever has it already."""
    layouts = facts.layout if facts.layout == LAYOUT else f"{facts.layout} as it is unpacked, or {LAYOUT},"
    name, part = facts.name, facts.part
    folder = f"a folder called {name!r}"
    if part is not None and part.whole == name:
        folder += f" (all of it: {part.classes} classes are drawn)"
    elif part is not None:
        folder += f", or all of it into one called {part.whole!r}, of which {part.classes} classes are drawn,"
    page = f" It is given out at {facts.page}, on the terms that stand there." if facts.page else ""
    told = f"Put {layouts} into {folder} and set DEFENSELIB_DATA (in Python also root=) to the folder that holds it."
    return f"{told}{page}".rstrip(".")


def _list_known(name: str, folder: Path, own: bool = True) -> Listing | None:
    """The listing of the known data set `name` in `folder`; None where there is none.

    own: the folder carries the data set's name, so that what lies in it counts as the data set.
    """
    if not folder.is_dir():
        return None
    facts = KNOWN[name]
    own = own or folder.name == name or (facts.part is not None and folder.name == facts.part.whole)
    listing = list_published(name, folder)
    if listing is None:
        listing = _list_tables(facts, folder, own)
    if listing is None:
        return None
    if listing.test is None:
        raise DataError(f"{folder} has training images of {name!r} but no test images; add test.parquet or test/")
    listing = replace(listing, classes=listing.classes or facts.classes)
    count = len(listing.classes or ())
    if count != facts.num_classes:
        raise DataError(f"{folder} has {count} classes, {name!r} has {facts.num_classes}; put the right files there")
    return listing


def _list_tables(facts: DatasetInfo, folder: Path, own: bool) -> Listing | None:
    """The data set as Parquet tables or as folders of classes."""
    listing = list_parquet(folder, deep=own)
    # A folder that only may hold the data set can be anything, a home for example: look before listing all files.
    if listing is None and (own or set(class_folders(splits(folder)[0])) == set(facts.classes)):
        listing = list_folder(folder)
    if listing is None or not (own or listing.classes == facts.classes or listing.train.count == facts.train_size):
        return None
    return listing if facts.part is None or not own else facts.part.of(listing)


def _classes(listing: Listing, count: int) -> tuple[str, ...]:
    """The names that the files give, else `count` numbers."""
    return listing.classes if listing.classes is not None else tuple(map(str, range(count)))


def _plain_name(folder: Path) -> str:
    """Name of a data set that is given by its folder; `shapes` stays the drawn one."""
    name = printable(folder.absolute().resolve().name) or "data"
    return f"{name}-folder" if name == "shapes" else name
