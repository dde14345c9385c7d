"""Data sets in the layouts of their authors, on tiny files made here: which image has which label."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from defenselib.data import info, load_dataset
from defenselib.data.info import KNOWN
from defenselib.errors import DataError


class Tree:
    """Writes pictures of one brightness, so that each can be told by its pixels."""

    def __init__(self, root: Path, encode: object) -> None:
        self.root, self.encode = root, encode

    def put(self, name: str, brightness: int) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.encode(np.full((8, 8, 3), brightness, np.uint8), "BMP"))  # type: ignore[operator]

    def text(self, name: str, *lines: str) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text("\n".join(lines) + "\n")


@pytest.fixture
def tree(files: SimpleNamespace, tmp_path: Path) -> Tree:
    return Tree(tmp_path / "x", files.encode)


def seen(images: object) -> list[tuple[int, int]]:
    """Brightness and label of each image."""
    return [(int(image[0, 0, 0]), int(label)) for image, label in zip(images.images, images.labels, strict=True)]  # type: ignore[attr-defined]


def tiny(tree: Tree, base: str = "") -> None:
    for label, wnid in enumerate(("n02", "n01", "n03")):
        for number in range(2):
            tree.put(f"{base}train/{wnid}/images/{wnid}_{number}.JPEG", 10 * label + number)
        tree.text(f"{base}train/{wnid}/{wnid}_boxes.txt", "0 0 1 1")
        tree.put(f"{base}val/images/val_{label}.JPEG", 100 + label)
    tree.put(f"{base}test/images/test_0.JPEG", 200)
    rows = [f"val_{label}.JPEG\t{wnid}\t0\t0\t62\t62" for label, wnid in enumerate(("n02", "n01", "n03"))]
    tree.text(f"{base}val/val_annotations.txt", *rows)
    tree.text(f"{base}words.txt", "n01\tcrane, bird", "n02\tcrane", "n03\tgoldfish, Carassius auratus")


@pytest.mark.parametrize("base", ["", "tiny-imagenet-200/"])
def test_tiny_imagenet_takes_its_validation_table(base: str, tree: Tree) -> None:
    tiny(tree, base)
    data = load_dataset(tree.root)
    assert data.classes == ("crane (n01)", "crane (n02)", "goldfish")
    assert seen(data.train) == [(10, 0), (11, 0), (0, 1), (1, 1), (20, 2), (21, 2)]
    assert sorted(seen(data.test)) == [(100, 1), (101, 0), (102, 2)]
    tree.text(f"{base}class_list.txt", "# two of them", "n03", "", "n02")
    data = load_dataset(tree.root)
    assert data.classes == ("goldfish", "crane") and sorted(seen(data.test)) == [(100, 1), (102, 0)]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("val_9.JPEG\tn01", r"val_9\.JPEG cannot be read"),
        ("val_0.JPEG\tn99", "line 1: class 'n99' is not allowed"),
        ("../../a.JPEG\tn01", "line 1: .* must be the name"),
        ("val_0.JPEG", "missing or damaged"),
    ],
)
def test_rows_of_a_validation_table(row: str, message: str, tree: Tree) -> None:
    tiny(tree)
    tree.text("val/val_annotations.txt", row)
    with pytest.raises(DataError, match=message):
        load_dataset(tree.root)


WNIDS = ("n00000012", "n00000003", "n00000045")


def imagenet(tree: Tree, base: str = "", folders: bool = True) -> None:
    for label, wnid in enumerate(WNIDS):
        for number in range(2):
            tree.put(f"{base}train/{wnid}/{wnid}_{number}.JPEG", 10 * label + number)
        tree.put(f"{base}val/{wnid + '/' if folders else ''}ILSVRC2012_val_{label}.JPEG", 100 + label)
    tree.put(f"{base}test/ILSVRC2012_test_0.JPEG", 200)
    rows = [f"ILSVRC2012_val_{label},{wnid} 1 2 3 4 {wnid} 5 6 7 8" for label, wnid in enumerate(WNIDS)]
    tree.text("LOC_val_solution.csv", "ImageId,PredictionString", *rows)


@pytest.mark.parametrize("folders", [True, False])
@pytest.mark.parametrize("base", ["", "ILSVRC/Data/CLS-LOC/"])
def test_imagenet_and_a_subset_by_a_list(base: str, folders: bool, tree: Tree) -> None:
    imagenet(tree, base, folders)
    data = load_dataset(tree.root)
    assert data.classes == tuple(sorted(WNIDS)) and len(data.train) == 6
    assert sorted(seen(data.test)) == [(100, 1), (101, 0), (102, 2)]
    tree.text("class_list.txt", WNIDS[2], WNIDS[0])
    tree.text("LOC_synset_mapping.txt", f"{WNIDS[2]} tench, Tinca tinca")
    data = load_dataset(tree.root)
    assert data.classes == ("tench", WNIDS[0]) == info(tree.root).classes
    assert seen(data.train) == [(20, 0), (21, 0), (0, 1), (1, 1)] and sorted(seen(data.test)) == [(100, 1), (102, 0)]


def test_a_subset_of_links_to_one_copy(tree: Tree, tmp_path: Path) -> None:
    imagenet(tree)
    subset = tmp_path / "imagenet-2"
    subset.mkdir()
    for name in ("train", "val"):
        (subset / name).symlink_to(tree.root / name)
    (subset / "class_list.txt").write_text(f"{WNIDS[1]}\n{WNIDS[0]}\n")
    data = load_dataset(subset)
    assert (data.name, data.classes) == ("imagenet-2", WNIDS[1::-1]) and sorted(seen(data.test)) == [(100, 1), (101, 0)]


@pytest.mark.parametrize(
    ("lines", "message"), [(["n00000099"], "no such class folder"), ([WNIDS[0]] * 2, "twice"), (["\udcff"], None)]
)
def test_lists_that_name_other_classes(lines: list[str], message: str | None, tree: Tree) -> None:
    imagenet(tree)
    (tree.root / "class_list.txt").write_bytes("\n".join(lines).encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=f"class_list.txt .*{message or 'cannot be read'}"):
        load_dataset(tree.root)


def test_imagenet_without_labels_for_its_validation_images_is_refused(tree: Tree) -> None:
    imagenet(tree, folders=False)
    (tree.root / "LOC_val_solution.csv").unlink()
    with pytest.raises(DataError, match=r"val has no folder per class, and there is no .*LOC_val_solution\.csv"):
        load_dataset(tree.root)


@pytest.mark.parametrize("base", ["", "data/"])
def test_the_people_of_vggface2_are_those_of_its_training_folder(base: str, tree: Tree) -> None:
    for person in range(3):
        for number in range(5):
            tree.put(f"{base}train/n00000{person}/{number:04}_01.jpg", 10 * person + number)
        tree.put(f"{base}test/n00001{person}/0000_01.jpg", 200)
    data = load_dataset(tree.root)
    assert data.classes == ("n000000", "n000001", "n000002") and (len(data.train), len(data.test)) == (12, 3)
    everyone = seen(data.train) + seen(data.test)
    assert all(brightness // 10 == label for brightness, label in everyone) and len(set(everyone)) == 15
    tree.text("class_list.txt", "n000002", "n000000")
    assert load_dataset(tree.root).classes == ("n000002", "n000000")


def test_a_class_list_beside_any_folders(tree: Tree) -> None:
    for name, brightness in (("train/a/0", 1), ("train/b/0", 2), ("train/c/0", 3), ("test/c/0", 4), ("test/a/0", 5)):
        tree.put(f"{name}.png", brightness)
    tree.text("class_list.txt", "c", "a")
    data = load_dataset(tree.root)
    assert data.classes == ("c", "a") and seen(data.train) == [(3, 0), (1, 1)] and seen(data.test) == [(4, 0), (5, 1)]


def test_gtsrb_as_it_is_passed_on(tree: Tree) -> None:
    for label in range(43):
        tree.put(f"Train/{label}/{label:05}_0.png", label)
    for number, name in enumerate(("00000", "00001")):
        tree.put(f"Test/{name}.png", 100 + number)
    tree.put("Meta/0.png", 200)
    tree.text("Test.csv", "Width,Height,ClassId,Path", "8,8,42,Test/00000.png", "8,8,7,Test/00001.png")
    data = load_dataset(tree.root)
    assert data.classes == KNOWN["gtsrb"].classes and seen(data.train) == [(label, label) for label in range(43)]
    assert sorted(seen(data.test)) == [(100, 42), (101, 7)]
    tree.root.rename(tree.root.with_name("gtsrb"))
    again = load_dataset("gtsrb", root=tree.root.parent)
    assert again.name == "gtsrb" and again.digest == data.digest
