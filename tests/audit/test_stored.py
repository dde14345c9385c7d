"""Data sets as torchvision stores them, whole and damaged: one line names the file, whatever is in it."""

from __future__ import annotations

import gzip
import pickle
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from defenselib.audit import stored
from defenselib.audit.folder import read_folder
from defenselib.audit.layouts import find
from defenselib.errors import DataError
from tests.audit.made import refused

COUNT = 20
PIXELS = np.random.default_rng(0).integers(0, 256, (COUNT, 28, 28), dtype=np.uint8)
IMAGES = struct.pack(">IIII", 0x803, COUNT, 28, 28) + PIXELS.tobytes()
LABELS = struct.pack(">II", 0x801, COUNT) + bytes(i % 3 for i in range(COUNT))


def mnist(root: Path, images: bytes = IMAGES, labels: bytes = LABELS, end: str = "") -> Path:
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / f"train-images-idx3-ubyte{end}").write_bytes(images)
    (raw / f"train-labels-idx1-ubyte{end}").write_bytes(labels)
    return root


def cifar(root: Path, names: Any, batches: int = 1) -> Path:
    base = root / "cifar-10-batches-py"
    base.mkdir(parents=True)
    (base / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    data = np.arange(COUNT, dtype=np.uint8)[:, None] + np.zeros((COUNT, 3072), np.uint8)
    for i in range(1, batches + 1):
        (base / f"data_batch_{i}").write_bytes(pickle.dumps({"labels": [i % 2 for i in range(COUNT)], "data": data}))
    return root


def broken(content: bytes) -> bytes:
    """A .gz file of which the deflated bytes are no such."""
    return gzip.compress(content)[:10] + b"\xff" * 80


SHORT, WHOLE, ZIPPED = LABELS[:5], LABELS, gzip.compress(LABELS)
DAMAGED: dict[str, tuple[bytes, str, str]] = {
    "empty": (b"", "", "no table of MNIST"),
    "cut in its header": (SHORT, "", "ends within its header"),
    "cut in its values": (WHOLE[:-1], "", "tells of 20 values"),
    "too long": (WHOLE + b"0", "", "tells of 20 values"),
    "of nothing": (struct.pack(">II", 0x801, 0), "", "tells of 0 values"),
    "of another kind": (struct.pack(">II", 0xD01, 20) + bytes(80), "", "no table of MNIST"),
    "of many axes": (bytes((0, 0, 8, 255)) + bytes(2000), "", "no table of MNIST"),
    "of sizes whose product is 2**64": (
        struct.pack(">IIII", 0x803, 1 << 31, 1 << 31, 4),
        "",
        "2147483648x2147483648x4",
    ),
    "images": (IMAGES, "", "one an image"),
    "no gzip": (b"plain text", ".gz", "cannot be read"),
    "gzip cut": (ZIPPED[:-12], ".gz", "cannot be read"),
    "gzip with a wrong sum": (ZIPPED[:-8] + b"\0" * 8, ".gz", "cannot be read"),
    "gzip broken": (broken(LABELS), ".gz", "cannot be read"),
    "gzip of a short header": (gzip.compress(SHORT), ".gz", "ends within its header"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_table_is_one_line_that_names_it(case: str, tmp_path: Path) -> None:
    content, end, words = DAMAGED[case]
    images = gzip.compress(IMAGES) if end else IMAGES
    told = refused(mnist(tmp_path / "labels", images, content, end))
    assert f"train-labels-idx1-ubyte{end}" in told and words in told
    if case != "images":
        assert f"train-images-idx3-ubyte{end} " in refused(
            mnist(tmp_path / "images", content, LABELS if not end else ZIPPED, end)
        )


def test_no_more_is_unpacked_than_the_header_promises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    read = gzip.GzipFile.read

    def counted(self: gzip.GzipFile, size: int | None = -1) -> bytes:
        taken.append(len(part := read(self, size)))
        return part

    monkeypatch.setattr(gzip.GzipFile, "read", counted)
    bomb = gzip.compress(LABELS + bytes(64 << 20))
    assert "tells of 20 values" in refused(mnist(tmp_path / "more", gzip.compress(IMAGES), bomb, ".gz"))
    assert sum(taken) <= len(LABELS) + 1
    taken.clear()
    vast = gzip.compress(struct.pack(">II", 0x801, 0xFFFFFFFF) + bytes(1 << 16))  # cannot hold 4 GB
    assert "tells of 4294967295 values" in refused(mnist(tmp_path / "vast", gzip.compress(IMAGES), vast, ".gz"))
    assert sum(taken) == 8
    monkeypatch.setattr(stored, "_CHUNK", 7)
    data = read_folder(mnist(tmp_path / "fine", gzip.compress(IMAGES), ZIPPED, ".gz"), 28)
    assert torch.equal(data.images.images[:, 0], torch.from_numpy(PIXELS))


@pytest.mark.parametrize("end", ["", ".gz"])
def test_qmnist_as_torchvision_stores_it(end: str, tmp_path: Path) -> None:
    raw = tmp_path / "QMNIST" / "raw"
    raw.mkdir(parents=True)
    table = np.random.default_rng(1).integers(0, 4000, (COUNT, 8)).astype(">i4")
    table[:, 0] = np.arange(COUNT) % 10
    labels = struct.pack(">III", 0xC02, COUNT, 8) + table.tobytes()
    for name, content in (("images-idx3-ubyte", IMAGES), ("labels-idx2-int", labels)):
        (raw / f"qmnist-train-{name}{end}").write_bytes(gzip.compress(content) if end else content)
    (raw / "qmnist-test-images-idx3-ubyte").write_bytes(IMAGES)
    data = read_folder(tmp_path, 28)
    assert data.images.labels.tolist() == table[:, 0].tolist() and data.classes == tuple("0123456789")
    assert torch.equal(data.images.images[:, 2], torch.from_numpy(PIXELS))
    assert [item.file for item in data.skipped] == ["QMNIST/raw/qmnist-test-images-idx3-ubyte"]
    for wrong in (-1, 256, 1 << 30):
        table[3, 0] = wrong
        content = labels[:12] + table.tobytes()
        (raw / f"qmnist-train-labels-idx2-int{end}").write_bytes(gzip.compress(content) if end else content)
        assert "must be numbers from 0 to 255" in refused(tmp_path)


@pytest.mark.parametrize("names", [5, "ab", None, ["a", 1], {"a": 1}, ("a", "b"), b"ab"], ids=repr)
def test_names_of_cifar_are_a_list_of_texts(names: Any, tmp_path: Path) -> None:
    told = refused(cifar(tmp_path, names))
    assert "batches.meta is damaged" in told and "'label_names'" in told


def test_a_damaged_batch_is_one_line(tmp_path: Path) -> None:
    path = cifar(tmp_path, ["a", "b"]) / "cifar-10-batches-py" / "data_batch_1"
    whole, draw = path.read_bytes(), random.Random(0)
    told = set()
    for _ in range(50):
        content = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            content[draw.randrange(150)] = draw.randrange(256)
        path.write_bytes(content)
        try:
            list(find(tmp_path).contents())
        except DataError as error:
            told.add(str(error))
    assert len(told) > 5 and all("data_batch_1" in line and "\n" not in line for line in told)


def test_names_of_cifar_say_nothing_to_a_terminal(tmp_path: Path) -> None:
    data = read_folder(cifar(tmp_path, ["a\x1b[31m\nb", "c\x07"]))
    assert data.classes == ("a\\x1b[31m\\nb", "c\\x07")


def test_cifar_without_a_batch_is_told(tmp_path: Path) -> None:
    assert "batches.meta has none of its batches" in refused(cifar(tmp_path, ["a", "b"], 0))


def test_links_out_are_not_read_and_the_rest_is_told(tmp_path: Path) -> None:
    outside = cifar(tmp_path / "outside", ["a", "b"], 2) / "cifar-10-batches-py"
    root = cifar(tmp_path / "set", ["a", "b"], 1)
    base = root / "cifar-10-batches-py"
    (base / "data_batch_2").symlink_to(outside / "data_batch_2")
    (base / "test_batch").write_bytes(b"x")
    (root / "MNIST").symlink_to(mnist(tmp_path / "numbers") / "MNIST")
    data = read_folder(root)
    assert {name.split("#")[0] for name in data.files} == {"cifar-10-batches-py/data_batch_1"}
    assert [(item.file, item.reason) for item in data.skipped] == [
        ("MNIST", "symbolic link out of the folder"),
        ("cifar-10-batches-py/data_batch_2", "symbolic link out of the folder"),
        ("cifar-10-batches-py/test_batch", "file outside of the training images that are read"),
    ]
    assert "cifar-10-batches-py/data_batch_2 is missing" in data.notes
    (root / "MNIST").unlink()
    (base / "batches.meta").unlink()
    (base / "batches.meta").symlink_to(outside / "batches.meta")
    assert "no readable image" in refused(root) and "batches.meta (symbolic link out of the folder)" in refused(root)
    linked = tmp_path / "linked"
    linked.symlink_to(outside.parent)  # the folder itself may be a link
    assert len(read_folder(linked).files) == 2 * COUNT
