"""A plan on a real Slurm of two nodes, one job of which is killed and one node drained: the results are the same."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import pytest

from defenselib.experiments import Store, run

from ..same import assert_same
from . import loopback
from .conftest import PATIENCE, Batch, tiny

VICTIM = tiny(epochs=40)  # long enough to be met at work
CELLS = (VICTIM, *(tiny(seed) for seed in range(1, 12)))
LAST = 1000  # below the others, in Slurm's units of priority
# It would first ask after forty seconds how a job is.
QUICK = ("--slurm-init-seconds-before-status-checks", "2")


def wait_until(what: str, found: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    ended = time.monotonic() + PATIENCE
    while not found():
        assert process.poll() is None, f"it ended before {what}"
        assert time.monotonic() < ended, f"it never came to {what}"
        time.sleep(0.2)


def running() -> dict[str, dict[str, str]]:
    """Running jobs by their node."""
    return {job["NodeList"]: job for job in loopback.jobs() if job["JobState"] == "RUNNING"}


@pytest.mark.slurm
@pytest.mark.slow
def test_twelve_cells_over_two_nodes_equal_plain_runs_though_a_job_is_killed_and_a_node_drained(
    batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = loopback.missing()
    if reason:
        pytest.skip(reason)
    monkeypatch.setenv("DEFENSELIB_CHECKPOINT_EVERY", "0")
    key = VICTIM.resolve().hash
    with ExitStack() as stack:
        try:
            partition = stack.enter_context(loopback.cluster(tmp_path / "slurm"))
        except (TimeoutError, OSError) as error:
            pytest.skip(f"Slurm is installed and does not start here: {error}")
        line = batch.line(CELLS, "--slurm", "--partition", partition, "-j", "12", "--", *QUICK)
        # Nothing starts before all are queued, the victim last: however fast the machine, both nodes have work when
        # one is drained, and the victim's job is known before it has a checkpoint.
        loopback.asked("scontrol", "update", f"partition={partition}", "state=down")
        with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            wait_until("a full queue", lambda: len(loopback.jobs()) == len(CELLS), process)
            (victim,) = (job["JobId"] for job in loopback.jobs() if key in job["Comment"])
            loopback.asked("scontrol", "update", f"jobid={victim}", f"nice={LAST}")
            loopback.asked("scontrol", "update", f"partition={partition}", "state=up")
            wait_until("work on both nodes", lambda: set(running()) == {"n1", "n2"}, process)
            loopback.asked("scontrol", "update", "nodename=n2", "state=drain", "reason=test")
            drained = datetime.now()
            checkpoints = batch.store.checkpoints(key)
            wait_until("a checkpoint", lambda: any(checkpoints.rglob("*.safetensors")), process)
            loopback.asked("scancel", "--signal=KILL", "--full", victim)
            said, _ = process.communicate(timeout=PATIENCE)
        jobs, node = loopback.jobs(), loopback.asked("sinfo", "-h", "-n", "n2", "-o", "%T").strip()
    assert process.returncode == 0, batch.said(subprocess.CompletedProcess(line, 1, said, ""))
    assert node == "drained" and "Trying to restart job" in said
    ended = {job["JobId"]: job for job in jobs}
    assert ended[victim]["JobState"] == "CANCELLED" and len(ended) == len(CELLS) + 1
    done = [job for job in jobs if job["JobState"] == "COMPLETED"]
    assert len(done) == len(CELLS) and {job["NodeList"] for job in done} == {"n1", "n2"}
    late = [job for job in done if datetime.fromisoformat(job["StartTime"]) > drained]
    assert late and {job["NodeList"] for job in late} == {"n1"}, "none on the drained node"
    plain = Store(tmp_path / "plain")
    for cell in CELLS:
        run(cell, plain, device="cpu", progress=False)
        assert_same(batch.store, plain, cell.resolve().hash)
    killed = batch.store.get(key)
    assert killed is not None and killed.cpu_seconds is None, "it went on from its checkpoint"
