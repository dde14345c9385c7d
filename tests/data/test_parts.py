"""Which classes and images a drawn part of a larger data set has, from folders and from tables."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from defenselib.data import info, load_dataset
from defenselib.data.info import KNOWN, PARTS
from defenselib.data.load import undecoded
from defenselib.data.sources import parts
from defenselib.data.sources.parquet import list_parquet
from defenselib.data.sources.parts import Part, list_imagenet
from defenselib.errors import DataError
from defenselib.papers.kit.frame import records
from defenselib.report.status import data_sets

SIZES = [7, 9, 3, 8, 7, 2, 12]  # images of the classes, by number
WNIDS = [f"n{label:08}" for label in range(len(SIZES))]


@pytest.fixture
def whole(files: SimpleNamespace, tmp_path: Path) -> Path:
    """ImageNet with seven classes, as folders. An image's brightness tells class and number."""
    for label, count in enumerate(SIZES):
        for split, images in (("train", count), ("val", 2)):
            for number in range(images):
                place = tmp_path / "data" / "imagenet" / split / WNIDS[label]
                place.mkdir(parents=True, exist_ok=True)
                pixel = np.full((8, 8, 3), 16 * label + number + (100 if split == "val" else 0), np.uint8)
                (place / f"{number:02}.JPEG").write_bytes(files.encode(pixel, "PNG"))
    return tmp_path / "data" / "imagenet"


def seen(split: object) -> list[tuple[int, int]]:
    """Brightness and label of each image of a split that was listed."""
    found = []
    for (_, content), label in zip(split.pictures(), split.labels(), strict=True):  # type: ignore[attr-defined]
        found.append((int(np.asarray(parts_open(content)).flat[0]), int(label)))
    return found


def parts_open(content: object) -> object:
    import io

    from PIL import Image

    data = content if isinstance(content, bytes) else Path(str(content)).read_bytes()
    return Image.open(io.BytesIO(data))


def test_draws_classes_that_have_enough_and_as_many_images_of_each(whole: Path) -> None:
    part = Part("three", "imagenet", classes=3, per_class=6)
    listing = list_imagenet(whole, part)
    assert listing is not None and listing.test is not None and listing.classes is not None
    assert len(listing.classes) == 3 and listing.classes == tuple(sorted(listing.classes))
    large = {WNIDS[label] for label, count in enumerate(SIZES) if count >= 6}
    assert set(listing.classes) <= large
    found = seen(listing.train)
    assert [sum(label == k for _, label in found) for k in range(3)] == [6, 6, 6] and len(set(found)) == 18
    for brightness, label in found:
        assert WNIDS[brightness // 16] == listing.classes[label]
    assert len(seen(listing.test)) == 6
    again = list_imagenet(whole, part)
    assert again is not None and seen(again.train) == found
    draws = {list_imagenet(whole, Part(f"other {i}", "imagenet", 3, 6)).classes for i in range(9)}  # type: ignore[union-attr]
    assert len(draws) > 1, "the draw does not depend on the name"


def test_test_images_can_be_the_rest(whole: Path) -> None:
    part = Part("two", "imagenet", classes=2, per_class=5, test=4)
    listing = list_imagenet(whole, part)
    assert listing is not None and listing.test is not None
    train, test = seen(listing.train), seen(listing.test)
    assert len(train) == 10 and len(test) == 4 and not {b for b, _ in train} & {b for b, _ in test}
    assert all(brightness < 112 for brightness, _ in test), "validation images are left out"


def test_a_table_gives_the_same_part_as_the_folders(whole: Path, tmp_path: Path, files: SimpleNamespace) -> None:
    table = tmp_path / "tables"
    for split, name in (("train", "train"), ("val", "validation")):
        paths = [path for wnid in WNIDS for path in sorted((whole / split / wnid).iterdir())]
        rows = {"image": [{"bytes": path.read_bytes()} for path in paths]}
        made = pa.table({**rows, "label": [WNIDS.index(path.parent.name) for path in paths]})
        table.mkdir(exist_ok=True)
        pq.write_table(made, table / f"{name}.parquet")
    part = Part("three", "imagenet", classes=3, per_class=6)
    one, listing = list_imagenet(whole, part), list_parquet(table)
    assert one is not None and one.test is not None and listing is not None
    two = part.of(listing)
    assert two.test is not None
    assert seen(one.train) == seen(two.train) and seen(one.test) == seen(two.test)


def test_no_more_classes_than_wanted_are_all_of_it(whole: Path) -> None:
    listing = list_imagenet(whole, Part("seven", "imagenet", classes=7, per_class=100))
    assert listing is not None and listing.train.count == sum(SIZES) and not listing.chosen
    (whole / "class_list.txt").write_text("\n".join(WNIDS[4:1:-1]))
    listing = list_imagenet(whole, Part("three", "imagenet", classes=3, per_class=100))
    assert listing is not None and listing.classes == tuple(WNIDS[4:1:-1])


def test_too_few_classes_have_enough(whole: Path) -> None:
    with pytest.raises(DataError, match=r"has 1 classes of 10 images and more, 'x' needs 2"):
        list_imagenet(whole, Part("x", "imagenet", classes=2, per_class=10))


def test_a_known_part_is_found_and_prepared(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = Part("imagenet-12", "imagenet", classes=3, per_class=6)
    facts = parts.replace(KNOWN["imagenet-12"], part=small, classes=("0", "1", "2"))
    monkeypatch.setitem(KNOWN, "imagenet-12", facts)
    from defenselib.data.sources import published

    monkeypatch.setitem(published._LISTS, "imagenet-12", lambda folder: list_imagenet(folder, small))
    monkeypatch.setenv("DEFENSELIB_DATA", str(whole.parent))
    (row,) = (row for row in records(data_sets()) if row["data set"] == "imagenet-12")
    assert (row["classes"], row["train"], row["test"]) == ("3", "18", "6") and "not decoded yet" in row["note"]
    assert undecoded("imagenet-12") is not None
    made = load_dataset("imagenet-12")
    assert undecoded("imagenet-12") is None
    assert made.train.images.shape == (18, 3, 224, 224) and made.name == "imagenet-12" and len(made.classes) == 3
    assert {int(image[0, 100, 100]) // 16 for image in made.train.images} == {WNIDS.index(n) for n in made.classes}


@pytest.mark.parametrize("name", ["tiny-imagenet", *PARTS])
def test_what_is_missing_says_what_was_looked_for_where_and_how_to_get_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as told:
        load_dataset(name, root=tmp_path)
    text = str(told.value)
    assert str(tmp_path / name) in text and info(name).page in text and "train/" in text and "DEFENSELIB_DATA" in text
    if name in PARTS:
        assert f"{PARTS[name].classes} classes are drawn" in text and str(tmp_path / PARTS[name].whole) in text
        assert info(name).train_size == PARTS[name].classes * PARTS[name].per_class


def test_counts_are_the_papers() -> None:
    """V&B App. A.1 and D-BR App. C.1: training and test images; 50 validation images a class of ImageNet."""
    assert (info("imagenet-12").train_size, PARTS["imagenet-12"].test) == (12480, 2860)
    assert info("imagenet-200").train_size == 100000 and PARTS["imagenet-200"].test is None
    assert {info(name).num_classes for name in ("imagenet-30", "imagenet-subset")} == {30}
    assert info("tiny-imagenet").image_size == 64 and info("imagenet-200").shorter is None
