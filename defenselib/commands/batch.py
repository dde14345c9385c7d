"""`defenselib batch`: run a plan by Snakemake, on this machine or on a cluster."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from defenselib.commands.plan import commands
from defenselib.commands.reproduce import check_profile
from defenselib.errors import InvalidValueError, check_choice


@commands.command("batch", context_settings={"allow_extra_args": True, "ignore_unknown_options": False})
def batch_command(
    context: typer.Context,
    plan: Annotated[Path, typer.Argument(help="The plan, as plan --output wrote it.")],
    jobs: Annotated[
        int | None, typer.Option("-j", "--jobs", min=1, help="Cells at once; what the GPUs hold, or 1, if not given.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Processor threads of a cell.")] = 1,
    memory_mb: Annotated[int, typer.Option(min=1, help="Memory of a cell, which clusters hold it to.")] = 4000,
    gpus: Annotated[str | None, typer.Option(help="GPUs of this machine, 0,1: each cell gets one of them.")] = None,
    per_gpu: Annotated[int, typer.Option(min=1, help="Cells on one GPU at once.")] = 1,
    slurm: Annotated[bool, typer.Option("--slurm", help="Submit every cell to Slurm.")] = False,
    gpu_jobs: Annotated[bool, typer.Option("--gpu-jobs", help="Under Slurm: one GPU for every cell.")] = False,
    partition: Annotated[str | None, typer.Option(help="Slurm's partition.")] = None,
    account: Annotated[str | None, typer.Option(help="Slurm's account; a cluster without accounting has none.")] = None,
    retries: Annotated[int, typer.Option(min=0, help="How often a cell that failed is tried again.")] = 2,
    skip_held: Annotated[
        bool,
        typer.Option("--skip-held", help="Take the next cell where another process holds one, and retry that later."),
    ] = False,
    notebook: Annotated[list[str] | None, typer.Option(help="Then execute this notebook: asd:laptop.")] = None,
    book: Annotated[Path | None, typer.Option(help="Then build the book of this clone.")] = None,
    folder: Annotated[
        Path | None, typer.Option(help="For notes, logs and notebooks; of the cache if not given.")
    ] = None,
    show: Annotated[bool, typer.Option("--print", help="Print the command and run nothing.")] = False,
) -> None:
    """Run a plan by Snakemake: one job a cell. What stands after -- is Snakemake's own (-- --dry-run)."""
    from defenselib import folders
    from defenselib.papers.planned import read
    from defenselib.workflow import engine
    from defenselib.workflow.slots import numbers

    read(plan)
    cards = () if gpus is None else numbers(gpus)
    made = engine.Batch(
        plan=plan,
        store=folders.working_root(),
        folder=folder or folders.cache_root() / "batch",
        jobs=jobs or max(1, len(cards) * per_gpu),
        threads=threads,
        memory_mb=memory_mb,
        gpus=cards,
        per_gpu=per_gpu,
        slurm=slurm,
        gpu_jobs=gpu_jobs,
        partition=partition,
        account=account,
        retries=retries,
        skip_held=skip_held,
        notebooks=tuple(_notebook(text) for text in notebook or ()),
        book=book,
        more=tuple(context.args),
    )
    settings = made.write_settings()
    if show:
        typer.echo(shlex.join(made.command()))
        return
    command = made.command(engine.snakemake())
    code = subprocess.run(command, env=dict(engine.environment(made)), check=False).returncode
    if code:
        typer.echo(f"some failed; their logs: {settings.parent / 'logs'}; the same command goes on", err=True)
        raise typer.Exit(1)


def _notebook(text: str) -> tuple[str, str]:
    from defenselib import papers

    paper, colon, profile = text.partition(":")
    if not colon:
        raise InvalidValueError(f"notebook is {text!r}, it must be PAPER:PROFILE, asd:laptop")
    check_profile(profile, "best")
    return check_choice("paper", paper, papers.available()), profile
