"""The call of Snakemake for each kind of machine, and the slots that pin cells to GPUs."""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from defenselib.errors import InvalidValueError
from defenselib.workflow.engine import Batch
from defenselib.workflow.slots import pinned


def test_the_command_of_each_place(tmp_path: Path) -> None:
    def command(**more: object) -> str:
        made = Batch(tmp_path / "plan.json", tmp_path / "store", tmp_path, **more)  # type: ignore[arg-type]
        return " ".join(made.command())

    assert command(jobs=2).endswith("--cores 2")
    # Two cells on each of three GPUs: six slots, and every job takes one.
    gpus = Batch(tmp_path / "plan.json", tmp_path, tmp_path, jobs=6, gpus=(0, 1, 3), per_gpu=2, skip_held=True)
    assert "--resources gpu=6" in " ".join(gpus.command())
    assert gpus.settings()["gpu"] == 1 and gpus.settings()["run_cell"] == "--gpus 0,1,3 --per-gpu 2 --skip-held"
    slurm = command(slurm=True, jobs=8, partition="short")
    assert "--executor slurm --jobs 8" in slurm and "slurm_partition=short" in slurm
    assert "--slurm-no-account" in slurm and "--slurm-no-account" not in command(slurm=True, account="lab")
    with pytest.raises(InvalidValueError, match="gpus"):
        Batch(tmp_path, tmp_path, tmp_path, slurm=True, gpus=(0,))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"gpu_jobs": True}, ("--gpu-jobs", "add --slurm")),
        ({"partition": "short", "account": "lab"}, ("--partition short, --account lab", "add --slurm", "--gpus")),
        ({"book": Path("nowhere")}, ("'nowhere'", "is no folder", "a clone")),
        ({"book": Path(__file__).parent}, ("has no Makefile", "a clone")),
    ],
)
def test_what_would_be_ignored_or_fail_at_the_end_is_refused(
    given: dict[str, object], words: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(InvalidValueError) as error:
        Batch(tmp_path, tmp_path, tmp_path, **given)  # type: ignore[arg-type]
    for word in words:
        assert word in str(error.value)


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
