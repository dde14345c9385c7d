"""One rule for image files: what `run` is given as a data set and what `scan` and `defend` read of a folder."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from defenselib.audit.folder import read_folder
from defenselib.data.load import load_dataset
from defenselib.errors import DataError
from tests.audit.made import picture, plain, reasons
from tests.audit.test_folder import deep_png


def saved(kind: str, *more: Image.Image, mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    if more:
        options |= {"save_all": True, "append_images": more}
    picture(mode=mode).save(buffer, kind, **options)
    return buffer.getvalue()


def deep_map(kind: str, largest: int) -> bytes:
    values = 32 * 32 * (3 if kind == "P6" else 1)
    return f"{kind} 32 32 {largest}\n".encode() + bytes((2 if largest > 255 else 1) * values)


def deep_grey() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((32, 32), 40_000, np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()


DEEP, MOVING, CUT, EMPTY, STRANGE = (
    "more than 8 bits",
    "animated or has several pages",
    "damaged",
    "empty",
    "known kind",
)
REFUSED = {
    "rgb16.png": (deep_png(), DEEP),
    "grey16.png": (deep_grey(), DEEP),
    "16.ppm": (deep_map("P6", 65535), DEEP),
    "10.ppm": (deep_map("P6", 1023), DEEP),
    "16.pgm": (deep_map("P5", 65535), DEEP),
    "moving.gif": (saved("GIF", picture(1)), MOVING),
    "moving.png": (saved("PNG", picture(1)), MOVING),
    "pages.tif": (saved("TIFF", picture(1)), MOVING),
    "cut.png": (saved("PNG")[:300], CUT),
    "cut.jpg": (saved("JPEG")[:-400], CUT),
    "none.png": (b"", EMPTY),
    "page.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n", STRANGE),
}
TAKEN = {
    "8.ppm": deep_map("P6", 255),
    "8.pgm": deep_map("P5", 255),
    "still.gif": saved("GIF"),
    "still.png": saved("PNG"),
    "page.tif": saved("TIFF"),
    "second_eye.jpg": saved("MPO", picture(1)),
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEFENSELIB_CACHE", str(tmp_path / "cache"))
    return plain(tmp_path / "set", count=5)


@pytest.mark.parametrize("name", REFUSED)
def test_both_ways_refuse_a_file_for_the_same_reason(name: str, root: Path) -> None:
    path, (content, reason) = root / "a" / name, REFUSED[name]
    path.write_bytes(content)
    told = reasons(read_folder(root))
    assert set(told) == {f"a/{name}"} and reason in told[f"a/{name}"]
    with pytest.raises(DataError) as raised:
        load_dataset(root)
    assert str(path) in str(raised.value) and reason in str(raised.value) and "replace it" in str(raised.value)


def test_both_ways_take_the_same_files_with_the_same_pixels(root: Path) -> None:
    for name, content in TAKEN.items():
        (root / "a" / name).write_bytes(content)
    data = read_folder(root, 32)
    assert {f"a/{name}" for name in TAKEN} <= set(data.files) and data.skipped == ()
    loaded = load_dataset(root, image_size=32)
    every = [image.numpy().tobytes() for part in (loaded.train, loaded.test) for image in part.images]
    assert sorted(every) == sorted(image.numpy().tobytes() for image in data.images.images)


def test_ink_is_left_out_of_a_folder_alone(root: Path) -> None:
    """ImageNet's own files hold some CMYK pictures, and a data set is read whole or not at all."""
    (root / "a" / "ink.jpg").write_bytes(saved("JPEG", mode="CMYK"))
    assert "CMYK" in reasons(read_folder(root))["a/ink.jpg"]
    loaded = load_dataset(root, image_size=32)
    assert len(loaded.train) + len(loaded.test) == 11
