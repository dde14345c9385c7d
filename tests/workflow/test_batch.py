"""Batches: Snakemake runs the cells of a plan, one job each, as plain runs would; a killed one is tried again."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from defenselib.errors import InvalidValueError
from defenselib.experiments import Experiment, Result, Store, run
from defenselib.experiments.written import as_dict
from defenselib.papers.planned import Plan, Planned
from defenselib.workflow.engine import Batch
from defenselib.workflow.slots import pinned

from . import loopback

HAS_SNAKEMAKE = shutil.which("snakemake") is not None
needs_snakemake = pytest.mark.skipif(not HAS_SNAKEMAKE, reason="no Snakemake here: pip install 'defenselib[batch]'")
TINY = {"dataset": "shapes", "defense_args": {"epochs": 1}}
CELLS = (
    Experiment(**TINY),
    Experiment(**TINY, seed=1),
    Experiment(**TINY, attack="blend", paper="asd"),
    Experiment(**{**TINY, "defense_args": {"epochs": 2}}, attack_args={"preset": "bsd"}),
)


def planned(experiment: Experiment) -> Planned:
    resolved = experiment.resolve()
    below = None if resolved.upstream is None else resolved.upstream.hash
    fields = as_dict(experiment.replace(source=resolved.source))
    return Planned(fields, resolved.hash, resolved.stem, False, below, (), 5.0)


def same(one: Result, other: Result) -> bool:
    """Whether two results hold the same numbers: everything but times, places and machines."""
    timed = {"seconds", "stages", "cpu_seconds", "observer_seconds", "created", "peak_memory_mb", "machine", "versions"}
    first, second = (json.loads(result.to_json()) for result in (one, other))
    arrays = one.arrays.keys() == other.arrays.keys()
    arrays = arrays and all((one.arrays[name] == other.arrays[name]).all() for name in one.arrays)
    return arrays and all(first[name] == second[name] for name in first if name not in timed)


@pytest.fixture
def batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., subprocess.CompletedProcess[str]]:
    """batch(cells, *options): `defenselib batch` of a plan of these cells, into the store `tmp_path / "store"`."""
    monkeypatch.setenv("DEFENSELIB_STORE", str(tmp_path / "store"))

    def call(cells: tuple[Experiment, ...], *options: str) -> subprocess.CompletedProcess[str]:
        plan = Plan(tuple(map(planned, cells))).write(tmp_path / "plan.json")
        line = [sys.executable, "-m", "defenselib", "batch", str(plan), "--folder", str(tmp_path / "batch"), *options]
        return subprocess.run(line, capture_output=True, text=True, check=False, timeout=900)

    return call


def logs(folder: Path) -> str:
    return "\n".join(path.read_text() for path in sorted((folder / "batch" / "logs").rglob("*.log")))


@needs_snakemake
@pytest.mark.slow
def test_cells_over_two_jobs_equal_plain_runs_and_are_not_run_again(
    batch: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = batch(CELLS, "-j", "2")
    assert done.returncode == 0, done.stderr + logs(tmp_path)
    store, plain = Store(tmp_path / "store"), Store(tmp_path / "plain")
    for experiment in CELLS:
        found = store.get(experiment.resolve())
        assert found is not None and same(found, run(experiment, plain, device="cpu", progress=False))
    again = batch(CELLS, "-j", "2")
    assert again.returncode == 0 and "Nothing to be done" in again.stderr


# Runs the library, but kills it as it saves its first checkpoint, once for each folder of marks.
DEADLY = """#!/bin/bash
mkdir "{marks}" 2>/dev/null || exec "{python}" "$@"
"{python}" "$@" & child=$!
while kill -0 $child 2>/dev/null && ! ls -d "{store}"/checkpoints/*/*/defense >/dev/null 2>&1; do sleep 0.05; done
kill -9 $child
wait $child
"""


@needs_snakemake
@pytest.mark.slow
def test_a_killed_cell_is_tried_again_and_ends_as_if_nothing_had_been(
    batch: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFENSELIB_CHECKPOINT_EVERY", "0")
    cell = Experiment(**{**TINY, "defense_args": {"epochs": 4}})
    deadly = tmp_path / "python"
    deadly.write_text(DEADLY.format(marks=tmp_path / "marks", python=sys.executable, store=tmp_path / "store"))
    deadly.chmod(0o755)
    once = batch((cell,), "--retries", "0", "--", "--config", f"python={deadly}")
    assert once.returncode == 1 and "error" not in once.stdout.lower()
    assert Store(tmp_path / "store").get(cell.resolve()) is None
    (tmp_path / "marks").rmdir()
    shutil.rmtree(tmp_path / "store" / "checkpoints")
    done = batch((cell,), "--retries", "1", "--", "--config", f"python={deadly}")
    assert done.returncode == 0, done.stderr + logs(tmp_path)
    assert (tmp_path / "marks").is_dir(), "it was killed"
    found = Store(tmp_path / "store").get(cell.resolve())
    assert found is not None and same(found, run(cell, tmp_path / "plain", device="cpu", progress=False))


@needs_snakemake
def test_a_result_from_elsewhere_is_kept_where_snakemake_thinks_it_incomplete(
    batch: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    # What a killed Snakemake leaves: a mark that the job was at work, while its child went on and finished.
    cell = CELLS[0]
    result = run(cell, tmp_path / "store", device="cpu", progress=False)
    assert result.path is not None
    before = result.path.stat().st_mtime_ns, result.path.read_bytes()
    marks = tmp_path / "batch" / ".snakemake" / "incomplete"
    marks.mkdir(parents=True)
    (marks / base64.b64encode(str(result.path).encode()).decode()).touch()
    done = batch((cell,))
    assert done.returncode == 0, done.stderr + logs(tmp_path)
    assert "incomplete" in done.stderr.lower(), "it saw the mark"
    assert result.path.read_bytes() == before[1]


def test_the_command_of_each_place(tmp_path: Path) -> None:
    def command(**more: object) -> str:
        made = Batch(tmp_path / "plan.json", tmp_path / "store", tmp_path, **more)  # type: ignore[arg-type]
        return " ".join(made.command())

    assert command(jobs=2).endswith("--cores 2")
    # Two cells on each of three GPUs: six slots, and every job takes one.
    gpus = Batch(tmp_path / "plan.json", tmp_path, tmp_path, jobs=6, gpus=(0, 1, 3), per_gpu=2)
    assert "--resources gpu=6" in " ".join(gpus.command())
    assert gpus.settings()["gpu"] == 1 and gpus.settings()["run_cell"] == "--gpus 0,1,3 --per-gpu 2"
    slurm = command(slurm=True, jobs=8, partition="short")
    assert "--executor slurm --jobs 8" in slurm and "slurm_partition=short" in slurm
    assert "--slurm-no-account" in slurm and "--slurm-no-account" not in command(slurm=True, account="lab")
    with pytest.raises(InvalidValueError, match="gpus"):
        Batch(tmp_path, tmp_path, tmp_path, slurm=True, gpus=(0,))


def test_cells_share_gpus_evenly_and_a_freed_slot_is_taken_again(tmp_path: Path) -> None:
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    with ExitStack() as stack:
        taken = [stack.enter_context(pinned((2, 5), 2, tmp_path)) for _ in range(4)]
        assert sorted(taken[:2]) == [2, 5] and sorted(taken) == [2, 2, 5, 5]
        assert os.environ["CUDA_VISIBLE_DEVICES"] == str(taken[-1])
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == before
    with suppress(KeyError), pinned((2, 5), 1, tmp_path) as gpu:
        assert gpu == 2
        raise KeyError
    with pinned((2,), 1, tmp_path) as gpu:
        assert gpu == 2, "freed by what failed"


@needs_snakemake
@pytest.mark.slurm
@pytest.mark.slow
def test_cells_over_two_slurm_nodes_equal_plain_runs(
    batch: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    reason = loopback.missing()
    if reason:
        pytest.skip(reason)
    cells = CELLS[:2]
    with loopback.cluster(tmp_path / "slurm") as partition:
        done = batch(cells, "--slurm", "--partition", partition, "-j", "2")
    assert done.returncode == 0, done.stderr + logs(tmp_path)
    for experiment in cells:
        found = Store(tmp_path / "store").get(experiment.resolve())
        assert found is not None and same(found, run(experiment, tmp_path / "plain", device="cpu", progress=False))
