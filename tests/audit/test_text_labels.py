"""Parquet tables whose labels are texts, read for a scan and for `run`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from defenselib.audit.folder import read_folder
from defenselib.data import load_dataset
from defenselib.errors import DefenseLibError
from tests.audit.made import plain

KINDS = {
    "string": pa.string(),
    "large": pa.large_string(),
    "view": pa.string_view(),
    "dictionary": pa.dictionary(pa.int32(), pa.string()),
}
# In the order of labels: by value where all names are numbers.
CLASSES = (("cat", "dog", "<b> e\nf"), ("9", "10", "100"))


def table(path: Path, images: list[bytes], labels: list[Any], kind: pa.DataType, name: str = "label") -> None:
    rows = [{"bytes": image, "path": None} for image in images]
    pq.write_table(pa.table({"image": rows, name: pa.array(labels).cast(kind), "id": range(len(labels))}), path)


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("kind", KINDS)
def test_text_labels_read_as_class_folders(kind: str, classes: tuple[str, ...], tmp_path: Path) -> None:
    tree = read_folder(plain(tmp_path / "tree", classes))
    (tmp_path / "tables").mkdir()
    named = [Path(file).parent.name for file in tree.files]
    images = [(tree.root / file).read_bytes() for file in tree.files]
    for shard in (0, 1):  # the first holds not every class
        part = slice(0, 4) if shard == 0 else slice(4, None)
        table(tmp_path / "tables" / f"train-{shard}.parquet", images[part], named[part], KINDS[kind])
    data = read_folder(tmp_path / "tables")
    assert data.classes == tree.classes and torch.equal(data.images.labels, tree.images.labels)
    assert torch.equal(data.images.images, tree.images.images) and data.files[4] == "train-1.parquet#0"


def test_the_column_of_labels_can_be_chosen(tmp_path: Path) -> None:
    tree = read_folder(plain(tmp_path / "tree"))
    images = [(tree.root / file).read_bytes() for file in tree.files]
    (tmp_path / "set").mkdir()
    table(tmp_path / "set" / "x.parquet", images, ["u", "v"] * 3, pa.string(), "species")
    with pytest.raises(DefenseLibError, match=r"has no column label or .*species, id; choose by --label-column NAME"):
        read_folder(tmp_path / "set")
    with pytest.raises(DefenseLibError, match="'specie'; did you mean 'species'"):
        read_folder(tmp_path / "set", label_column="specie")
    data = read_folder(tmp_path / "set", label_column="species")
    assert data.classes == ("u", "v") and data.images.labels.tolist() == [0, 1] * 3


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (["a", None, "b"], None, "row 1: label None is not allowed"),
        (["a", "b", " "], None, "row 2: label ' ' is not allowed"),
        (["a", "b", "a"], [0, 1, 0], "has texts for labels, and .* has not"),
        ([0.5, 1.5, 0.5], None, "labels must be integers or texts"),
    ],
)
def test_what_is_no_label_is_refused_by_row(
    first: list[Any], second: list[Any] | None, told: str, tmp_path: Path
) -> None:
    tree = read_folder(plain(tmp_path / "tree"))
    images = [(tree.root / file).read_bytes() for file in tree.files]
    (tmp_path / "set").mkdir()
    for number, labels in enumerate(filter(None, (first, second))):
        table(tmp_path / "set" / f"train-{number}.parquet", images[:3], labels, pa.array(labels).type)
    with pytest.raises(DefenseLibError, match=told) as raised:
        read_folder(tmp_path / "set")
    assert "\n" not in str(raised.value)


def test_a_run_reads_text_labels_and_refuses_a_test_label_that_is_not_trained(tmp_path: Path) -> None:
    tree = read_folder(plain(tmp_path / "tree", ("a", "b"), 6))
    images = [(tree.root / file).read_bytes() for file in tree.files]
    (tmp_path / "set").mkdir()
    table(tmp_path / "set" / "train.parquet", images, ["dog"] * 6 + ["cat"] * 6, pa.string())
    table(tmp_path / "set" / "test.parquet", images[:2], ["dog", "cat"], pa.string())
    data = load_dataset(tmp_path / "set")
    assert data.classes == ("cat", "dog") and data.train.labels.tolist() == [1] * 6 + [0] * 6
    assert data.test.labels.tolist() == [1, 0]
    table(tmp_path / "set" / "test.parquet", images[:2], ["dog", "cow"], pa.string())
    with pytest.raises(DefenseLibError, match="row 1: label 'cow' is not one of the training tables"):
        load_dataset(tmp_path / "set")
