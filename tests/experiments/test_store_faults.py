"""Keys, disks, locks and look-ups of a store: nothing outside it, one line where it cannot be written."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from defenselib.errors import FolderError, InvalidValueError
from defenselib.experiments import Experiment, Result, Store, default_stores, index, run
from defenselib.experiments.leftovers import leftovers, outdated, remove

from .test_damage import FILES, GOOD, KEY, STATE
from .test_store import make_result

WRONG_KEYS = [
    *("../../evil", "/abs", "", "..", "models/x", "surrogate", "0123456789ABCDEF", "0" * 15),
    *(f"{KEY}\n", f"a/b-{KEY}", f"x\0-{KEY}", f"{'n' * 41}-{KEY}"),
]


@pytest.mark.parametrize("key", WRONG_KEYS)
def test_a_key_that_is_none_reaches_no_path(key: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    uses: list[Callable[[], Any]] = [
        lambda: store.get(key),
        lambda: store.lock(key),
        lambda: store.save_model(key, STATE),
        lambda: store.load_model(key),
        lambda: store.cached(key, dict),
        lambda: store.checkpoints(key),
        lambda: store.keep(key, store),
        lambda: store.put(make_result(hash=key, stem=f"../{key}")),
    ]
    for use in uses:
        with pytest.raises(InvalidValueError, match=r"16 hexadecimal digits|must be a file's name"):
            use()
    assert list(tmp_path.iterdir()) in ([], [tmp_path / "store"])
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("name", ["..", "models", "cache", "a/b", "", ".x", "n" * 65])
def test_a_profile_that_is_no_folder_of_results_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="profile name"):
        Store(tmp_path).put(make_result(profile=name))


@pytest.mark.parametrize(
    ("code", "reason"), [(errno.ENOSPC, "no space is left"), (errno.EROFS, "read-only"), (errno.EDQUOT, "quota")]
)
def test_a_full_or_read_only_disk_is_said_with_path_and_variable(
    code: int, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    store = Store(tmp_path)
    resolved = SimpleNamespace(profile="smoke", stem=f"x-{KEY}", hash=KEY)
    with monkeypatch.context() as patch:
        patch.setattr("tempfile.mkstemp", refuse)
        for use in (
            lambda: store.put(make_result()),
            lambda: store.save_model(KEY, STATE),
            lambda: store.cached(KEY, lambda: dict(STATE)),
            lambda: store.reserve(resolved),  # type: ignore[arg-type]
        ):
            with pytest.raises(FolderError, match=rf"cannot write {tmp_path}.*{reason}.*DEFENSELIB_STORE"):
                use()
    assert not list(tmp_path.rglob("*.json")) and not list(tmp_path.rglob("*.tmp"))
    store.reserve(resolved)  # type: ignore[arg-type]
    assert not list((tmp_path / "smoke").iterdir())


def test_a_disk_that_fills_while_tensors_are_written(tmp_path: Path) -> None:
    """By a limit on the size of files: safetensors tells of it in its own words."""
    store, before = Store(tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)
    store.save_model(KEY, STATE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(FolderError, match=rf"cannot write .*{KEY}\.safetensors: files may not become that large"):
            store.save_model(KEY, {"weight": torch.rand(50_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    found = store.load_model(KEY)
    assert found is not None and torch.equal(found["weight"], STATE["weight"])
    assert [path.name for path in (tmp_path / "models").iterdir()] == [f"{KEY}.safetensors"]


def test_a_name_that_is_too_long_is_refused_before_work(tmp_path: Path) -> None:
    resolved = SimpleNamespace(profile="smoke", stem=f"{'n' * 260}-{KEY}", hash=KEY)
    with pytest.raises(FolderError, match="the name is too long"):
        Store(tmp_path).reserve(resolved)  # type: ignore[arg-type]
    longest = make_result(stem=f"{'n' * 230}-{KEY}")
    assert Store(tmp_path).put(longest, {"a": np.zeros(1)}).path is not None


def test_a_store_that_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match="a part of the path is a file"):
        Store(tmp_path / "file").put(make_result())
    assert list(Store(tmp_path / "file").results()) == [] and Store(tmp_path / "file").get(KEY) is None
    for name in ("DEFENSELIB_STORE", "DEFENSELIB_RESULTS"):
        with monkeypatch.context() as patch:
            patch.setenv(name, str(tmp_path / "file"))
            with pytest.raises(FolderError, match=f"{name} is .*file', which is a file; set it to a folder"):
                default_stores()


def test_the_index_sees_what_other_processes_do(tmp_path: Path) -> None:
    ours, theirs = Store(tmp_path), Store(tmp_path)
    code = (
        "import sys, pathlib; p = pathlib.Path(sys.argv[1]); p.parent.mkdir(exist_ok=True); p.write_text(sys.argv[2])"
    )
    for number in range(20):
        key, profile = f"{number:016x}", f"profile{number % 3}"
        assert ours.get(key) is None
        result = make_result(key, profile)
        if number % 5:
            theirs.put(result)
        else:
            path = tmp_path / profile / f"{result.stem}.json"
            subprocess.run([sys.executable, "-c", code, path, result.to_json()], check=True)
        found = ours.get(key)
        assert found is not None and found.path is not None
        assert len(list(ours.results())) == number + 1
    found.path.unlink()
    assert ours.get(key) is None and len(list(ours.results())) == 19


def test_a_settled_folder_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.put(make_result())
    past = time.time() - 60
    for folder in (tmp_path, tmp_path / "laptop"):
        os.utime(folder, (past, past))
    listed: list[object] = []
    monkeypatch.setattr(index.os, "listdir", lambda folder, real=os.listdir: listed.append(folder) or real(folder))
    for _ in range(3):
        assert store.get(KEY) is not None and Store(tmp_path).get(GOOD) is None
    assert len(listed) == 1
    store.put(make_result(GOOD))
    assert store.get(GOOD) is not None and len(listed) >= 2


def test_waiting_for_another_process_is_said(tmp_path: Path) -> None:
    code = "import sys; from defenselib.experiments import Store\nwith Store(sys.argv[1]).lock(sys.argv[2]): print(1)"
    with Store(tmp_path).lock(KEY):
        other = subprocess.Popen([sys.executable, "-c", code, tmp_path, KEY], stdout=-1, stderr=-1, text=True)
        assert other.stderr is not None
        said = other.stderr.readline()
        assert other.poll() is None
    assert other.communicate(timeout=60) == ("1\n", "")
    assert said == f"waiting for another process at {KEY} ({tmp_path}/locks/{KEY}.lock)\n"


def test_leftovers_are_found_and_removed_and_nothing_else(tmp_path: Path) -> None:
    store, cache = Store(tmp_path / "store"), tmp_path / "cache"
    store.put(make_result(), {"a": np.zeros(2)})
    store.save_model(KEY, STATE)
    other = "1" * 16
    kept = {path for path in tmp_path.rglob("*") if path.is_file()}
    for name in (f"checkpoints/{other}/cpu/defense/a.safetensors", f"locks/{KEY}.lock", f"cache/iab-{KEY}.safetensors"):
        (store.root / name).parent.mkdir(parents=True, exist_ok=True)
        (store.root / name).write_bytes(b"12345")
        kept.add(store.root / name)
    gone = {
        f"store/laptop/.x-{KEY}.json.abc.tmp": "temporary file",
        f"store/models/{other}.safetensors": "model without a result",
        f"store/models/{KEY}.safetensors.damaged": "damaged file",
        f"store/checkpoints/{KEY}/cpu/defense/a.safetensors": "checkpoints of a finished cell",
        f"store/checkpoints/{other}/cpu/attack/a.safetensors.damaged-2": "damaged file",
        "cache/decoded/x-1.partial/train_images.npy": "half-made cache entry",
    }
    for name in gone:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1234567")
    assert leftovers(store, cache) == []  # all too young
    found = leftovers(store, cache, age=0)
    assert sorted(item.kind for item in found) == sorted(gone.values()) and {item.size for item in found} == {7}
    assert remove(found) == 7 * len(gone)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == kept and leftovers(store, cache, age=0) == []


def test_what_older_code_made_goes_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    committed = Store(tmp_path / "committed")
    committed.put(make_result())
    store = Store(tmp_path / "store", also=[committed.root])
    (store.root / "cache").mkdir(parents=True)
    stage = store.root / "cache" / f"iab-{KEY}.safetensors"
    stage.write_bytes(b"12345")
    monkeypatch.setattr(Result, "made_by_current_code", lambda self: True)
    store.put(make_result(), {"a": np.zeros(2)})
    store.save_model(KEY, STATE)
    unfinished = store.checkpoints("1" * 16) / "cpu-0" / "train.safetensors"
    unfinished.parent.mkdir(parents=True)
    unfinished.write_bytes(b"123")
    assert outdated(store) == [], "another process may be at work on it"
    assert [item.kind for item in outdated(store, age=0)] == ["checkpoints"]
    monkeypatch.setattr(Result, "made_by_current_code", lambda self: False)
    found = outdated(store)
    assert sorted(item.kind for item in found) == [
        "model of older code", "result of older code", "result of older code", "shared stage beside older code"
    ]  # fmt: skip
    remove(found)
    assert not stage.exists() and store.get(KEY) is not None, "the committed one stays"
    assert list(Store(store.root).results()) == []


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["empty", "cut", "folder"])
def test_a_damaged_checkpoint_never_blocks_a_run(damage: str, tmp_path: Path) -> None:
    experiment = Experiment(defense_args={"epochs": 2})
    whole = run(experiment, Store(tmp_path / "whole"), device="cpu", progress=False)
    store = Store(tmp_path / "store")
    key = experiment.resolve().hash

    def die(event: str, **_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("defenselib.experiments.cell.evaluate", die)
        with pytest.raises(BaseException):  # noqa: B017
            run(experiment, store, device="cpu", progress=False, checkpoint_every=0)
    (checkpoint,) = store.checkpoints(key).rglob("*.safetensors")
    FILES[damage](checkpoint)
    with pytest.warns(UserWarning, match=r"cannot be used .* starts anew"):
        again = run(experiment, store, device="cpu", progress=False)
    assert (again.acc, again.asr, again.history) == (whole.acc, whole.asr, whole.history)
