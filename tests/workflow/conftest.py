"""`defenselib batch` as a fixture, and the cells that its tests run: seconds each."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from defenselib.errors import DefenseLibError
from defenselib.experiments import Experiment, Store
from defenselib.experiments.experiment import as_dict
from defenselib.papers.planned import Plan, Planned
from defenselib.workflow.engine import snakemake

PATIENCE = 1800.0  # seconds; a machine may be busy with other things


def tiny(seed: int = 0, epochs: int = 1, **fields: object) -> Experiment:
    """A cell of drawn shapes without defense."""
    return Experiment("shapes", seed=seed, defense_args={"epochs": epochs}, **fields)  # type: ignore[arg-type]


def planned(experiment: Experiment, *exhibits: str, retrain: bool = False) -> Planned:
    resolved = experiment.resolve()
    below = None if resolved.upstream is None else resolved.upstream.hash
    fields = as_dict(experiment.replace(source=resolved.source))
    return Planned(fields, resolved.hash, resolved.stem, retrain, below, {}, 5.0, exhibits=exhibits, retrain=retrain)


@dataclass
class Batch:
    """`defenselib batch` of a plan, with its own store and folder."""

    root: Path

    @property
    def store(self) -> Store:
        return Store(self.root / "store")

    @property
    def folder(self) -> Path:
        return self.root / "batch"

    def line(self, cells: Iterable[Experiment | Planned], *options: str) -> list[str]:
        """The command line, its plan written."""
        listed = (one if isinstance(one, Planned) else planned(one) for one in cells)
        plan = Plan(tuple(listed)).write(self.root / "plan.json")
        return [sys.executable, "-m", "defenselib", "batch", str(plan), "--folder", str(self.folder), *options]

    def __call__(self, cells: Iterable[Experiment | Planned], *options: str) -> subprocess.CompletedProcess[str]:
        line = self.line(cells, *options)
        return subprocess.run(line, capture_output=True, text=True, check=False, timeout=PATIENCE)

    def said(self, done: subprocess.CompletedProcess[str]) -> str:
        """What a batch printed, and its cells."""
        logs = (path.read_text() for path in sorted((self.folder / "logs").rglob("*.log")))
        return "\n".join([done.stdout, done.stderr, *logs])


@pytest.fixture
def batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Batch:
    """Skips where there is no Snakemake; in CI it has to be there."""
    try:
        snakemake()
    except DefenseLibError as error:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(str(error))
    monkeypatch.setenv("DEFENSELIB_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("DEFENSELIB_CACHE", str(tmp_path / "cache"))
    return Batch(tmp_path)


@pytest.fixture
def stand_in(tmp_path: Path) -> Callable[[str], str]:
    """stand_in(code): the setting with which the jobs train by the `run` of `code`; all else is the library's."""

    def make(code: str) -> str:
        path = tmp_path / "python"
        path.write_text(f"#!{sys.executable}\n{HEAD}{code}{TAIL}")
        path.chmod(0o755)
        return f"python={path}"

    return make


HEAD = """import os, sys, time
from pathlib import Path
import defenselib.experiments
from defenselib.experiments import Store, default_stores
"""
TAIL = """
defenselib.experiments.run = run
from defenselib.cli import app
app(sys.argv[3:])
"""
