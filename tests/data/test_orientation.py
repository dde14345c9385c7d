"""Images are decoded upright: their pixels as the note of a camera says that they are to be seen."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from defenselib.data import load_dataset

# EXIF orientation -> how the stored pixels (H, W, 3) are brought upright, by NumPy.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
    99: lambda a: a,
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_images_are_stored_upright(kind: str, orientation: int, files: SimpleNamespace, tmp_path: Path) -> None:
    pixels = files.pixels(1)[0][:, :6]
    exif = Image.Exif()
    exif[0x0112] = orientation
    for i in range(6):
        path = tmp_path / "x" / "ab"[i % 2] / f"{i}.{kind.lower()}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    with pytest.warns(UserWarning, match="resized"):
        data = load_dataset(tmp_path / "x")
    upright = Image.fromarray(np.ascontiguousarray(UPRIGHT[orientation](pixels)))
    expected = np.asarray(upright.resize((32, 32), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.array_equal(data.train.images[0].numpy(), expected)


def test_a_sideways_photo_is_as_its_upright_copy(files: SimpleNamespace, tmp_path: Path) -> None:
    """A JPEG of orientation 6 and one whose pixels were turned have the same sizes and almost the same pixels."""
    ramp = np.stack([np.tile(np.arange(0, 256, 8, dtype=np.uint8), (32, 1))] * 3, axis=-1)
    exif = Image.Exif()
    exif[0x0112] = 6
    for i in range(3):
        for name, image, how in (("a", ramp, {"exif": exif}), ("b", np.rot90(ramp, -1), {})):
            (tmp_path / "x" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.ascontiguousarray(image)).save(tmp_path / "x" / name / f"{i}.jpg", quality=95, **how)
    images = load_dataset(tmp_path / "x").train
    one, other = (images.images[images.labels == label][0].int() for label in (0, 1))
    assert (one - other).abs().max() < 6 and one[0, 0].float().mean() + 200 < one[0, -1].float().mean()


def test_a_damaged_orientation_leaves_the_image(files: SimpleNamespace, tmp_path: Path) -> None:
    files.folder(tmp_path / "x", files.pixels(6), ("a", "b"))
    for path in (tmp_path / "x").rglob("*.png"):
        image = Image.open(io.BytesIO(path.read_bytes()))
        image.save(path, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x63")
    assert load_dataset(tmp_path / "x").train.image_size == 8
