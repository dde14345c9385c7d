"""What the largest plan takes of memory, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from defenselib.experiments import Experiment, Store

from .made import made

PROFILES = ("smoke", "demo", "laptop", "gpu", "paper")
RESULTS, LIMIT = 10_000, 1e9  # bytes
CODE = """
import sys
from defenselib.cli import app
from defenselib.experiments.provenance import process_peak

try:
    app([*sys.argv[1:]])
except SystemExit as end:
    assert end.code in (0, None), end.code
print(process_peak())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak is told in another unit")
def test_all_papers_profiles_and_five_seeds_beside_ten_thousand_results_stay_below_a_gigabyte(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    resolved = Experiment(paper="asd", profile="laptop", dataset="shapes").resolve()
    one = made(resolved, 90.0, 1.0, seconds=60.0)
    for number in range(RESULTS):
        key = f"{number:016x}"
        store.put(replace(one, hash=key, stem=f"{one.stem[:-16]}{key}"))
    folders = {f"DEFENSELIB_{name}": str(tmp_path / name.lower()) for name in ("STORE", "CACHE", "DATA")}
    asked = [f"--profile={name}" for name in PROFILES] + ["--paper=all", "--seeds=0..4", "--rows=0"]
    told = subprocess.run(
        [sys.executable, "-c", CODE, "plan", *asked], capture_output=True, text=True, env={**os.environ, **folders}
    )
    assert told.returncode == 0, told.stderr
    assert all(name in told.stdout for name in PROFILES)
    assert int(told.stdout.split()[-1]) < LIMIT
