"""Batches: Snakemake runs the cells of a plan, one job each, as plain runs would; a killed one is tried again."""

from __future__ import annotations

import base64
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from defenselib.experiments import Experiment, Store, run
from defenselib.papers.planned import Planned

from ..papers.made import made
from ..same import assert_same
from .conftest import Batch, planned, tiny

pytestmark = pytest.mark.slow


def plain(cell: Experiment, root: Path) -> Store:
    """A store in which a plain run has put the cell."""
    run(cell, root, device="cpu", progress=False)
    return Store(root)


def test_cells_over_two_jobs_equal_plain_runs_and_are_not_run_again(batch: Batch, tmp_path: Path) -> None:
    cells = (tiny(), tiny(attack="blend", paper="asd"), tiny(epochs=2, attack_args={"preset": "bsd"}))
    done = batch(cells, "-j", "2")
    assert done.returncode == 0, batch.said(done)
    for cell in cells:
        assert_same(batch.store, plain(cell, tmp_path / "plain"), cell.resolve().hash)
    again = batch(cells, "-j", "2")
    assert again.returncode == 0 and "Nothing to be done" in again.stderr


# Runs the library, but kills it as it saves its first checkpoint, once for each folder of marks.
DEADLY = """#!/bin/bash
mkdir "{marks}" 2>/dev/null || exec "{python}" "$@"
"{python}" "$@" & child=$!
while kill -0 $child 2>/dev/null && ! ls -d "{store}"/checkpoints/*/*/defense >/dev/null 2>&1; do sleep 0.05; done
kill -9 $child
wait $child
"""


def test_a_killed_cell_is_tried_again_and_ends_as_if_nothing_had_been(
    batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFENSELIB_CHECKPOINT_EVERY", "0")
    cell = tiny(epochs=4)
    deadly = tmp_path / "python"
    deadly.write_text(DEADLY.format(marks=tmp_path / "marks", python=sys.executable, store=tmp_path / "store"))
    deadly.chmod(0o755)
    once = batch((cell,), "--retries", "0", "--", "--config", f"python={deadly}")
    assert once.returncode == 1 and "error" not in once.stdout.lower()
    assert batch.store.get(cell.resolve()) is None
    (tmp_path / "marks").rmdir()
    shutil.rmtree(tmp_path / "store" / "checkpoints")
    done = batch((cell,), "--retries", "1", "--", "--config", f"python={deadly}")
    assert done.returncode == 0, batch.said(done)
    assert (tmp_path / "marks").is_dir(), "it was killed"
    assert_same(batch.store, plain(cell, tmp_path / "plain"), cell.resolve().hash)


def test_a_result_from_elsewhere_is_kept_where_snakemake_thinks_it_incomplete(batch: Batch) -> None:
    # What a killed Snakemake leaves: a mark that the job was at work, while its child went on and finished.
    cell = tiny()
    result = run(cell, batch.store, device="cpu", progress=False)
    assert result.path is not None
    before = result.path.read_bytes()
    marks = batch.folder / ".snakemake" / "incomplete"
    marks.mkdir(parents=True)
    (marks / base64.b64encode(str(result.path).encode()).decode()).touch()
    done = batch((cell,))
    assert done.returncode == 0, batch.said(done)
    assert "incomplete" in done.stderr.lower(), "it saw the mark"
    assert result.path.read_bytes() == before


def test_a_model_without_its_weights_is_trained_again_before_what_repairs_it(batch: Batch) -> None:
    repair = Experiment("shapes", defense="ft", defense_args={"epochs": 1})
    below = repair.upstream()
    assert below is not None
    first = run(below, batch.store, device="cpu", progress=False)
    weights = batch.store.load_model(first.hash)
    (batch.store.root / "models" / f"{first.hash}.safetensors").unlink()
    done = batch((planned(below, retrain=True), repair), "-j", "2")
    assert done.returncode == 0, batch.said(done)
    assert "weights" in done.stderr and batch.store.get(repair.resolve()) is not None
    again, second = batch.store.load_model(first.hash), batch.store.get(first.hash)
    assert weights is not None and again is not None and second is not None
    assert all((again[name] == weights[name]).all() for name in weights)
    assert second.created >= first.created and (second.acc, second.history) == (first.acc, first.history)


# Notes which GPU it was given, and holds it until four cells have one.
HOLDING = """
def run(experiment, device, progress, wait, weights):
    store, resolved = default_stores(), experiment.resolve()
    seen = store.root.parent / "seen"
    seen.mkdir(exist_ok=True)
    (seen / f"{resolved.hash}.{os.environ['CUDA_VISIBLE_DEVICES']}").touch()
    ended = time.monotonic() + 600
    while len(list(seen.iterdir())) < 4 and time.monotonic() < ended:
        time.sleep(0.05)
    return store.put(Store(store.root.parent / "ready").get(resolved))
"""


def test_each_job_has_a_gpu_of_its_own_and_each_gpu_as_many_as_it_may(
    batch: Batch, stand_in: Callable[[str], str], tmp_path: Path
) -> None:
    """Four cells on two GPUs, two at once on each: all four are at work side by side, or this ends after minutes."""
    cells = [tiny(seed) for seed in range(4)]
    for cell in cells:
        Store(tmp_path / "ready").put(made(cell.resolve(), 90.0, 99.0))
    done = batch(cells, "--gpus", "5,7", "--per-gpu", "2", "--", "--config", stand_in(HOLDING))
    assert done.returncode == 0, batch.said(done)
    seen = [path.name.split(".") for path in (tmp_path / "seen").iterdir()]
    assert sorted(gpu for _, gpu in seen) == ["5", "5", "7", "7"]
    assert {key for key, _ in seen} == {cell.resolve().hash for cell in cells}
    assert batch.said(done).count(", GPU 5: ") == 2


def test_a_cell_that_another_process_holds_leaves_its_place_to_the_next(batch: Batch) -> None:
    held, other = tiny(), tiny(1)
    with batch.store.lock(held.resolve().hash):
        done = batch((held, other), "--skip-held", "--retries", "0")
        assert done.returncode == 1, batch.said(done)
        assert "another process is at work at" in batch.said(done)
        assert batch.store.get(held.resolve()) is None and batch.store.get(other.resolve()) is not None
    done = batch((held, other), "--skip-held")
    assert done.returncode == 0 and batch.store.get(held.resolve()) is not None


def small_notebook(path: Path) -> None:
    """A chapter of one number: how many results there are when it is executed."""
    parameters = nbformat.v4.new_code_cell('profile: str = "laptop"', metadata={"tags": ["parameters"]})
    code = "from defenselib.experiments import default_stores\nprint(profile, len(list(default_stores().results())))"
    path.parent.mkdir(parents=True)
    notebook = nbformat.v4.new_notebook(cells=[parameters, nbformat.v4.new_code_cell(code)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)


def test_notebooks_wait_for_their_cells_and_the_book_for_the_notebooks(batch: Batch, tmp_path: Path) -> None:
    """`reproduce` takes the chapter of the folder that it is started in, where there is one."""
    small_notebook(batch.folder / "notebooks" / "asd.ipynb")
    clone = tmp_path / "clone"
    clone.mkdir()
    (clone / "Makefile").write_text(f"book:\n\tls {batch.folder}/executed > pages\n")
    cells: tuple[Planned, ...] = (planned(tiny(), "asd table-2"), planned(tiny(1), "bsd table-1"))
    done = batch(cells, "--notebook", "asd:smoke", "--book", str(clone))
    assert done.returncode == 0, batch.said(done)
    page = batch.folder / "executed" / "asd-smoke.ipynb"
    output = nbformat.read(page, as_version=4).cells[-1].outputs[0].text
    assert output.startswith("smoke ") and int(output.split()[1]) >= 1
    assert (clone / "pages").read_text() == "asd-smoke.ipynb\n" and (batch.folder / "book.done").exists()
    # A result that comes later has to be on the page, and the page in the book.
    more = (*cells, planned(tiny(2), "asd table-2"))
    again = batch(more, "--notebook", "asd:smoke", "--book", str(clone), "--", "--dry-run")
    assert again.returncode == 0, batch.said(again)
    assert {"cell", "notebook", "book"} <= set(again.stdout.split()) | set(again.stderr.split())
