"""Results survive: atomic writes, one computation for two processes, lookup by hash."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from defenselib.errors import DataError, DefenseLibError
from defenselib.experiments import Result, Store, default_stores, keep, results_folder
from defenselib.experiments.code_digest import code_of
from defenselib.experiments.store import atomic

EXPERIMENT = {
    "dataset": "cifar10", "asked": "cifar10", "source": "cifar10-jpeg", "seed": 0,
    "attack": "badnets", "defense": "none", "diagnostic": None,
    "model": "resnet18", "measure": ["acc", "asr"], "upstream": None,
}  # fmt: skip


def make_result(key: str = "0123456789abcdef", profile: str = "laptop", **changes: Any) -> Result:
    fields: dict[str, Any] = {
        "experiment": EXPERIMENT,
        "spec": {},
        "hash": key,
        "profile": profile,
        "acc": 90.0,
        "asr": math.nan,
        "per_class": (90.0, math.nan),
        "history": [{"stage": "train", "epoch": 0, "acc": 10.0}, {"stage": "train", "epoch": 1, "loss": 0.5}],
        "stem": f"cifar10-badnets-none-s0-{key}",
    }
    return Result(**(fields | changes))


def test_what_is_put_is_got(tmp_path: Path) -> None:
    store = Store(tmp_path)
    written = store.put(make_result(), {"scores/loss/1": np.arange(4, dtype=np.float16)})
    assert written.path == tmp_path / "laptop" / "cifar10-badnets-none-s0-0123456789abcdef.json"
    found = store.get("0123456789abcdef")
    assert found is not None and found.acc == 90.0 and math.isnan(found.asr) and math.isnan(found.per_class[1])
    assert found.history == written.history
    assert found.arrays["scores/loss/1"].tolist() == [0, 1, 2, 3]
    frame = found.history_frame()
    assert list(frame.columns) == ["stage", "epoch", "acc", "loss"] and math.isnan(frame.loss[0])
    assert store.get("fedcba9876543210") is None
    assert [result.hash for result in store.results()] == ["0123456789abcdef"]
    assert "NaN" not in written.path.read_text()


def test_a_result_without_arrays(tmp_path: Path) -> None:
    assert Store(tmp_path).put(make_result()).arrays == {}


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with atomic(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_arrays_that_cannot_be_written_leave_no_result(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(ValueError, match="pickle"):
        store.put(make_result(), {"bad": np.array([object()])})
    assert store.get("0123456789abcdef") is None
    assert list((tmp_path / "laptop").iterdir()) == []


def test_tables_beside_the_committed_results_are_no_damaged_results(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(make_result())
    for folder in ("trials", "audit"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "bench-cpu.json").write_text("[]")
    assert store.damaged() == [] and len(list(store.results())) == 1


def test_damaged_and_renamed_files_are_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.put(make_result()).path
    assert path is not None
    renamed = path.with_name(path.name.replace("0123456789abcdef", "1111111111111111"))
    path.rename(renamed)
    with pytest.raises(DataError, match="1111111111111111"):
        store.get("1111111111111111")
    for text in ("{", "[]", json.dumps({"format": 99}), json.dumps({"format": 1, "hash": "x"})):
        renamed.write_text(text)
        with pytest.raises(DataError, match="1111111111111111"):
            store.get("1111111111111111")


def test_committed_results_are_read_first_and_never_written(tmp_path: Path) -> None:
    committed = Store(tmp_path / "committed")
    committed.put(make_result(acc=1.0))
    both = Store(tmp_path / "working", also=[committed.root])
    both.put(make_result(acc=2.0))
    both.put(make_result("2222222222222222"))
    found = both.get("0123456789abcdef")
    assert found is not None and found.acc == 1.0
    assert committed.get("2222222222222222") is None
    assert [result.acc for result in both.results()] == [1.0, 90.0]


def test_default_stores_follow_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFENSELIB_STORE", str(tmp_path / "working"))
    monkeypatch.setenv("DEFENSELIB_RESULTS", str(tmp_path / "committed"))
    store = default_stores()
    assert store.root == tmp_path / "working" and store.also == (tmp_path / "committed",)
    # Empty is unset: the repository's own results, where there are any.
    monkeypatch.setenv("DEFENSELIB_RESULTS", "")
    monkeypatch.setenv("DEFENSELIB_STORE", "")
    assert results_folder() is None or results_folder() == Path(__file__).parents[2] / "book" / "results"
    assert default_stores().root == Path.home() / ".cache" / "defenselib" / "results"


def test_keep_promotes_a_result_with_its_arrays_and_without_its_model(tmp_path: Path) -> None:
    working = Store(tmp_path / "working")
    result = working.put(make_result(), {"a": np.ones(3)})
    working.save_model(result.hash, {"weight": torch.ones(2)})
    (kept,) = keep([result], working, tmp_path / "committed")
    assert kept.path == tmp_path / "committed" / "laptop" / f"{result.stem}.json"
    assert kept.arrays["a"].tolist() == [1, 1, 1]
    assert not (tmp_path / "committed" / "models").exists()
    with pytest.raises(DefenseLibError, match="has no result"):
        keep([result, "3333333333333333"], working, tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists(), "none is promoted where one is missing"


@pytest.mark.parametrize(
    ("code", "replace", "acc"), [("today", False, 80.0), ("today", True, 90.0), ("older", False, 90.0)]
)
def test_keep_replaces_a_committed_result_of_todays_code_only_where_asked(
    code: str, replace: bool, acc: float, tmp_path: Path
) -> None:
    working, committed = Store(tmp_path / "working"), Store(tmp_path / "committed")
    today = code_of(EXPERIMENT)
    first = make_result(acc=80.0, code=today if code == "today" else "0" * 16)
    committed.put(first)
    working.put(make_result(acc=90.0, code=today))
    kept = keep([first.hash], working, committed.root, replace=replace)
    assert [result.acc for result in kept] == [acc] * (acc == 90.0)
    assert next(committed.results()).acc == acc


def test_models_come_back_as_they_were(tmp_path: Path) -> None:
    store = Store(tmp_path)
    state = {"conv": torch.rand(2, 3, 3, 3).to(memory_format=torch.channels_last), "steps": torch.tensor(3)}
    store.save_model("abcdef0123456789", state)
    loaded = store.load_model("abcdef0123456789")
    assert loaded is not None and all(torch.equal(loaded[name], state[name]) for name in state)
    assert store.load_model("f" * 16) is None


def test_shared_stages_are_computed_once(tmp_path: Path) -> None:
    calls = []

    def make() -> dict[str, torch.Tensor]:
        calls.append(1)
        return {"x": torch.arange(3)}

    first, second = (Store(tmp_path).cached("surrogate-0123456789abcdef", make) for _ in range(2))
    assert len(calls) == 1 and torch.equal(first["x"], second["x"])


WORKER = """
import sys, time
from pathlib import Path
import defenselib.experiments.runner as runner
from defenselib.experiments import Experiment, Store, run

folder = Path(sys.argv[1])
compute = runner.Cell.compute

def slow(cell, upstream):
    (folder / f"computing-{sys.argv[2]}").touch()
    time.sleep(1.0)
    return compute(cell, upstream)

runner.Cell.compute = slow
(folder / f"ready-{sys.argv[2]}").touch()
while not (folder / "go").exists():
    time.sleep(0.01)
result = run(Experiment(defense_args={"epochs": 1}), Store(folder / "store"), device="cpu", progress=False)
print(result.acc, result.asr, result.created)
"""


@pytest.mark.slow
def test_two_processes_compute_a_cell_once_and_both_have_it(tmp_path: Path) -> None:
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path), name], stdout=subprocess.PIPE, text=True)
        for name in ("a", "b")
    ]
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("ready-*"))) < 2 and time.monotonic() < deadline:
        assert all(worker.poll() is None for worker in workers)
        time.sleep(0.02)
    (tmp_path / "go").touch()
    outputs = [worker.communicate(timeout=120)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert outputs[0] == outputs[1] != ""
    assert len(list(tmp_path.glob("computing-*"))) == 1
