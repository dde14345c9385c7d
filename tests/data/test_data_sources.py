"""What `load_dataset` finds, refuses and says, on tiny files made here."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torchvision import datasets

from defenselib.data import digest_of, digests, info, load_dataset, source_of
from defenselib.data.info import KNOWN
from defenselib.data.sources import cache, published
from defenselib.errors import DataError, InvalidValueError, UnknownNameError

CIFAR = KNOWN["cifar10"].classes
REAL = os.environ.get("DEFENSELIB_DATA") or None  # before the fixture of conftest.py empties it


def test_parquet_round_trip_keeps_every_pixel_and_the_order(files: SimpleNamespace, tmp_path: Path) -> None:
    train, test = files.cifar(tmp_path / "cifar10")
    for _ in range(2):  # decoded, then from the cache
        data = load_dataset("cifar10", root=tmp_path)
        assert np.array_equal(data.train.images.numpy(), train.transpose(0, 3, 1, 2))
        assert np.array_equal(data.test.images.numpy(), test.transpose(0, 3, 1, 2))
        assert data.train.labels.tolist() == [i % 10 for i in range(20)]
        assert data.classes == CIFAR and data.name == "cifar10"
        assert data.digest == digest_of(data.train, data.test)
    assert source_of(data) == f"cifar10:{data.digest[:12]}"
    assert load_dataset("cifar10", root=tmp_path, limit=10, holdout=5).digest == data.digest


@pytest.mark.parametrize("where", ["root", "itself", "environment", "data", "cache"])
def test_every_place_of_the_search_path(
    files: SimpleNamespace, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = {"data": tmp_path / "work" / "data", "cache": tmp_path / "cache" / "data"}.get(where, tmp_path / "x")
    files.cifar(place / ("" if where == "itself" else "cifar10"))
    if where in ("environment", "itself"):
        monkeypatch.setenv("DEFENSELIB_DATA", str(place))
    assert len(load_dataset("cifar10", root=place if where == "root" else None).train) == 20


def test_shards_and_other_column_names(files: SimpleNamespace, tmp_path: Path) -> None:
    images = files.pixels(12)
    for shard in range(2):
        rows = [files.encode(image) for image in images[shard::2]]
        table = pa.table({"img": rows, "fine_label": pa.array([shard] * 6, pa.int32()), "coarse_label": [9] * 6})
        (tmp_path / "mine" / "data").mkdir(parents=True, exist_ok=True)
        pq.write_table(table, tmp_path / "mine" / "data" / f"train-0000{shard}-of-00002.parquet")
    data = load_dataset(tmp_path / "mine")
    assert (len(data.train), len(data.test), data.classes) == (10, 2, ("0", "1"))  # no test table: split 80/20
    assert data.train.labels.bincount().tolist() == [5, 5]
    facts = info(tmp_path / "mine")
    assert (facts.classes, facts.train_size, facts.source) == (data.classes, 10, None)


def test_folder_tree_is_split_stratified_by_seed_and_keeps_its_digest(files: SimpleNamespace, tmp_path: Path) -> None:
    files.folder(tmp_path / "mine", files.pixels(40), ("b", "a"))
    (tmp_path / "mine" / "notes.txt").write_text("not an image")
    one, same, other = (load_dataset(tmp_path / "mine", seed=seed) for seed in (0, 0, 1))
    assert one.classes == ("a", "b") and one.name == "mine"
    assert one.train.labels.bincount().tolist() == [16, 16] and one.test.labels.bincount().tolist() == [4, 4]
    assert torch.equal(one.train.images, same.train.images)
    assert not torch.equal(one.test.images, other.test.images)
    assert one.digest == other.digest
    everything = {tuple(image.flatten().tolist()) for part in (one.train, one.test) for image in part.images}
    assert len(everything) == 40


def test_folder_with_splits_sizes_modes_and_numbered_classes(files: SimpleNamespace, tmp_path: Path) -> None:
    root = tmp_path / "mine"
    files.folder(root / "train", files.pixels(6), ("10", "9", "2"))
    files.folder(root / "test", files.pixels(3, seed=5), ("10", "9", "2"))
    Image.new("L", (20, 10), 77).save(root / "train" / "2" / "wide-gray.png")
    with pytest.warns(UserWarning, match=r"10 images of .*mine have other sizes and were resized to 32x32.*image_size"):
        data = load_dataset(root)
    with pytest.warns(UserWarning, match="the decoded data is not kept"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache.shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
        small = load_dataset(root, image_size=8)
    assert data.classes == ("2", "9", "10") and data.train.image_size == 32
    assert torch.equal(data.train.images[2], torch.full((3, 32, 32), 77, dtype=torch.uint8))
    assert small.train.image_size == 8 and not any(root.parent.glob("cache/decoded/*.partial"))


def test_published_layouts(files: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Fake:
        base_folder, url = datasets.CIFAR10.base_folder, ""

        def __init__(self, root: Path, train: bool) -> None:
            if (Path(root) / self.base_folder / "data").read_text() != "fine":
                raise RuntimeError("Dataset not found or corrupted")
            count = 50 if train else 10
            self.data, self.targets = files.pixels(count, side=32), [i % 10 for i in range(count)]

    monkeypatch.setattr(published, "kind_of", {"cifar10": Fake}.__getitem__)
    monkeypatch.setattr(published, "CIFAR_SIZES", (50, 10))
    base = tmp_path / "cifar-10-batches-py"
    base.mkdir()
    (base / "data").write_text("broken")
    with pytest.raises(DataError, match=r"cifar-10-batches-py is incomplete or damaged .*download"):
        load_dataset("cifar10", root=tmp_path)
    (base / "data").write_text("fine")
    assert np.array_equal(
        load_dataset("cifar10", root=tmp_path).train.images, files.pixels(50, side=32).transpose(0, 3, 1, 2)
    )

    signs = tmp_path / "gtsrb"
    files.folder(signs / "GTSRB" / "Training", files.pixels(43), tuple(f"{label:05}" for label in range(43)))
    files.folder(signs / "GTSRB" / "Final_Test", files.pixels(2, seed=3), ("Images",))
    (signs / "GT-final_test.csv").write_text("Filename;ClassId\n001.png;7\n000.png;42\n")
    data = load_dataset("gtsrb", root=tmp_path)
    assert data.train.labels.tolist() == list(range(43)) and data.test.labels.tolist() == [7, 42]
    assert data.classes == KNOWN["gtsrb"].classes


def test_missing_data_says_where_it_looked_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFENSELIB_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError) as error:
        load_dataset("cifar10")
    for part in ("'cifar10'", str(tmp_path / "nowhere" / "cifar10"), "no network in tests", "set DEFENSELIB_DATA"):
        assert part in str(error.value)
    with pytest.raises(DataError, match=r"root .* is not a folder"):
        load_dataset("cifar10", root=tmp_path / "nowhere")
    with pytest.raises(DataError, match="nowhere does not exist"):
        load_dataset(str(tmp_path / "nowhere"))


def test_unknown_name_suggests_the_nearest() -> None:
    for ask in (load_dataset, info):
        with pytest.raises(UnknownNameError, match=r"unknown data set 'cifar-10'; did you mean 'cifar10'\?"):
            ask("cifar-10")


def test_another_data_set_is_not_taken_for_the_one_asked_for(files: SimpleNamespace, tmp_path: Path) -> None:
    files.cifar(tmp_path)
    for name in ("gtsrb", "cifar100"):
        with pytest.raises(DataError, match=f"no data for '{name}'"):
            load_dataset(name, root=tmp_path)
    files.cifar(tmp_path / "gtsrb")
    with pytest.raises(DataError, match=r"gtsrb has 10 classes, 'gtsrb' has 43"):
        load_dataset("gtsrb", root=tmp_path)
    files.cifar(tmp_path / "cifar10")
    (tmp_path / "cifar10" / "test.parquet").unlink()
    with pytest.raises(DataError, match=r"no test images; add test\.parquet"):
        load_dataset("cifar10", root=tmp_path)


def test_damaged_files_rows_and_labels_are_named(files: SimpleNamespace, tmp_path: Path) -> None:
    cases = {
        "row": ({"damage": 13}, r"train\.parquet, row 13 is not an image of a known kind .*drop that row"),
        "label": ({"names": CIFAR[:9]}, r"train\.parquet, row 9: label 9 is not allowed, it must be 0 to 8"),
    }
    for name, (arguments, message) in cases.items():
        files.cifar(tmp_path / name, **arguments)
        with pytest.raises(DataError, match=message):
            load_dataset(tmp_path / name)
    files.cifar(tmp_path / "cifar10")
    file = tmp_path / "cifar10" / "test.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"test\.parquet is a damaged Parquet file .* again"):
        load_dataset("cifar10", root=tmp_path)

    files.folder(tmp_path / "mine", files.pixels(9), ("a", "b"))
    bad = tmp_path / "mine" / "b" / "001.png"
    bad.write_bytes(bad.read_bytes()[:60])
    with pytest.raises(DataError, match=re.escape(f"{bad} is a damaged image")):
        load_dataset(tmp_path / "mine")
    # A program in a picture's clothes: never handed to whatever draws it.
    bad.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(DataError, match=re.escape(f"{bad} is not an image of a known kind")):
        load_dataset(tmp_path / "mine")
    assert not list((tmp_path / "cache" / "decoded").glob("*/meta.json"))  # nothing half-made is kept


def test_sizes_that_the_data_does_not_have(files: SimpleNamespace, tmp_path: Path) -> None:
    files.cifar(tmp_path / "cifar10")
    for arguments in ({"limit": 9}, {"limit": 21}, {"limit": 16, "holdout": 5}, {"holdout": 11}, {"image_size": 0}):
        with pytest.raises(InvalidValueError, match=r"limit is|holdout is|image_size is"):
            load_dataset("cifar10", root=tmp_path, **arguments)


@pytest.mark.skipif(
    not REAL or not (Path(REAL) / "cifar10" / "train.parquet").is_file(),
    reason="DEFENSELIB_DATA holds no cifar10/train.parquet",
)
def test_real_cifar10_is_the_committed_one_and_loads_at_once_from_the_cache() -> None:
    assert REAL is not None
    data = load_dataset("cifar10", root=REAL, limit=1000, holdout=500)
    started = time.perf_counter()
    data = load_dataset("cifar10", root=REAL, limit=1000, holdout=500)
    assert time.perf_counter() - started < 1.0
    assert source_of(data) == info("cifar10").source and data.digest == digests["cifar10-jpeg"]
    assert data.train.labels.bincount().tolist() == [100] * 10 and len(data.test) == 500
