"""Damaged and odd files in a store: named in one line, set aside where they can be made again, never in the way."""

from __future__ import annotations

import json
import math
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from defenselib.errors import DataError
from defenselib.experiments import Result, Store

from .test_store import make_result

KEY = "0123456789abcdef"
GOOD = "f" * 16


def replaced(content: bytes, **changes: Any) -> bytes:
    return json.dumps(json.loads(content) | changes).encode()


def without(content: bytes, name: str) -> bytes:
    return json.dumps({key: value for key, value in json.loads(content).items() if key != name}).encode()


# What becomes of a result's JSON -> what the error says beside the file's name.
RESULTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda c: b"", "Expecting value"),
    "cut": (lambda c: c[: len(c) // 2], "Expecting|Unterminated"),
    "garbage": (lambda c: b"\x00\x01\x02", "Expecting"),
    "not UTF-8": (lambda c: b"\xff\xfe" + c, "utf-8"),
    "nested": (lambda c: b"[" * 200_000, "recursion|nested"),
    "no table": (lambda c: b"[1, 2]", "no table"),
    "another format": (lambda c: replaced(c, format=99), "'format' is 99"),
    "infinite": (lambda c: c.replace(b'"acc": 90.0', b'"acc": 1e999'), "'acc': inf is no number"),
    "NaN": (lambda c: c.replace(b'"acc": 90.0', b'"acc": NaN'), "NaN is no number"),
    "huge": (lambda c: c.replace(b'"acc": 90.0', b'"acc": 1' + b"0" * 400), "'acc': 1000"),
    "too many digits": (lambda c: c.replace(b'"acc": 90.0', b'"acc": 1' + b"0" * 9000), "digits|Exceeds"),
    "above 100": (lambda c: replaced(c, acc=101), "'acc': 101 is no percentage"),
    "text for a number": (lambda c: replaced(c, asr="3"), "'asr'"),
    "true for a number": (lambda c: replaced(c, seconds=True), "'seconds'"),
    "negative count": (lambda c: replaced(c, poisoned_count=-1), "'poisoned_count'"),
    "no experiment": (lambda c: without(c, "experiment"), "'experiment' is missing"),
    "experiment without attack": (lambda c: replaced(c, experiment={"defense": "none"}), "'experiment'.*'dataset'"),
    "no history": (lambda c: without(c, "history"), "'history' is missing"),
    "history of another shape": (lambda c: replaced(c, history={"a": 1}), "'history'"),
    "history without epochs": (lambda c: replaced(c, history=[{"stage": "train", "acc": 1}]), "'history'.*'epoch'"),
    "history of texts": (lambda c: replaced(c, history=[{"stage": "t", "epoch": 0, "acc": "x"}]), "'history': 'acc'"),
    "classes of another type": (lambda c: replaced(c, per_class=5), "'per_class'"),
    "metrics nested": (lambda c: replaced(c, metrics={"a": {"b": 1}}), "'metrics': 'a'"),
    "unknown field": (lambda c: replaced(c, accc=1), "'accc' is not known"),
    "stem that climbs": (lambda c: replaced(c, stem=f"../../evil-{KEY}"), "'stem'"),
    "stem of another hash": (lambda c: replaced(c, stem=f"a-{GOOD}"), "'stem'"),
    "profile that climbs": (lambda c: replaced(c, profile=".."), "'profile'"),
    "hash of words": (lambda c: replaced(c, hash="../../../etc/pass"), "'hash'"),
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path)
    made.put(make_result(GOOD, acc=10.0))
    return made


@pytest.mark.parametrize("damage", RESULTS)
def test_a_damaged_result_is_named_with_its_field_and_hides_no_other(damage: str, store: Store) -> None:
    path = store.put(make_result()).path
    assert path is not None and store.damaged() == []
    change, message = RESULTS[damage]
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match=f"{KEY}.json.*({message})") as error:
        store.get(KEY)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500
    assert [result.hash for result in store.results()] == [GOOD]
    assert store.damaged() == [str(error.value)]


def test_a_folder_and_a_link_to_nothing_in_the_place_of_a_result(store: Store) -> None:
    path = store.put(make_result()).path
    assert path is not None
    path.unlink()
    for make, message in ((path.mkdir, "cannot be read"), (lambda: path.symlink_to("nowhere"), "a link to nothing")):
        make()
        with pytest.raises(DataError, match=message):
            store.get(KEY)
        assert [result.hash for result in store.results()] == [GOOD] and len(store.damaged()) == 1
        path.rmdir() if path.is_dir() else path.unlink()
        assert store.get(KEY) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from([*json.loads(make_result().to_json()), "other"])


@pytest.mark.slow
@given(changes=st.dictionaries(FIELDS, JSON, max_size=3), lost=st.sets(FIELDS, max_size=1))
@settings(max_examples=200)
def test_any_field_of_any_value_is_a_result_or_our_error(changes: dict[str, Any], lost: set[str]) -> None:
    content = json.loads(make_result().to_json()) | changes
    text = json.dumps({key: value for key, value in content.items() if key not in lost})
    try:
        result = Result.from_json(text, Path("x.json"))
    except DataError as error:
        assert str(error).startswith("x.json is no result of this library: ")
    else:
        assert Result.from_json(result.to_json(), Path("x.json")).to_json() == result.to_json()
        assert math.isnan(result.acc) or 0 <= result.acc <= 100
        assert all(set(row) >= {"stage", "epoch"} for row in result.history)


@given(text=st.text(max_size=30) | st.binary(max_size=30).map(lambda b: b.decode("latin-1")))
@settings(max_examples=100)
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"x\.json"):
        Result.from_json(text, Path("x.json"))


def archive_of(path: Path, member: str, content: bytes) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(member, content)


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0x55
    path.write_bytes(content)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("evil",))


FILES: dict[str, Callable[[Path], Any]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-60]),
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(bytes(range(256)) * 9),
    "flipped": flipped,
    "pickle": lambda path: path.write_bytes(pickle.dumps(Evil())),
    "folder": lambda path: (path.unlink(), path.mkdir()),
}
HEADER = b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999,)}"
ARRAYS = FILES | {
    "a single array": lambda path: path.write_bytes(b"\x93NUMPY" + bytes(200)),
    "pickled inside": lambda path: archive_of(path, "a.npy", pickle.dumps(Evil())),
    "objects": lambda path: np.savez(path, a=np.array([Evil()], dtype=object)),
    "more than there is": lambda path: archive_of(path, "a.npy", b"\x93NUMPY\x01\x00v\x00" + HEADER.ljust(117) + b"\n"),
}


@pytest.mark.parametrize("damage", ARRAYS)
def test_damaged_arrays_are_named(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store(tmp_path / "store")
    result = store.put(make_result(), {"a": np.random.default_rng(0).random(500)})
    assert result.path is not None and len(result.arrays["a"]) == 500
    file = result.path.with_suffix(".npz")
    ARRAYS[damage](file)
    found = store.get(KEY)
    assert found is not None
    with pytest.raises(DataError, match=rf"{KEY}\.npz is no file of arrays"):
        found.arrays  # noqa: B018
    with pytest.raises(DataError, match=r"\.npz"):
        store.keep(KEY, Store(tmp_path / "other"))
    assert not (tmp_path / "evil").exists()


def test_missing_arrays_say_so_where_they_are_needed(tmp_path: Path) -> None:
    result = Store(tmp_path).put(make_result(), {"a": np.zeros(3)})
    assert result.path is not None and result.arrays.get("b") is None
    with pytest.raises(DataError, match=r"\.npz holds no array 'b'"):
        result.arrays["b"]
    result.path.with_suffix(".npz").unlink()
    again = Store(tmp_path).get(KEY)
    assert again is not None and "a" not in again.arrays
    with pytest.raises(DataError, match=rf"array 'a' is missing: there is no .*{KEY}\.npz"):
        again.arrays["a"]
    with pytest.raises(DataError, match="no file of arrays"):
        make_result().arrays["a"]


STATE = {"weight": torch.rand(8, 3, 3, 3), "steps": torch.tensor(3)}
TENSORS = FILES | {
    "another checksum": lambda path: save_file(STATE, path, {"checksum": "00000000", "about": "null"}),
    "header too long": lambda path: path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:]),
    "bit of a weight": lambda path: path.write_bytes(path.read_bytes()[:-5] + b"\x00" + path.read_bytes()[-4:]),
}


@pytest.mark.parametrize("damage", TENSORS)
def test_damaged_models_and_stages_are_set_aside_and_made_anew(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store(tmp_path / "store")
    path = store.save_model(KEY, STATE)
    TENSORS[damage](path)
    with pytest.warns(UserWarning, match=rf"{KEY}\.safetensors is damaged .* set aside as {KEY}.*damaged"):
        assert store.load_model(KEY) is None
    assert store.load_model(KEY) is None  # said once
    store.save_model(KEY, STATE)
    assert store.load_model(KEY) is not None

    stage = f"surrogate-{KEY}"
    store.cached(stage, lambda: dict(STATE))
    TENSORS[damage](store.root / "cache" / f"{stage}.safetensors")
    with pytest.warns(UserWarning, match=rf"{stage}\.safetensors is damaged"):
        again = store.cached(stage, lambda: {"new": torch.ones(1)})
    assert set(again) == {"new"} and set(store.cached(stage, dict)) == {"new"}
    assert not (tmp_path / "evil").exists()


def test_a_damaged_model_of_a_committed_store_is_passed_over_and_stays(tmp_path: Path) -> None:
    committed = Store(tmp_path / "committed").save_model(KEY, STATE)
    committed.write_bytes(b"")
    with pytest.warns(UserWarning, match="passed over"):
        assert Store(tmp_path / "own", also=[tmp_path / "committed"]).load_model(KEY) is None
    assert committed.exists()


def test_files_without_a_checksum_are_read(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    save_file(STATE, tmp_path / "models" / f"{KEY}.safetensors")
    found = Store(tmp_path).load_model(KEY)
    assert found is not None and torch.equal(found["weight"], STATE["weight"])
