"""What a user's folder can hold beside its class folders: nothing of it hides them, and nothing goes without a word."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from defenselib.audit.folder import UserData, read_folder
from defenselib.cli import app
from defenselib.errors import DataError


def plain(root: Path, classes: tuple[str, ...] = ("a", "b"), count: int = 3) -> Path:
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(count):
            pixels = np.random.default_rng(10 * label + i).integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


def images(classes: tuple[str, ...] = ("a", "b"), count: int = 3) -> tuple[str, ...]:
    return tuple(f"{name}/{i}.png" for name in classes for i in range(count))


def reasons(data: UserData) -> dict[str, str]:
    assert len({item.file for item in data.skipped}) == len(data.skipped)
    return {item.file: item.reason for item in data.skipped}


def refused(root: Path) -> str:
    with pytest.raises(DataError) as raised:
        read_folder(root)
    assert "\n" not in str(raised.value)
    return str(raised.value)


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
