"""Data sets that do not fit the memory: decoded by processes, taken up after a kill, checked, poisoned, trained on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as reference

from defenselib import data
from defenselib.data.host import images
from defenselib.data.host.images import HostImages
from defenselib.data.sources import bulk, cache
from defenselib.data.sources.preparation import Preparation
from defenselib.data.types import Dataset, digest_of
from defenselib.errors import DataError, FolderError

SIDE = 16
COUNT = 30  # training images; test images are a third of them


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photographs of all shapes, in the layout of ImageNet."""
    draw = np.random.default_rng(3)
    for split, count in (("train", COUNT), ("val", COUNT // 3)):
        for number in range(count):
            place = tmp_path / "photos" / split / f"n0000000{number % 3}"
            place.mkdir(parents=True, exist_ok=True)
            height, width = draw.integers(18, 60, 2)
            colour = draw.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            Image.fromarray(colour).resize((int(width), int(height))).save(place / f"{number:02}.JPEG", quality=95)
    return tmp_path / "photos"


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is too large for the memory, and a block is small."""
    monkeypatch.setattr(cache, "LARGE", 0)
    monkeypatch.setattr(bulk, "BLOCK", 4)


def pixels(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    return dataset.train.images.numpy().copy(), dataset.test.images.numpy().copy()


def same(one: Dataset, two: Dataset) -> bool:
    return all(map(np.array_equal, pixels(one), pixels(two))) and one.digest == two.digest


def test_is_what_the_small_way_gives(folder: Path, monkeypatch: pytest.MonkeyPatch, alone: Path) -> None:
    small = data.load_dataset(folder, image_size=SIDE)
    assert type(small.train.images) is torch.Tensor
    monkeypatch.setattr(cache, "LARGE", 0)
    monkeypatch.setattr(bulk, "BLOCK", 4)
    again = data.load_dataset(folder, image_size=SIDE)  # what was kept as a small one is handed out as a large one
    assert isinstance(again.train.images, HostImages) and same(small, again)
    cache.shutil.rmtree(alone)
    made = data.load_dataset(folder, image_size=SIDE)
    assert isinstance(made.train.images, HostImages) and same(small, made)
    assert made.digest == digest_of(small.train, small.test) and torch.equal(made.train.labels, small.train.labels)
    assert not list(alone.rglob("*.partial")) and not list(alone.rglob(bulk.JOURNAL))


KILL = """
import os, signal, sys
from defenselib import data
from defenselib.data.sources import bulk, cache
cache.LARGE, bulk.BLOCK = 0, 4
chunk, parent = bulk.decode_chunk, os.getpid()
def until(pictures, out):
    if "29.JPEG" in str([place for place, _ in pictures]):
        os.kill(parent, signal.SIGKILL)
    return chunk(pictures, out)
bulk.decode_chunk = until
data.load_dataset(sys.argv[1], image_size=16)
"""


@pytest.mark.slow
def test_a_killed_decoding_goes_on_where_it_was(
    folder: Path, large: None, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = subprocess.run([sys.executable, "-c", KILL, str(folder)], check=False, env=dict(os.environ))
    assert killed.returncode == -signal.SIGKILL
    (journal,) = alone.rglob(bulk.JOURNAL)
    done = {json.loads(line)["block"] for line in journal.read_text().splitlines()}
    assert done
    decoded = []
    chunk = bulk.decode_chunk
    monkeypatch.setattr(bulk.sys, "platform", "elsewhere")  # in threads, where this process sees what they decode
    monkeypatch.setattr(
        bulk, "decode_chunk", lambda pictures, out: decoded.append(out.shape[0]) or chunk(pictures, out)
    )
    made = data.load_dataset(folder, image_size=SIDE)
    blocks = -(-COUNT // 4) + -(-(COUNT // 3) // 4)
    assert len(decoded) == blocks - len(done)
    monkeypatch.undo()
    assert same(made, data.load_dataset(folder, image_size=SIDE))


def test_blocks_that_the_disk_lost_are_made_again(folder: Path, large: None, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = data.load_dataset(folder, image_size=SIDE)
    expected = pixels(whole)
    (entry,) = (path.parent for path in Path(os.environ["DEFENSELIB_CACHE"]).rglob("meta.json"))
    partial = entry.rename(entry.with_name(entry.name + ".partial"))
    (partial / "meta.json").unlink()
    # A journal that says more than the file holds, and ends in the middle of a line.
    block = {"name": "train_images", "block": 2, "sum": 1, "resized": 4}
    (partial / bulk.JOURNAL).write_text(json.dumps(block) + "\n" + '{"name": "train_im')
    assert all(map(np.array_equal, pixels(data.load_dataset(folder, image_size=SIDE)), expected))


def test_a_changed_file_is_noticed_and_a_checked_one_is_not_read_again(
    folder: Path, large: None, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = pixels(data.load_dataset(folder, image_size=SIDE))
    read: list[int] = []
    real = cache._checksum_of
    monkeypatch.setattr(cache, "_checksum_of", lambda array: read.append(len(array)) or real(array))
    data.load_dataset(folder, image_size=SIDE)
    assert not read
    (array,) = alone.rglob("train_images.npy")
    content = bytearray(array.read_bytes())
    content[-9] ^= 1
    array.write_bytes(content)
    assert all(map(np.array_equal, pixels(data.load_dataset(folder, image_size=SIDE)), expected)) and read


def test_a_damaged_image_is_named(folder: Path, large: None) -> None:
    (folder / "train" / "n00000001" / "16.JPEG").write_bytes(b"\xff\xd8 no")
    with pytest.raises(DataError, match=r"16\.JPEG is not an image of a known kind"):
        data.load_dataset(folder, image_size=SIDE)


def test_too_small_a_disk_is_said_before_the_work(folder: Path, large: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10})())
    with pytest.raises(FolderError, match=r"GB more for the decoded images.*DEFENSELIB_CACHE"):
        data.load_dataset(folder, image_size=SIDE)


def test_sizes_that_nobody_chose_are_warned_of(folder: Path, large: None) -> None:
    with pytest.warns(UserWarning, match="were resized to 32x32"):
        assert data.load_dataset(folder).train.image_size == 32


@pytest.mark.parametrize(("shorter", "side"), [(32, 28), (17, 16), (48, 48)])
def test_the_middle_is_cut_as_torchvision_does(shorter: int, side: int, folder: Path) -> None:
    how = Preparation(side, shorter)
    for path in sorted(folder.rglob("*.JPEG"))[:12]:
        image = Image.open(path)
        expected = reference.center_crop(reference.resize(image, [shorter]), [side])
        assert np.array_equal(how.of((path, None), path), np.asarray(expected)), image.size


def test_a_limit_and_a_holdout_stay_in_the_file(folder: Path, large: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "AT_ONCE", 8 * 3 * SIDE**2)
    made = data.load_dataset(folder, image_size=SIDE, limit=12, holdout=9)
    cut = made.train.images
    assert isinstance(cut, HostImages) and len(cut) == 12 and len(made.test) == 9
    everything = {row.tobytes() for row in data.load_dataset(folder, image_size=SIDE).train.images.numpy()}
    assert {row.tobytes() for row in cut.numpy()} < everything


def test_nothing_warns(folder: Path, large: None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data.load_dataset(folder, image_size=SIDE)
