"""Runs that are killed again and again end with the numbers of one that nobody disturbed, in a store that is sound."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from defenselib.experiments import Experiment, Store
from defenselib.experiments.experiment import as_dict
from defenselib.experiments.leftovers import leftovers, remove
from defenselib.experiments.shared import SECONDS

from ..same import assert_same

# Those of the papers that train from the beginning, and the baselines that they compare themselves with.
NINE = ("asd", "bsd", "vab", "dst", "aabl", "abl", "dbd", "cbd", "adv-train")
# Checkpoints in stages, in shared stages, and with pools: as short as they can be.
SHORT: dict[str, dict[str, Any]] = {
    "asd": {"iterations": 2, "stage1_end": 1, "stage2_end": 2, "epochs": 4},
    "abl": {"isolation_epochs": 2, "finetuning_epochs": 2, "unlearning_epochs": 1},
    "dbd": {"simclr_epochs": 2, "linear_epochs": 1, "epochs": 2, "iterations": 2},
}


def check_killed(cells: list[Experiment], folder: Path, kills: int, seed: int) -> list[str]:
    """Kill runs of `cells` so often, compare what they end with; what was killed, and where."""
    job = {"cells": [json.dumps(as_dict(cell)) for cell in cells], "folder": str(folder), "kills": kills, "seed": seed}
    program = Path(__file__).with_name("killer.py")
    # What it says of each kill is shown as it comes where pytest captures nothing.
    done = subprocess.run([sys.executable, program], input=json.dumps(job), stdout=-1, text=True, check=False)
    assert done.returncode == 0
    report = json.loads(done.stdout)
    whole, *killed = (Store(root) for root in report["stores"])
    expected = _files(whole.root)
    for store in killed:
        for cell in cells:
            assert_same(store, whole, cell.resolve().hash)
        # Temporary files and checkpoints of what is finished by now are all that may be left.
        found = leftovers(store, age=0)
        assert {item.kind for item in found} <= {"temporary file", "checkpoints of a finished cell"}
        remove(found)
        assert _files(store.root) == expected
        for path in (store.root / "cache").glob("*"):
            _assert_same_stage(path, whole.root / "cache" / path.name)
    assert len(report["log"]) == kills
    return list(report["log"])


def _files(root: Path) -> set[str]:
    listed = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return {str(path) for path in listed if path.parts[0] != "locks"}


def _assert_same_stage(path: Path, other: Path) -> None:
    from defenselib import tensor_files

    one, two = tensor_files.load(path)[0], tensor_files.load(other)[0]
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one if name != SECONDS), path.name


@pytest.mark.slow
def test_six_kills(tmp_path: Path) -> None:
    cells = [Experiment("shapes", defense=name, defense_args=how) for name, how in SHORT.items()]
    killed = check_killed(cells, tmp_path, 6, seed=3)
    assert {line.split()[0] for line in killed} == set(SHORT)


@pytest.mark.demo
def test_fifty_kills_over_all_defenses_that_train(tmp_path: Path) -> None:
    killed = check_killed([Experiment("shapes", defense=name) for name in NINE], tmp_path, 50, seed=0)
    assert {line.split()[0] for line in killed} == set(NINE)
    assert {line.split()[1] for line in killed} == {"after", "at"}
