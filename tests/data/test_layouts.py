"""Folders and tables as people bring them: which split and class an image gets, and what is refused."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from defenselib.data import info, load_dataset
from defenselib.data.sources.folder import split_kind
from defenselib.errors import DataError, DefenseLibError


def put(files: SimpleNamespace, root: Path, *names: str, seed: int = 0) -> None:
    """One picture at each relative path."""
    for name, image in zip(names, files.pixels(len(names), seed=seed), strict=True):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files.encode(image))


def table(files: SimpleNamespace, path: Path, labels: list[int], names: tuple[str, ...] | None = ("a", "b")) -> None:
    files.parquet(path, files.pixels(len(labels)), labels, names=names)


TRAIN = ("train", "Train", "TRAINING", "training_set", "Training-Images", "train images")
TEST = ("test", "Testing", "TEST", "test_set", "val", "Validation", "valid", "eval")


@pytest.mark.parametrize(("train", "test"), [*zip(TRAIN, TEST, strict=False), ("train", "eval"), ("train", "valid")])
def test_splits_are_found_in_any_case_and_never_taken_for_classes(
    train: str, test: str, files: SimpleNamespace, tmp_path: Path
) -> None:
    put(files, tmp_path / "x", f"{train}/a/0.png", f"{train}/b/1.png", f"{test}/a/2.png", "Meta/3.png")
    data = load_dataset(tmp_path / "x")
    assert data.classes == ("a", "b") and data.train.labels.tolist() == [0, 1] and data.test.labels.tolist() == [0]
    assert info(tmp_path / "x").train_size == 2


def test_other_words_are_no_splits() -> None:
    assert not any(map(split_kind, ("strain", "testament", "value", "evaluate", "trainer", "tests", "contest")))


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (["train/0.png", "test/1.png"], "expected train/CLASS"),
        (["Train/0.png", "Test/1.png", "Meta/2.png"], "no training folder with a folder per class"),
        (["TEST/a/0.png", "a/1.png"], "'TEST'"),
        (["val/0.png", "a/1.png", "b/1.png"], "'val'"),
        (["train/0.png", "car/1.png"], "no class called like a split"),
        (["train/a/0.png", "Training/a/1.png"], "two folders of train images"),
        (["train/a/0.png", "test/a/1.png", "Testing/a/2.png"], "two folders of test images"),
        (["train/a/0.png", "test/0.png"], "no class folder with images"),
        (["train/a/0.png", "test/b/1.png"], "b is a class that .*train does not have"),
        (["x.png/0.png", "y/1.png"], "called like an image"),
        (["a/0.png", "b/1.png"], "2 images of 2 classes .* too few"),
        (["a/0.png"], "one class, 'a', it must have at least 2"),
        (["train/a/0.png", "train/a/1.png", "test/a/2.png"], "one class, 'a', it must have at least 2"),
        (["a/0.png", "b/1.png", "c/2.png"], "too few"),
    ],
)
def test_what_is_no_clear_layout_is_refused(
    tree: list[str], message: str, files: SimpleNamespace, tmp_path: Path
) -> None:
    put(files, tmp_path / "x", *tree)
    with pytest.raises(DataError, match=message):
        load_dataset(tmp_path / "x")


def test_a_folder_in_a_folder_and_a_validation_beside_unlabelled_test_images(
    files: SimpleNamespace, tmp_path: Path
) -> None:
    put(files, tmp_path / "x" / "inner", "Train/a/0.png", "Train/b/1.png", "val/b/2.png", "test/3.png", ".git/a/4.png")
    data = load_dataset(tmp_path / "x")
    assert data.classes == ("a", "b") and data.test.labels.tolist() == [1] and len(data.train) == 2


def test_pipes_links_to_nothing_and_names_that_are_no_text(files: SimpleNamespace, tmp_path: Path) -> None:
    put(files, tmp_path / "x", *(f"{name}/{i}.png" for name in "ab" for i in range(3)))
    os.mkfifo(tmp_path / "x" / "a" / "pipe.png")
    (tmp_path / "x" / "b" / "\udcff\udcfe.png").write_bytes(files.encode(files.pixels(1)[0]))
    (tmp_path / "x" / "b").rename(tmp_path / "x" / "\udce4\n")
    data = load_dataset(tmp_path / "x")
    assert len(data.train) + len(data.test) == 7
    assert json.loads(json.dumps(data.classes, ensure_ascii=False).encode()) == ["a", "\\xe4\n"]
    (tmp_path / "x" / "a" / "\udcff.png").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"\\xff\.png cannot be read") as error:
        load_dataset(tmp_path / "x")
    str(error.value).encode("utf-8")
    with pytest.raises(DataError):
        load_dataset(tmp_path / "x" / ("n" * 300))


def test_a_table_of_one_class_is_refused(files: SimpleNamespace, tmp_path: Path) -> None:
    for split in ("train", "test"):
        table(files, tmp_path / "x" / f"{split}.parquet", [0, 0, 0], names=None)
    for read in (load_dataset, info):
        with pytest.raises(DataError, match="has one class, it must have at least 2"):
            read(tmp_path / "x")


HUB = {
    "branch of the hub": ["plain_text/train/0000.parquet", "plain_text/test/0000.parquet"],
    "one configuration": ["mnist/train-00000-of-00001.parquet", "mnist/test-00000-of-00001.parquet"],
    "the name twice": ["NAME/NAME/train-00000-of-00001.parquet", "NAME/NAME/test-00000-of-00001.parquet"],
    "data": ["data/train-0-of-1.parquet", "data/validation-0-of-1.parquet"],
    "partial": ["default/partial-train/0000.parquet", "default/partial-test/0000.parquet"],
    "capitals": ["Train/0000.parquet", "Validation/0000.parquet"],
    "a word of the name": ["cifar_train.parquet", "cifar_test.parquet"],
    "flat with others below": ["train.parquet", "test.parquet", "old/train.parquet"],
    "train only in one": ["a/train/0.parquet", "a/test/0.parquet", "b/test/0.parquet"],
}


@pytest.mark.parametrize("layout", HUB)
def test_layouts_of_the_hub(layout: str, files: SimpleNamespace, tmp_path: Path) -> None:
    for name in HUB[layout]:
        test = re.search("test|valid", name.casefold()) is not None
        table(files, tmp_path / "x" / name, [1] if test else [0, 1, 0])
    data = load_dataset(tmp_path / "x")
    assert data.train.labels.tolist() == [0, 1, 0] and data.test.labels.tolist() == [1]


def test_several_configurations_are_refused_with_their_folders(files: SimpleNamespace, tmp_path: Path) -> None:
    for name in ("mnist", "fashion_mnist"):
        table(files, tmp_path / "x" / name / "train-0.parquet", [0, 1] * 4)
    with pytest.raises(DataError, match=r"several data sets.*x/fashion_mnist, .*x/mnist"):
        load_dataset(tmp_path / "x")
    assert len(load_dataset(tmp_path / "x" / "mnist").train) == 6


BINARY = {
    "binary": pa.binary(),
    "large": pa.large_binary(),
    "view": pa.binary_view(),
    "dictionary": pa.dictionary(pa.int32(), pa.binary()),
}


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("kind", BINARY)
def test_every_binary_type_of_the_image_column(kind: str, nested: bool, files: SimpleNamespace, tmp_path: Path) -> None:
    images = files.pixels(6)
    column = pa.array([files.encode(image) for image in images], pa.binary())
    column = column.dictionary_encode() if kind == "dictionary" else column.cast(BINARY[kind])
    if nested:
        column = pa.StructArray.from_arrays([column, pa.array(["x"] * 6)], ["bytes", "path"])
    (tmp_path / "x").mkdir()
    pq.write_table(pa.table({"Image": column, "y": [0, 1] * 3}), tmp_path / "x" / "train.parquet")
    table(files, tmp_path / "x" / "test.parquet", [0], names=None)
    data = load_dataset(tmp_path / "x")
    assert np.array_equal(data.train.images.numpy(), images.transpose(0, 3, 1, 2))


@pytest.mark.parametrize(("image", "label"), [("img", "fine_label"), ("PNG", "Class"), ("scan", "kind")])
def test_columns_by_usual_names_or_by_their_features(
    image: str, label: str, files: SimpleNamespace, tmp_path: Path
) -> None:
    features = {
        image: {"_type": "Image"},
        label: {"_type": "ClassLabel", "names": ["a", "b"]},
        "id": {"_type": "Value"},
    }
    made = pa.table({"id": range(4), image: [files.encode(one) for one in files.pixels(4)], label: [0, 1] * 2})
    made = made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    for split in ("train", "test"):
        (tmp_path / "x").mkdir(exist_ok=True)
        pq.write_table(made, tmp_path / "x" / f"{split}.parquet")
    assert load_dataset(tmp_path / "x").classes == ("a", "b")


def test_labels_are_matched_by_name_over_splits_and_shards(files: SimpleNamespace, tmp_path: Path) -> None:
    table(files, tmp_path / "x" / "train-0.parquet", [0, 1, 2], names=("a", "b", "c"))
    table(files, tmp_path / "x" / "train-1.parquet", [0, 1, 2], names=("c", "a", "b"))
    table(files, tmp_path / "x" / "test.parquet", [0, 2], names=("b", "c", "a"))
    data = load_dataset(tmp_path / "x")
    assert data.classes == ("a", "b", "c")
    assert data.train.labels.tolist() == [0, 1, 2, 2, 0, 1] and data.test.labels.tolist() == [1, 0]


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "d"), ("a", "b", "c", "d"), ("a", "b", "b")])
def test_other_class_names_in_a_split_are_refused(
    names: tuple[str, ...], files: SimpleNamespace, tmp_path: Path
) -> None:
    table(files, tmp_path / "x" / "train.parquet", [0, 1, 2], names=("a", "b", "c"))
    table(files, tmp_path / "x" / "test.parquet", [0, 1], names=names)
    with pytest.raises(DataError, match=r"test\.parquet names other classes"):
        load_dataset(tmp_path / "x")


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([0, 10**6], [0], "no training image has label 1"),
        ([0, 2**40], [0], "no training image has label 1"),
        ([1, 2, 1, 2], [1], "no training image has label 0"),
        ([0, 1], [2], "label 2 of test image 0 is not allowed, it must be 0 to 1"),
        ([0, -1], [0], r"row 1: label -1 is not allowed"),
        ([0, 2, 3], [0], "its 3 labels lie between 0 and 3, .* label 1"),
        ([], [0], "without images"),
    ],
)
def test_labels_without_names_follow_the_rule(
    train: list[int], test: list[int], message: str, files: SimpleNamespace, tmp_path: Path
) -> None:
    table(files, tmp_path / "x" / "train.parquet", train, names=None)
    table(files, tmp_path / "x" / "test.parquet", test, names=None)
    with pytest.raises(DataError, match=message):
        load_dataset(tmp_path / "x")
    with pytest.raises(DataError, match=message):
        info(tmp_path / "x")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("000.png;43", r"line 3: class '43' is not allowed, it must be 0 to 42"),
        ("000.png;-1", "class '-1'"),
        ("000.png;x", "class 'x'"),
        ("000.png", "missing or damaged .*IndexError"),
        ("../a.png;3", "must be the name of an image file"),
        (";3", "must be the name"),
        ("nowhere.png;3", r"nowhere\.png cannot be read"),
    ],
)
def test_rows_of_the_table_of_gtsrb(row: str, message: str, files: SimpleNamespace, tmp_path: Path) -> None:
    signs = tmp_path / "gtsrb"
    files.folder(signs / "GTSRB" / "Training", files.pixels(43), tuple(f"{label:05}" for label in range(43)))
    files.folder(signs / "GTSRB" / "Final_Test", files.pixels(2), ("Images",))
    (signs / "GT-final_test.csv").write_text(f"Filename;ClassId\n001.png;7\n{row}\n")
    with pytest.raises(DataError, match=message):
        load_dataset("gtsrb", root=tmp_path)


def test_what_is_no_folder_or_too_large_says_so(
    files: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table(files, tmp_path / "one.parquet", [0, 1])
    with pytest.raises(DataError, match="is a Parquet table, not a folder"):
        load_dataset(tmp_path / "one.parquet")
    (tmp_path / "one.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match="is a file, not a folder"):
        load_dataset(tmp_path / "one.zip")
    files.folder(tmp_path / "x", files.pixels(6), ("a", "b"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(DataError, match=r"000\.png is too large to decode .* make it smaller"):
        load_dataset(tmp_path / "x")


NAMES = st.sampled_from(["train", "Test", "val", "a", "b", "data", "x.png", "0", "00", "ä b", ".hidden", "plain_text"])
KINDS = st.sampled_from(["image", "garbage", "empty", "folder", "parquet", "cut", "labels"])
TREES = st.lists(st.tuples(NAMES, NAMES, st.sampled_from("01"), KINDS), max_size=7)


@given(tree=TREES)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_tree_is_loaded_or_refused_in_one_line(
    tree: list[tuple[str, str, str, str]], files: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("tree")
    for one, two, number, kind in tree:
        parquet = kind in ("parquet", "cut", "labels")
        path = root / one / two / f"{number}.{'parquet' if parquet else 'png'}"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "folder":
                path.mkdir(exist_ok=True)
            elif parquet:
                table(files, path, [0, 7] if kind == "labels" else [0, 1] * 3, names=None)
                path.write_bytes(path.read_bytes()[: -9 if kind == "cut" else None])
            else:
                image = files.encode(files.pixels(1, seed=int(number))[0])
                path.write_bytes({"image": image, "garbage": image[:50] + b"?" * 9, "empty": b""}[kind])
        except (FileExistsError, IsADirectoryError, NotADirectoryError):
            continue
    try:
        data = load_dataset(root)
    except DefenseLibError as error:
        assert str(error) and "\n" not in str(error)
    else:
        assert len(data.train) and len(data.test) and int(data.train.labels.max()) < len(data.classes)


@given(cuts=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4), end=st.booleans())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_damage_to_a_table_is_found_or_harmless(
    cuts: list[tuple[int, int]], end: bool, files: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("damage") / "train.parquet"
    table(files, path, [0, 1] * 5)
    content = bytearray(path.read_bytes())
    for position, value in cuts:
        content[position % len(content)] = value
    path.write_bytes(content[: -cuts[0][1]] if end else content)
    try:
        load_dataset(path.parent, image_size=8)
    except DefenseLibError as error:
        assert str(path) in str(error) or str(path.parent) in str(error)
