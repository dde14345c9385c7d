"""`defenselib plan` and `defenselib run-cell`: which cells to run, and one of them exactly."""

from __future__ import annotations

import re
import shlex
import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from defenselib.commands.output import console, table
from defenselib.commands.reproduce import check_profile
from defenselib.errors import DefenseLibError, InvalidValueError, check_choice
from defenselib.report.parameters import convert

if TYPE_CHECKING:
    from rich.table import Table

    from defenselib.experiments import Experiment
    from defenselib.papers.planned import Plan

commands = typer.Typer()
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@commands.command("plan")
def plan_command(
    paper: Annotated[list[str] | None, typer.Option(help="Key of a paper, or all; all if no page is given.")] = None,
    page: Annotated[
        list[str] | None, typer.Option(help="leaderboard or attacks; both if neither page nor paper is given.")
    ] = None,
    profile: Annotated[
        list[str] | None, typer.Option(help="A profile; several may be given. [default: laptop]")
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="0..4 or 0,2; each exhibit's own if not given.")] = None,
    dataset: Annotated[list[str] | None, typer.Option(help="Only this data set; several may be given.")] = None,
    attack: Annotated[list[str] | None, typer.Option(help="Only this attack; several may be given.")] = None,
    defense: Annotated[list[str] | None, typer.Option(help="Only this defense; several may be given.")] = None,
    exhibit: Annotated[list[str] | None, typer.Option(help="Only this exhibit, table-2; several may be given.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also what a profile leaves out unasked.")] = False,
    by: Annotated[str, typer.Option(help="Order: paper, or yield (numbers answered a minute).")] = "paper",
    budget: Annotated[str | None, typer.Option(help="Cut to what fits: 90m, 5h, 2d.")] = None,
    jobs: Annotated[int, typer.Option("-j", "--jobs", min=1, help="Cells at once, for --budget.")] = 1,
    machine: Annotated[str | None, typer.Option(help="Kind of machine that runs it; this one if not given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
    as_commands: Annotated[
        bool, typer.Option("--commands", help="Print a command a missing cell; needs --output.")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="Write the plan as JSON, for run-cell and batch.")] = None,
    rows: Annotated[int, typer.Option(min=0, help="Missing cells to show in the table.")] = 40,
) -> None:
    """Which cells stand behind the papers' exhibits, which are missing, what they cost and how much they answer."""
    from defenselib import folders, papers
    from defenselib.papers import plan as plans
    from defenselib.papers.planned import ORDERS

    check_choice("order", by, ORDERS)
    if as_commands and output is None:
        raise InvalidValueError("--commands needs --output plan.json: the commands read the plan from that file")
    seconds = None if budget is None else duration(budget)
    if output is not None:
        folders.check_file(output)
    made = plans.make(
        papers.available() if paper == ["all"] else paper,
        tuple(dict.fromkeys(map(check_profile, profile or ["laptop"]))),
        None if seeds is None else convert(seeds, list[int], "seeds"),
        dataset,
        attack,
        defense,
        machine=_this_machine() if machine is None else _known_machine(machine),
        everything=everything,
        exhibits=exhibit,
        pages=page,
    ).sorted(by)
    if seconds is not None:
        made = made.within(seconds, jobs)
    if output is not None:
        made.write(output)
    if as_json:
        typer.echo(made.to_json(), nl=False)
    elif as_commands:
        for cell in made.runnable:
            typer.echo(f"defenselib run-cell {cell.hash} --plan {shlex.quote(str(output))}")
    else:
        _show(made, rows, budget, jobs)


@commands.command("run-cell")
def run_cell(
    key: Annotated[str | None, typer.Argument(metavar="HASH", help="Hash of a cell of the plan.")] = None,
    plan: Annotated[Path | None, typer.Option(help="The plan, as plan --output wrote it.")] = None,
    skip_held: Annotated[
        bool, typer.Option("--skip-held", help="Give up at once, with code 75, where another process is at work on it.")
    ] = False,
    spec: Annotated[str | None, typer.Option(help="In place of both: an experiment as JSON, or a file of it.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …; the best there is if not given.")] = None,
    gpus: Annotated[str | None, typer.Option(help="GPUs of this machine, 0,1: takes one that is free.")] = None,
    per_gpu: Annotated[int, typer.Option(min=1, help="Cells on one GPU at once.")] = 1,
    limit: Annotated[int, typer.Option(min=0, help="Seconds after which it gives up; 0: never.")] = 0,
) -> None:
    """Run one cell exactly as a plan or a specification says; what is in the store is not run again."""
    from defenselib import folders
    from defenselib.workflow.slots import numbers, pinned

    experiment, retrain = _experiment(key, plan, spec)
    place = nullcontext(-1) if gpus is None else pinned(numbers(gpus), per_gpu, folders.cache_root() / "slots")
    with place as gpu, time_limit(limit):
        from defenselib.experiments import run

        result = run(experiment, device=device, progress=False, wait=not skip_held, weights=retrain)
    where = "" if gpu < 0 else f", GPU {gpu}"
    typer.echo(
        f"{result.hash}: ACC {result.acc:.2f}, ASR {result.asr:.2f}, {result.seconds:.1f} s{where}: {result.path}"
    )


def _experiment(key: str | None, plan: Path | None, spec: str | None) -> tuple[Experiment, bool]:
    """What is to be run, and whether its model is trained again where its result is there."""
    from defenselib.experiments.experiment import from_json
    from defenselib.papers.planned import read

    if spec is not None:
        if key is not None or plan is not None:
            raise InvalidValueError("give either a HASH and --plan, or --spec")
        return from_json(spec if spec.lstrip().startswith("{") else _text(Path(spec))), False
    if key is None or plan is None:
        raise InvalidValueError("give a HASH and --plan, or --spec")
    cell = read(plan).cell(key)
    experiment = cell.experiment
    found = experiment.resolve().hash
    if found != key:
        raise InvalidValueError(f"{plan} says {key}, but this version makes {found} of it; make the plan again")
    return experiment, cell.retrain


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidValueError(f"{path} cannot be read ({error}); give an experiment as JSON") from error


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Inside, after so many seconds (0: never), DefenseLibError is raised; the next try goes on from the checkpoint."""

    def late(*_: object) -> None:
        raise DefenseLibError(f"ran past its limit of {seconds} s; the next try goes on from the last checkpoint")

    if seconds:
        signal.signal(signal.SIGALRM, late)
        signal.alarm(seconds)
    try:
        yield
    finally:
        if seconds:
            signal.alarm(0)


def duration(text: str) -> float:
    """Seconds of "90m", "5h", "1.5d", "30s". Errors: InvalidValueError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if found is None:
        raise InvalidValueError(f"budget is {text!r}, it must be a number with s, m, h or d: 90m, 5h")
    return float(found[1]) * UNITS[found[2]]


def _this_machine() -> str:
    from defenselib.cpu.devices import chosen_device
    from defenselib.experiments.provenance import machine
    from defenselib.papers.costs import kind_of

    return kind_of(machine(chosen_device(None)))


def _known_machine(name: str) -> str:
    """The kind of a machine that has results, or of this one. Errors: UnknownNameError."""
    from defenselib.experiments import default_stores
    from defenselib.papers.costs import kind_of

    known = {kind_of(result.machine) for result in default_stores().results()} | {_this_machine()}
    return check_choice("machine", name, sorted(known))


def _show(plan: Plan, rows: int, budget: str | None, jobs: int) -> None:
    for shown in (_totals(plan, plan.costs), _missing(plan, plan.costs, rows)):
        if shown.row_count:
            console().print(shown)
    hidden = len(plan.missing) - rows
    if rows and hidden > 0:
        typer.echo(f"and {hidden} more: --rows shows them, --json and --output give all")
    if budget is not None:
        typer.echo(f"cut to {budget} with {jobs} at once")
    typer.echo(f"expected on: {plan.machine}; ~ marks a guess")
    waiting = Counter(cell.waits_for for cell in plan.cells if cell.waits_for)
    if waiting:
        named = ", ".join(f"{name} {count}" for name, count in waiting.most_common())
        typer.echo(
            f"{waiting.total()} cells wait for data of which no copy is at hand, or none decoded: {named}; plan again "
            "once there is (defenselib data NAME says where it is looked for, and decodes it), for then their hashes "
            "are others"
        )
    asked = "left out by request"
    told = Counter({reason: count for reason, count in plan.left_out.items() if not reason.startswith(asked)})
    for reason, count in told.most_common(5):
        typer.echo(f"left out {count} times: {reason.removeprefix('left out at this profile: ')}")


def _totals(plan: Plan, costs: Mapping[str, float]) -> Table:
    heads = ("profile", "cells", "in the store", "missing", "to retrain", "hours", "guessed", "numbers")
    shown = table("plan", heads, ["profile"])
    for profile in dict.fromkeys(cell.profile for cell in plan.cells):
        mine = [cell for cell in plan.cells if cell.profile == profile]
        missing, stored = [cell for cell in mine if cell.missing], sum(cell.stored for cell in mine)
        told: list[Any] = [profile, len(mine), stored, len(mine) - stored, sum(cell.retrain for cell in mine)]
        told += [f"{sum(costs[cell.hash] for cell in missing) / 3600:.1f}", sum(bool(cell.guess) for cell in missing)]
        shown.add_row(*map(str, told), f"{sum(cell.numbers for cell in missing):.0f}")
    return shown


def _missing(plan: Plan, costs: Mapping[str, float], rows: int) -> Table:
    heads = ("hash", "profile", "cell", "seed", "minutes", "numbers", "claims", "for")
    shown = table("missing", heads, ["hash", "profile", "cell", "for"])
    for cell in plan.missing[:rows]:
        minutes = f"{'~' if cell.guess else ''}{costs[cell.hash] / 60:.1f}"
        more = f" +{len(cell.exhibits) - 2}" if len(cell.exhibits) > 2 else ""
        told = (cell.hash, cell.profile, cell.name, cell.fields.get("seed", 0), minutes, f"{cell.numbers:.1f}")
        shown.add_row(*map(str, told), str(cell.claims), ", ".join(cell.exhibits[:2]) + more)
    return shown
