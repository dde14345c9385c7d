"""The cache of decoded images: used, checked, rebuilt, done without."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from defenselib.data import load_dataset
from defenselib.data.sources import cache
from defenselib.errors import FolderError


def decoded_entry(root: Path) -> Path:
    (entry,) = (path for path in (root / "decoded").iterdir() if path.is_dir())
    return entry


def test_cache_is_used_checked_and_rebuilt(
    files: SimpleNamespace, tmp_path: Path, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.cifar(tmp_path / "cifar10")
    runs = []
    real_fill = cache.fill
    monkeypatch.setattr(cache, "fill", lambda *args: runs.append(1) or real_fill(*args))

    def load_and_count() -> int:
        runs.clear()
        data = load_dataset("cifar10", root=tmp_path)
        assert np.array_equal(data.train.images.numpy(), files.pixels(20, 1).transpose(0, 3, 1, 2))
        data.train.images.zero_()  # whoever changes its tensors must not change the cache
        return len(runs)

    assert [load_and_count(), load_and_count()] == [2, 0]
    entry = decoded_entry(alone)
    array = entry / "train_images.npy"
    content = array.read_bytes()
    for broken in (content[:-500], content[:-9] + bytes([content[-9] ^ 1]) + content[-8:], b""):
        array.write_bytes(broken)
        assert [load_and_count(), load_and_count()] == [2, 0]
    (entry / "meta.json").write_text("{")
    assert [load_and_count(), load_and_count()] == [2, 0]
    (entry / "test_labels.npy").unlink()
    assert [load_and_count(), load_and_count()] == [2, 0]
    later = time.time() + 5
    os.utime(tmp_path / "cifar10" / "train.parquet", (later, later))
    assert [load_and_count(), load_and_count()] == [2, 0]


def test_a_cache_that_cannot_be_written_costs_a_warning(
    files: SimpleNamespace, tmp_path: Path, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.cifar(tmp_path / "cifar10")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    alone.mkdir()
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.warns(UserWarning, match=r"no cache .*decoded: its disk is read-only; set DEFENSELIB_CACHE"):
        assert len(load_dataset("cifar10", root=tmp_path).train) == 20


def test_a_cache_that_is_a_file_is_refused(
    files: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.cifar(tmp_path / "cifar10")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DEFENSELIB_CACHE", str(tmp_path / "file"))
    with pytest.raises(FolderError, match=r"DEFENSELIB_CACHE is .*file', which is a file"):
        load_dataset("cifar10", root=tmp_path)


def test_without_a_home_nothing_is_kept(
    files: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.cifar(tmp_path / "cifar10")

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setenv("DEFENSELIB_CACHE", "")
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.warns(UserWarning, match=r"no cache .*no home folder .*set DEFENSELIB_CACHE"):
        assert len(load_dataset("cifar10", root=tmp_path).train) == 20
