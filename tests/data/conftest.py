"""Every test here has its own cache, an empty search path and no network; `files` makes tiny data sets on disk."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from defenselib.data import load
from defenselib.data.info import KNOWN
from defenselib.errors import DataError

CIFAR = KNOWN["cifar10"].classes


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns the cache folder, which does not exist yet."""

    def refuse(name: str, target: Path) -> None:
        raise DataError(f"the download of {name!r} failed (no network in tests)")

    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("DEFENSELIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DEFENSELIB_DATA", "")
    monkeypatch.setattr(load, "download", refuse)
    return tmp_path / "cache"


@pytest.fixture
def files() -> SimpleNamespace:
    return SimpleNamespace(pixels=pixels, encode=encode, parquet=write_parquet, cifar=write_cifar, folder=write_folder)


def pixels(count: int, seed: int = 0, side: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def encode(image: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind)
    return buffer.getvalue()


def write_parquet(
    path: Path, images: np.ndarray, labels: list, *, names: tuple[str, ...] | None = CIFAR, damage: int | None = None
) -> None:
    rows = [{"bytes": encode(image), "path": f"{i}.png"} for i, image in enumerate(images)]
    if damage is not None:
        rows[damage]["bytes"] = rows[damage]["bytes"][:40]
    table = pa.table({"image": rows, "label": pa.array(labels, pa.int64())})
    if names is not None:
        features = {"image": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=7)


def write_cifar(folder: Path, **arguments: object) -> tuple[np.ndarray, np.ndarray]:
    """20 training and 10 test images under the name of CIFAR-10."""
    train, test = pixels(20, 1), pixels(10, 2)
    write_parquet(folder / "train.parquet", train, [i % 10 for i in range(20)], **arguments)
    write_parquet(folder / "test.parquet", test, list(range(10)), names=arguments.get("names", CIFAR))
    return train, test


def write_folder(root: Path, images: np.ndarray, classes: tuple[str, ...]) -> None:
    for i, image in enumerate(images):
        path = root / classes[i % len(classes)] / f"{i:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(image))
