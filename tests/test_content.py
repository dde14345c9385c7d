"""The digest of what a file or folder holds: the same for a copy, another for any change."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from defenselib.content import content_digest
from defenselib.errors import DataError


def tree(root: Path) -> Path:
    for name, text in {"a.png": "1", "sub/b.png": "2", "sub/ä.png": "3", ".hidden/c": "4", ".d": "5"}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_file_is_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert content_digest(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()[:16]
    assert content_digest(str(tmp_path / "x")) == content_digest(shutil.copy(tmp_path / "x", tmp_path / "other name"))


def test_a_copy_of_a_folder_has_the_same_digest(tmp_path: Path) -> None:
    first = content_digest(tree(tmp_path / "one"))
    assert content_digest(shutil.copytree(tmp_path / "one", tmp_path / "two")) == first
    (tmp_path / "one" / ".hidden" / "c").write_text("other")
    (tmp_path / "one" / "\udcff").symlink_to("nowhere")
    os.mkfifo(tmp_path / "one" / "pipe")
    assert content_digest(tmp_path / "one") == first


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda root: (root / "a.png").write_text("2"),
    "name": lambda root: (root / "a.png").rename(root / "z.png"),
    "added": lambda root: (root / "sub" / "\udcff.png").write_text("1"),
    "removed": lambda root: (root / "sub" / "b.png").unlink(),
    "moved": lambda root: (root / "sub" / "b.png").rename(root / "b.png"),
    "swapped": lambda root: ((root / "a.png").write_text("2"), (root / "sub" / "b.png").write_text("1")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_makes_another(change: str, tmp_path: Path) -> None:
    root = tree(tmp_path / "x")
    before = content_digest(root)
    CHANGES[change](root)
    assert content_digest(root) != before


def test_a_file_that_is_replaced_at_the_same_size(tmp_path: Path) -> None:
    found = set()
    for text in ("abc", "abd", "abe"):
        (tmp_path / "new").write_text(text)
        (tmp_path / "new").replace(tmp_path / "x")
        found.add(content_digest(tmp_path / "x"))
    assert len(found) == 3


@pytest.mark.parametrize("name", ["nothing", "pipe", "link"])
def test_what_cannot_be_read_is_refused(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(DataError, match=f"{name} (cannot be read|is no regular file)"):
        content_digest(tmp_path / name)
