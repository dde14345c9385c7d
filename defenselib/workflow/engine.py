"""The call of Snakemake for a plan: settings as a file, the command line, where Snakemake is."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from defenselib import folders
from defenselib.errors import DefenseLibError, InvalidValueError, check_range

SNAKEFILE = Path(__file__).with_name("Snakefile")


@dataclass(frozen=True)
class Batch:
    """How a plan is run.

    plan: its file. store: the working store. folder: where Snakemake keeps its notes and logs. jobs: cells at once.
    gpus: those of this machine that cells are pinned to, `per_gpu` at once on each; none of them: no GPU here. slurm:
    submit every cell as a job, with `gpu_jobs` one GPU each. skip_held: a cell that another process holds is not waited
    for; its job gives up and counts as one to try again, so that the next cell has its place. memory_mb: of a job;
    clusters hold it to that. notebooks: paper and profile of each. book: the repository, to build.
    """

    plan: Path
    store: Path
    folder: Path
    jobs: int = 1
    threads: int = 1
    memory_mb: int = 4000
    gpus: tuple[int, ...] = ()
    per_gpu: int = 1
    slurm: bool = False
    gpu_jobs: bool = False
    partition: str | None = None
    account: str | None = None
    retries: int = 2
    skip_held: bool = False
    notebooks: tuple[tuple[str, str], ...] = ()
    book: Path | None = None
    more: Sequence[str] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        for name in ("jobs", "threads", "per_gpu", "memory_mb"):
            check_range(name, getattr(self, name), 1, float("inf"))
        check_range("retries", self.retries, 0, float("inf"))
        if self.slurm and self.gpus:
            raise InvalidValueError("gpus pins cells to GPUs of this machine; under Slurm ask for --gpu-jobs instead")
        wanted = {"--partition": self.partition, "--account": self.account, "--gpu-jobs": self.gpu_jobs or None}
        given = [name if value is True else f"{name} {value}" for name, value in wanted.items() if value is not None]
        if given and not self.slurm:
            raise InvalidValueError(
                f"without --slurm there is no {', '.join(given)}; add --slurm, or run on this machine, whose GPUs "
                "--gpus names"
            )
        if self.book is not None and not (self.book / "Makefile").is_file():
            lacks = "has no Makefile" if self.book.is_dir() else "is no folder"
            raise InvalidValueError(
                f"--book is {str(self.book)!r}, which {lacks}; it must be a clone of the repository, whose Makefile "
                "builds the book"
            )

    def settings(self) -> dict[str, Any]:
        """What the workflow reads."""
        more = [f"--gpus {','.join(map(str, self.gpus))} --per-gpu {self.per_gpu}"] if self.gpus else []
        more += ["--skip-held"] if self.skip_held else []
        return {
            "plan": str(self.plan.absolute()),
            "store": str(self.store.absolute()),
            "python": sys.executable,
            "threads": self.threads,
            "memory_mb": self.memory_mb,
            "gpu": int(bool(self.gpus) or self.gpu_jobs),
            "run_cell": " ".join(more),
            "notebooks": {
                f"{paper}-{profile}": {"paper": paper, "profile": profile} for paper, profile in self.notebooks
            },
            "executed": str((self.folder / "executed").absolute()),
            "book": "" if self.book is None else str(self.book.absolute()),
        }

    def write_settings(self) -> Path:
        """Write them as JSON into the folder. Errors: FolderError."""
        return folders.write_text(self.folder / "settings.json", json.dumps(self.settings(), indent=1))

    def command(self, snakemake: str = "snakemake") -> list[str]:
        """The command line. Settings must have been written."""
        line = [snakemake, "--snakefile", str(SNAKEFILE), "--directory", str(self.folder.absolute())]
        line += ["--configfile", str((self.folder / "settings.json").absolute())]
        # Results are found by hash, so neither a newer plan nor newer settings make one stale.
        line += ["--rerun-triggers", "mtime", "--rerun-incomplete", "--keep-going", "--retries", str(self.retries)]
        return [*line, *(self._slurm() if self.slurm else self._local()), *self.more]

    def _local(self) -> list[str]:
        slots = len(self.gpus) * self.per_gpu
        return ["--cores", str(self.jobs * self.threads), *(("--resources", f"gpu={slots}") if slots else ())]

    def _slurm(self) -> list[str]:
        line = ["--executor", "slurm", "--jobs", str(self.jobs)]
        wanted = {"slurm_partition": self.partition, "slurm_account": self.account}
        named = [f"{name}={value}" for name, value in wanted.items() if value is not None]
        line += ["--default-resources", *named] if named else []
        # Without accounting squeue is all that can be asked.
        return line if self.account else [*line, "--slurm-no-account", "--slurm-status-command", "squeue"]


def environment(batch: Batch) -> Mapping[str, str]:
    """What jobs inherit: the store that they write to."""
    return {**os.environ, folders.STORE: str(batch.store.absolute()), "PYTHONUNBUFFERED": "1"}


def snakemake() -> str:
    """Where Snakemake is: beside this Python, else on the PATH. Errors: DefenseLibError."""
    places = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    found = shutil.which("snakemake", path=places)
    if found is None:
        raise DefenseLibError("batches need Snakemake, which is not installed: pip install 'defenselib[batch]'")
    return found
