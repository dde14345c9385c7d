"""Reading a user's folder: nothing raises for a file, nothing is lost, nothing is executed."""

from __future__ import annotations

import csv
import io
import os
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from defenselib.audit.folder import read_folder
from defenselib.audit.names import listed, visible, write_table
from defenselib.audit.suspects import write_skipped
from defenselib.errors import DefenseLibError
from tests.audit.made import picture, plain, reasons

PETS = ("cat", "dog")


def bomb(width: int, height: int) -> bytes:
    """A PNG that says it is huge and holds nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def deep_png(side: int = 32) -> bytes:
    """An RGB PNG of 16 bits a channel, which Pillow would quietly cut to 8."""
    raw = b"".join(b"\0" + bytes(6 * side) for _ in range(side))
    data = bytearray(bomb(side, side)[:8])
    for kind, body in ((b"IHDR", struct.pack(">IIBBBBB", side, side, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(raw)),
                       (b"IEND", b"")):  # fmt: skip
        data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return bytes(data)


def test_bad_files_are_named_with_their_reason_and_good_ones_stay(tmp_path: Path) -> None:
    root, cat = plain(tmp_path / "set", PETS), tmp_path / "set" / "cat"
    encoded = (cat / "0.png").read_bytes()
    bad = {
        "empty.png": (b"", "empty"),
        "cut.png": (encoded[:300], "damaged or truncated"),
        "notes.txt": (b"not an image", "not an image"),
        "web.png": (b"<html><script>alert(1)</script>", "not an image"),
        "bomb.png": (bomb(60000, 60000), "huge"),
        "wide.png": (bomb(60000, 1000), "huge: 60000x1000"),
        "deep.png": (deep_png(), "more than 8 bits"),
        "page.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\n", "not an image"),
        "vector.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
    }
    for name, (content, _) in bad.items():
        (cat / name).write_bytes(content)
    picture(mode="CMYK").save(cat / "ink.jpg")
    picture(side=4).save(cat / "dot.png")
    Image.fromarray(np.zeros((32, 32), np.uint16)).save(cat / "grey16.png")
    picture(1).save(cat / "moving.gif", save_all=True, append_images=[picture(2), picture(3)])
    wanted = {name: words for name, (_, words) in bad.items()}
    wanted |= {"ink.jpg": "CMYK", "dot.png": "tiny: 4x4", "grey16.png": "more than 8 bits", "moving.gif": "animated"}
    data = read_folder(root)
    found = reasons(data)
    assert set(found) == {f"cat/{name}" for name in wanted}
    for name, words in wanted.items():
        assert words in found[f"cat/{name}"] and "\n" not in found[f"cat/{name}"]
    assert data.files == tuple(f"{name}/{i}.png" for name in ("cat", "dog") for i in range(3))


def test_links_out_pipes_and_files_beside_the_classes_are_reported(tmp_path: Path) -> None:
    root = plain(tmp_path / "set", PETS)
    secret = tmp_path / "secret.png"
    picture(99).save(secret)
    (root / "cat" / "out.png").symlink_to(secret)
    (root / "cat" / "gone.png").symlink_to(tmp_path / "nothing")
    (root / "cat" / "inside.png").symlink_to(root / "dog" / "0.png")
    (root / "cat" / "loop").symlink_to(root)
    (root / "elsewhere").symlink_to(tmp_path)
    os.mkfifo(root / "cat" / "pipe.png")
    (root / "README.md").write_text("mine")
    (root / "empty").mkdir()
    (root / "cat" / ".git").mkdir()
    found = reasons(read_folder(root))
    assert {name: words.split(" (")[0] for name, words in found.items()} == {
        "cat/out.png": "symbolic link out of the folder",
        "cat/gone.png": "symbolic link to nothing",
        "cat/loop": "symbolic link to a folder",
        "elsewhere": "symbolic link to a folder, not followed",
        "cat/pipe.png": "no regular file",
        "README.md": "file outside of the class folders",
        "empty": "class folder without a file",
        "cat/.git": "hidden folder",
    }
    data = read_folder(root)
    assert "cat/inside.png" in data.files and any("1 symbolic link is read" in note for note in data.notes)


NAMES = [
    "two words.png",
    "new\nline.png",
    "ünï–😀.png",
    "<img src=x onerror=alert(1)>.png",
    "\x1b[31mred.png",
    "a,b\"c'.png",
]


def test_names_of_any_kind_survive_the_table_and_say_nothing_to_a_terminal(tmp_path: Path) -> None:
    root = plain(tmp_path / "set", ("=1+1", "do\ng"))
    for name in NAMES:
        (root / "=1+1" / name).write_bytes(b"no image")
    (root / os.fsdecode(b"=1+1/\xff.png")).write_bytes(b"no image")
    data = read_folder(root)
    assert len(data.skipped) == len(NAMES) + 1 and data.classes == ("=1+1", "do\\ng")
    write_skipped(tmp_path / "skipped.csv", {"data": data})
    with (tmp_path / "skipped.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["file", "reason", "folder"]
    assert {row[0] for row in rows[1:]} == {f"./=1+1/{name}" for name in [*NAMES, "\\xff.png"]}
    for item in data.skipped:
        assert visible(item.file).isprintable()


def test_a_cell_is_never_a_formula_and_stays_the_same_path(tmp_path: Path) -> None:
    for name in ("=a/b.png", "+a", "-a", "@a", "\ta", "a=b"):
        assert listed(name)[0] not in "=+-@\t" and os.path.normpath(listed(name)) == name
    write_table(tmp_path / "new" / "t.csv", ("a", "b"), [("=x", 1.5), ("y", None)])
    assert (tmp_path / "new" / "t.csv").read_text() == '"a","b"\n"./=x","1.5"\n"y",""\n'


def test_every_file_is_listed_or_reported(tmp_path: Path) -> None:
    root = plain(tmp_path / "set" / "train", ("a", "b", "c")).parent
    plain(root / "test", ("a", "b", "c"), 2)
    (root / "train" / "a" / "deeper" / "still").mkdir(parents=True)
    picture(5).save(root / "train" / "a" / "deeper" / "still" / "x.bmp")
    (root / "train" / "b" / "0.png").write_bytes(b"broken")
    (root / "train" / "loose.png").write_bytes(b"x")
    (root / "list.csv").write_text("x")
    data = read_folder(root)
    everything = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    told = set(data.files) | set(reasons(data))
    assert not set(data.files) & set(reasons(data))
    assert everything - told == {f"test/{name}/{i}.png" for name in "abc" for i in range(2)}
    assert any(note.startswith("test/ holds test images") for note in data.notes)


def test_modes_sizes_and_orientation(tmp_path: Path) -> None:
    root = plain(tmp_path / "set", PETS)
    base = picture(7, 40)
    for mode in ("L", "P", "RGBA", "LA", "1"):
        (root / mode).mkdir()
        base.convert(mode).save(root / mode / "x.png")
    wide = Image.fromarray(np.zeros((32, 64, 3), np.uint8))
    wide.paste((255, 255, 255), (0, 0, 32, 32))  # white on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # to be seen turned by 90 degrees clockwise: white above
    wide.save(root / "cat" / "turned.png", exif=exif)
    data = read_folder(root, 32)
    turned = data.images.images[data.files.index("cat/turned.png")].float().mean((0, 2))
    assert turned[0] == 255 and turned[-1] == 0
    for mode in ("L", "RGBA"):
        want = np.asarray(base.convert(mode).convert("RGB").resize((32, 32), Image.Resampling.BILINEAR))
        assert np.array_equal(data.images.images[data.files.index(f"{mode}/x.png")].permute(1, 2, 0).numpy(), want)
    assert data.images.images.shape[1:] == (3, 32, 32) and len(data.files) == len(data.images)
    assert any("shorter sides 32 to 40" in note and "as asked" in note for note in data.notes)
    assert any("single image" in note for note in data.notes)


@pytest.mark.parametrize(("side", "expected"), [(16, 32), (48, 32), (49, 64), (100, 96), (150, 128), (300, 224)])
def test_the_default_size_is_the_nearest_of_five(side: int, expected: int, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        picture(0, side).save(tmp_path / name / "0.png")
    assert read_folder(tmp_path).images.image_size == expected


def test_pixels_are_exact_where_nothing_is_resized(tmp_path: Path) -> None:
    data = read_folder(plain(tmp_path / "set", PETS))
    for row, file in enumerate(data.files):
        assert np.array_equal(data.images.images[row].permute(1, 2, 0), np.asarray(Image.open(data.root / file)))
    assert data.images.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_parquet_rows_are_named_and_bad_ones_reported(tmp_path: Path) -> None:
    def encoded(seed: int) -> bytes:
        buffer = io.BytesIO()
        picture(seed).save(buffer, "PNG")
        return buffer.getvalue()

    rows = [{"bytes": encoded(i), "path": "same.png"} for i in range(4)]
    rows[1]["bytes"], rows[2]["bytes"] = rows[1]["bytes"][:50], None
    pq.write_table(pa.table({"image": rows, "label": [5, 5, 9, 9]}), tmp_path / "train.parquet")
    data = read_folder(tmp_path)
    assert data.files == ("train.parquet#0", "train.parquet#3") and data.classes == ("5", "9")
    assert data.images.labels.tolist() == [0, 1]
    assert "truncated" in reasons(data)["train.parquet#1"] and "no image bytes" in reasons(data)["train.parquet#2"]


def test_cifar_as_torchvision_stores_it_and_no_code_is_run(tmp_path: Path) -> None:
    base = tmp_path / "cifar-10-batches-py"
    base.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (6, 3072), dtype=np.uint8)
    (base / "batches.meta").write_bytes(pickle.dumps({"label_names": ["plane", "car"]}))
    for i in range(1, 6):
        batch = {"data": pixels, "labels": [0, 1, 0, 1, 0, 1]}
        (base / f"data_batch_{i}").write_bytes(pickle.dumps(batch, protocol=2))
    data = read_folder(tmp_path)
    assert len(data.images) == 30 and data.files[6] == "cifar-10-batches-py/data_batch_2#0"
    assert torch.equal(data.images.images[1], torch.from_numpy(pixels[1].reshape(3, 32, 32)))
    mark = tmp_path / "executed"
    (base / "data_batch_3").write_bytes(f"cposix\nsystem\n(S'touch {mark}'\ntR.".encode())
    with pytest.raises(DefenseLibError, match=r"data_batch_3 is damaged.*not allowed"):
        read_folder(tmp_path)
    assert not mark.exists()


def test_mnist_as_torchvision_stores_it(tmp_path: Path) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    (raw / "train-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 0x803, 5, 28, 28) + pixels.tobytes())
    (raw / "train-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, 5) + bytes([0, 1, 1, 0, 7]))
    data = read_folder(tmp_path, 28)
    assert data.classes == ("0", "1", "7") and torch.equal(data.images.images[2, 1], torch.from_numpy(pixels[2]))


def test_what_holds_no_data_set_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "void").mkdir()
    (tmp_path / "flat").mkdir()
    picture().save(tmp_path / "flat" / "0.png")
    plain(tmp_path / "one", ("only",))
    plain(tmp_path / "broken", PETS)
    for path in (tmp_path / "broken").glob("*/*.png"):
        path.write_bytes(b"")
    told = {"file": "is a file", "none": "does not exist", "void": "no images", "flat": "no images"}
    told |= {"one": "one class", "broken": "no readable image", "x" * 300: "cannot be looked at"}
    for name, words in told.items():
        with pytest.raises(DefenseLibError, match=words) as raised:
            read_folder(tmp_path / name)
        assert "\n" not in str(raised.value)
    for size in (15, 513, 0, -1):
        with pytest.raises(DefenseLibError, match=f"image_size is {size}, it must lie in"):
            read_folder(tmp_path / "one", size)
