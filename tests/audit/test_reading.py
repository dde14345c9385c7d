"""What a user's folder can hold beside its class folders: nothing of it hides them, and nothing goes without a word."""

from __future__ import annotations

import io
import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from defenselib.audit.folder import read_folder
from defenselib.cli import app
from defenselib.data.sources.folder import list_folder
from tests.audit.made import plain, reasons, refused


def images(classes: tuple[str, ...] = ("a", "b"), count: int = 3) -> tuple[str, ...]:
    return tuple(f"{name}/{i}.png" for name in classes for i in range(count))


def test_maps_of_more_than_8_bits_are_refused_whatever_their_kind(tmp_path: Path) -> None:
    root = plain(tmp_path)
    for kind in ("P2", "P3", "P5", "P6"):
        for largest in (255, 256, 1000, 65535):
            values = 32 * 32 * (3 if kind in ("P3", "P6") else 1)
            body = b"1 " * values if kind < "P4" else bytes((2 if largest > 255 else 1) * values)
            (root / "a" / f"{kind}_{largest}.ppm").write_bytes(f"{kind} 32 32 {largest}\n".encode() + body)
    (root / "a" / "bits.pbm").write_bytes(b"P1 32 32\n" + b"1 " * 1024)
    data = read_folder(root)
    assert {f"a/{kind}_255.ppm" for kind in ("P2", "P3", "P5", "P6")} | {"a/bits.pbm"} <= set(data.files)
    found = reasons(data)
    assert set(found) == {f"a/{kind}_{n}.ppm" for kind in ("P2", "P3", "P5", "P6") for n in (256, 1000, 65535)}
    assert all("more than 8 bits" in reason for reason in found.values())


def test_an_error_tells_a_terminal_nothing(tmp_path: Path) -> None:
    name = "x\x1b]0;own\x07\x1b[31m\u202e.parquet"
    (tmp_path / name).write_bytes(b"junk")
    result = CliRunner().invoke(app, ["scan", str(tmp_path)])
    assert result.exit_code == 2 and result.stderr.count("\n") == 1 and result.stderr.rstrip("\n").isprintable()
    assert "x\\x1b]0;own\\x07\\x1b[31m\\u202e.parquet" in result.stderr


def encoded(seed: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def table(path: Path, labels: tuple[int, ...] = (0, 1, 0, 1)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"bytes": encoded(i), "path": None} for i in range(len(labels))]
    pq.write_table(pa.table({"image": rows, "label": labels}), path)
    return path


def raw(folder: Path) -> Path:
    """MNIST as torchvision stores it, of two images."""
    folder.mkdir(parents=True)
    (folder / "train-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 0x803, 2, 28, 28) + bytes(2 * 784))
    (folder / "train-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, 2) + bytes((0, 1)))
    return folder


@pytest.mark.parametrize("prefix", ["", "train/", "wrap/train/"])
@pytest.mark.parametrize("good", [True, False], ids=["good", "junk"])
@pytest.mark.parametrize("place", ["a", "a/deep", "a/deep/er"])
def test_a_table_in_a_class_folder_never_hides_the_classes(place: str, good: bool, prefix: str, tmp_path: Path) -> None:
    plain(tmp_path / prefix)
    table(path := tmp_path / prefix / place / "x.parquet")
    if not good:
        path.write_bytes(b"junk")
    data = read_folder(tmp_path)
    assert data.files == tuple(prefix + name for name in images())
    assert reasons(data) == {f"{prefix}{place}/x.parquet": "a table beside class folders is not read"}


def test_a_set_of_torchvision_beside_class_folders_is_told(tmp_path: Path) -> None:
    raw(plain(tmp_path) / "MNIST" / "raw")
    data = read_folder(tmp_path)
    assert data.files == images() and data.classes == ("a", "b")
    assert reasons(data) == dict.fromkeys(
        [f"MNIST/raw/train-{name}-ubyte" for name in ("images-idx3", "labels-idx1")],
        "a table beside class folders is not read",
    )
    assert any("tables beside the class folders are not read" in note and "MNIST/raw/" in note for note in data.notes)


def test_a_table_in_the_folder_itself_and_class_folders_are_refused_by_name(tmp_path: Path) -> None:
    table(plain(tmp_path) / "x.parquet")
    told = refused(tmp_path)
    assert "a table, x.parquet," in told and "a and b" in told and "move one of the two" in told
    for name in images():
        (tmp_path / name).write_bytes(b"no image")  # nothing but the table is left to be read
    assert set(reasons(data := read_folder(tmp_path))) == set(images()) and len(data.files) == 4


@pytest.mark.parametrize("kind", ["junk", "no images", "pipe"])
def test_what_is_no_table_of_images_does_not_stop_the_classes(kind: str, tmp_path: Path) -> None:
    path = plain(tmp_path) / "x.parquet"
    if kind == "junk":
        path.write_bytes(b"PAR1junk")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        pq.write_table(pa.table({"file": ["q"], "label": [1]}), path)
    data = read_folder(tmp_path)
    assert data.files == images() and set(reasons(data)) == {"x.parquet"}


def test_class_folders_that_are_none_are_not_left_for_a_table(tmp_path: Path) -> None:
    table(plain(tmp_path, ("test", "control")) / "control" / "x.parquet")
    told = refused(tmp_path)
    assert "no training folder" in told and "control/x.parquet" in told and "control and test" in told


def test_everything_beside_tables_is_told(tmp_path: Path) -> None:
    for split in ("train", "test", "val"):
        table(tmp_path / "data" / f"{split}.parquet")
    plain(tmp_path, ("pics",), 1)  # one folder of images makes no classes
    (tmp_path / "README.md").write_text("x")
    (tmp_path / "data" / "other.bin").write_bytes(b"x")
    table(tmp_path / "more" / "train.parquet")
    data = read_folder(tmp_path)
    assert {name.split("#")[0] for name in data.files} == {"data/train.parquet"}
    beside = "file outside of the training images that are read"
    assert reasons(data) == {
        "data/test.parquet": "holds test images, which are not looked at",
        "data/val.parquet": "holds val images, which are not looked at",
    } | dict.fromkeys(("README.md", "data/other.bin", "more/train.parquet", "pics/0.png"), beside)


def test_a_label_without_a_name_is_told(tmp_path: Path) -> None:
    features = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    path = table(tmp_path / "train-0.parquet")
    named = pq.read_table(path).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(named, path)
    table(tmp_path / "train-1.parquet", (0, 7))
    assert "label 7" in refused(tmp_path)


ENDS = {"circle": "circle", "nothing": "gone", "long": "x" * 300, "twice": "twice/twice"}


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("prefix", ["", "train/"])
def test_a_link_that_leads_nowhere_is_one_line(name: str, prefix: str, tmp_path: Path) -> None:
    plain(tmp_path / prefix)
    told = [f"{prefix}a/{name}", f"{prefix}{name}", name, f"{prefix}a/{name}.parquet", f"{name}.parquet"]
    for path in told:
        if not (tmp_path / path).is_symlink():
            (tmp_path / path).symlink_to(ENDS[name] + ("" if name != "circle" else Path(path).suffix))
    data = read_folder(tmp_path)
    assert data.files == tuple(prefix + file for file in images()) and set(reasons(data)) == set(told)
    assert all("link" in reason or "cannot be read (" in reason for reason in reasons(data).values())
    listing = list_folder(tmp_path)  # a folder for `run` is no other
    assert listing is not None and listing.train.count == 6


@pytest.mark.parametrize("name", ["train", "wrap", "data", "train.parquet", "raw", "class_list.txt"])
def test_links_out_of_the_folder_are_named_and_not_followed(name: str, tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "set"
    root.mkdir()
    if name == "wrap":
        plain(outside / "train")
    elif name == "train":
        plain(outside)
    elif name == "raw":
        raw(outside)
    elif name == "class_list.txt":
        outside.write_text("root:x:0\n")
        plain(root)
    else:
        table(outside / "q.parquet")
    (root / name).symlink_to(outside / "q.parquet" if name == "train.parquet" else outside)
    told = refused(root)
    assert name in told and "symbolic link" in told and "not followed" in told and "root:x" not in told


def test_a_link_out_beside_a_table_is_told(tmp_path: Path) -> None:
    table(tmp_path / "set" / "train.parquet")
    table(tmp_path / "outside" / "train-1.parquet")
    (tmp_path / "set" / "train-1.parquet").symlink_to(tmp_path / "outside" / "train-1.parquet")
    (tmp_path / "set" / "train").symlink_to(plain(tmp_path / "images"))
    data = read_folder(tmp_path / "set")
    assert {name.split("#")[0] for name in data.files} == {"train.parquet"}
    assert reasons(data) == dict.fromkeys(("train-1.parquet", "train"), "symbolic link out of the folder")


def test_a_folder_that_is_a_link_and_links_within_it_are_read(tmp_path: Path) -> None:
    (tmp_path / "classes").symlink_to(plain(tmp_path / "real"))
    assert read_folder(tmp_path / "classes").files == images()
    table(tmp_path / "set" / "store" / "q.parquet")
    (tmp_path / "set" / "data").symlink_to("store")
    (tmp_path / "link").symlink_to("set")
    data = read_folder(tmp_path / "link")
    assert data.files == tuple(f"data/q.parquet#{i}" for i in range(4)) and not data.skipped


def test_a_folder_that_may_not_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain(tmp_path, ("a", "b", "shut"))
    scandir, access = os.scandir, os.access

    def listed(path: Any) -> Any:
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", listed)
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("shut") and access(path, mode))
    data = read_folder(tmp_path)
    assert data.files == images() and reasons(data) == {"shut": "folder cannot be read (Permission denied)"}


def test_validation_images_beside_test_images_are_told(tmp_path: Path) -> None:
    for split in ("train", "test", "val"):
        plain(tmp_path / split)
    data = read_folder(tmp_path)
    assert set(reasons(data)) == {"val"} and any(note.startswith("test/ holds") for note in data.notes)
    (tmp_path / "class_list.txt").write_text("a\nb\n")
    plain(tmp_path / "train" / "x", ("y",)).rename(tmp_path / "train" / "dev")  # a class, and not one of the list
    assert set(reasons(read_folder(tmp_path))) == {"val", "train/dev"}


def test_names_that_read_alike_are_refused(tmp_path: Path) -> None:
    assert "2 classes whose names read a\\nb;" in refused(plain(tmp_path, ("a\nb", "a\\nb", "c")))


def test_a_single_class_is_named_and_why_the_others_are_none(tmp_path: Path) -> None:
    root = plain(tmp_path, ("a", "b", "c"))
    (root / "d").mkdir()
    for path in (root / "b").iterdir():
        path.write_bytes(b"")
    for path in (root / "c").iterdir():
        path.write_bytes(path.read_bytes()[:500])
    for i in range(9):
        (root / "a" / f"{i}.txt").write_text("notes")
    told = refused(root)
    assert "one class with a readable image, a; 2 to 1000 are allowed" in told
    for part in ("b/0.png (is empty (0 bytes))", "c/0.png (is damaged", "d (class folder without a file)"):
        assert part in told
