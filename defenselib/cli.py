"""The command line: run, reproduce, status, data, keep."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from defenselib.commands import batch
from defenselib.errors import DefenseLibError, InvalidValueError
from defenselib.report.parameters import arguments_for, pairs

if TYPE_CHECKING:
    import pandas as pd

    from defenselib.experiments import Experiment, Result


class Commands(TyperGroup):
    """Turns an error that a user can mend into one line and an exit code, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        from defenselib.report.execute import NotebookFailedError

        try:
            return super().invoke(ctx)
        except NotebookFailedError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(1) from None
        except DefenseLibError as error:
            typer.echo(f"error: {' '.join(str(error).split())}", err=True)
            raise typer.Exit(2) from None


app = typer.Typer(
    cls=Commands,
    help="Training-time backdoor defenses, and the book that reproduces five papers on them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def console() -> Console:
    # Made at each call, so that it writes to the stdout of the moment; wide enough for a table in a file or a pipe.
    return Console(width=None if sys.stdout.isatty() else 140, highlight=False)


@app.command("run")
def run_command(
    dataset: Annotated[str, typer.Option(help="Name of a data set, or a path to one.")] = "shapes",
    attack: Annotated[str, typer.Option(help="Name of an attack, or none.")] = "badnets",
    defense: Annotated[str, typer.Option(help="Name of a defense; none trains without one.")] = "none",
    profile: Annotated[str, typer.Option(help="How big a training: smoke, laptop, gpu, paper.")] = "smoke",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    model: Annotated[str | None, typer.Option(help="Architecture; the profile's if not given.")] = None,
    paper: Annotated[str | None, typer.Option(help="Paper whose recipes count; the method's own if not given.")] = None,
    rate: Annotated[float | None, typer.Option(help="Poisoning rate as a fraction; the paper's if not given.")] = None,
    target: Annotated[int | None, typer.Option(help="Target class; the paper's if not given.")] = None,
    attack_arg: Annotated[list[str] | None, typer.Option(help="Hyper-parameter of the attack, name=value.")] = None,
    defense_arg: Annotated[list[str] | None, typer.Option(help="Hyper-parameter of the defense, name=value.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, …; the best there is if not given.")] = None,
    progress: Annotated[bool, typer.Option(help="Show a progress bar.")] = True,
) -> None:
    """Train once: a data set, an attack, a defense. Prints accuracy and attack success; the store keeps the result."""
    from defenselib.attacks import ATTACKS
    from defenselib.defenses import DEFENSES
    from defenselib.experiments import Experiment, run

    chosen: dict[str, Any] = {"model": model, "paper": paper, "rate": rate, "target": target}
    experiment = Experiment(
        dataset=dataset,
        attack=attack,
        defense=defense,
        profile=profile,
        seed=seed,
        attack_args=_arguments("attack", attack, dict(ATTACKS), attack_arg),
        defense_args=_arguments("defense", defense, dict(DEFENSES), defense_arg),
        **{name: value for name, value in chosen.items() if value is not None},
    )
    _print_result(experiment, run(experiment, device=device, progress=progress))


def _arguments(kind: str, name: str, registry: dict[str, type], texts: list[str] | None) -> dict[str, Any]:
    given = pairs(texts or (), f"--{kind}-arg")
    # An unknown name is the Experiment's to refuse, with the names that exist.
    return arguments_for(registry[name], f"{kind} {name!r}", given) if name in registry else dict(given)


def _print_result(experiment: Experiment, result: Result) -> None:
    table = Table(title=f"{experiment.dataset} · {experiment.attack} · {experiment.defense} · {result.profile}")
    for column in ("seed", "ACC %", "ASR %", "poisoned", "seconds", "result"):
        table.add_column(column, justify="left" if column == "result" else "right")
    asr = "-" if result.asr is None else f"{result.asr:.2f}"
    poisoned = str(result.poisoned_count)
    table.add_row(str(experiment.seed), f"{result.acc:.2f}", asr, poisoned, f"{result.seconds:.1f}", result.hash)
    console().print(table)


@app.command()
def reproduce(
    paper: Annotated[str | None, typer.Option(help="Key of a paper: asd, …")] = None,
    profile: Annotated[str | None, typer.Option(help="Short for -p profile=…")] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("-p", "--parameter", help="name=value; lists are comma-separated.")
    ] = None,
    notebook: Annotated[Path | None, typer.Option(help="A notebook by path, in place of --paper.")] = None,
    output: Annotated[Path | None, typer.Option(help="Where to; book/_executed/NAME.ipynb if not given.")] = None,
    progress: Annotated[bool, typer.Option(help="Show a progress bar.")] = True,
) -> None:
    """Execute the notebook of a paper with parameters that are checked first. A failing notebook is kept and named."""
    from defenselib.report.execute import execute

    given = pairs(parameter or (), "-p")
    if profile is not None and given.setdefault("profile", profile) != profile:
        raise InvalidValueError(f"--profile says {profile!r}, -p profile= says {given['profile']!r}")
    if "profile" in given:
        _check_profile(given["profile"], "best")
    source = _notebook(paper, notebook)
    _check_names(source.stem, given)
    target = output or source.parent.parent / "book" / "_executed" / source.name
    typer.echo(f"executed: {execute(source, target, given, progress=progress)}")


def _check_profile(name: str, *more: str) -> str:
    from defenselib.errors import check_choice
    from defenselib.experiments import profile as profiles

    return check_choice("profile", name, (*profiles.available(), *more))


def _check_names(paper: str, given: dict[str, str]) -> None:
    """Refuse data sets, attacks and defenses that the paper knows nothing of, before a kernel is started."""
    from defenselib import papers
    from defenselib.errors import check_choice
    from defenselib.papers.kit import printed
    from defenselib.report.parameters import convert

    for axis in ("dataset", "attack", "defense") if paper in papers.available() else ():
        for name in convert(given.get(f"{axis}s", ""), list[str], f"{axis}s"):
            check_choice(f"{axis} of paper {paper!r}:", name, printed.vocabulary(paper, axis))


def _notebook(paper: str | None, notebook: Path | None) -> Path:
    """The notebook that was asked for; a paper's lies in `notebooks/` here or in the clone the package comes from."""
    if (paper is None) == (notebook is None):
        raise InvalidValueError("give either --paper or --notebook")
    if notebook is not None:
        return notebook.resolve()
    from defenselib import papers

    papers.get(str(paper))
    places = [folder / "notebooks" / f"{paper}.ipynb" for folder in (Path.cwd(), Path(__file__).parents[1])]
    for place in places:
        if place.is_file():
            return place
    raise InvalidValueError(f"no notebook for {paper!r} here ({places[0]}); run this in a clone of the book")


@app.command()
def status(
    paper: Annotated[str | None, typer.Option(help="What this paper still lacks, exhibit by exhibit.")] = None,
    profile: Annotated[str | None, typer.Option(help="Only this profile; laptop where a paper is named.")] = None,
) -> None:
    """Which results there are, committed and working; with --paper, what is missing and why."""
    from defenselib import papers
    from defenselib.experiments import default_stores
    from defenselib.report.status import gaps, holdings

    store = default_stores()
    if paper is not None:
        level = _check_profile(profile or "laptop", "best")
        _show(gaps(papers.get(paper), level, store), f"{paper} at {level}")
        return
    frame = holdings(store)
    if profile is not None:
        frame = frame[frame["profile"] == _check_profile(profile)]
    for place, folder in (("committed", ", ".join(map(str, store.also)) or "none"), ("working", store.root)):
        typer.echo(f"{place}: {folder}")
    if frame.empty:
        typer.echo("no results yet: defenselib run makes one")
    else:
        _show(frame, "results")


@app.command()
def data(
    names: Annotated[list[str] | None, typer.Argument(help="Names or paths; all known ones if none.")] = None,
) -> None:
    """Load data sets and print their sizes and digests; says which are missing and where it looked."""
    from defenselib.data import search_path
    from defenselib.report.status import data_sets

    typer.echo(f"searched: {', '.join(map(str, search_path()))}")
    frame = data_sets(tuple(names or ()))
    _show(frame.drop(columns="note"), "data sets")
    for note in frame["note"]:
        if note:
            typer.echo(note)


@app.command()
def keep(
    hashes: Annotated[list[str] | None, typer.Argument(help="Hashes of results, as run prints them.")] = None,
    profile: Annotated[str | None, typer.Option(help="All results of this profile.")] = None,
    to: Annotated[Path | None, typer.Option(help="Folder; that of the committed results if not given.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Also where another run of the same is there.")] = False,
) -> None:
    """Promote results from the working store to the committed ones that the book reads. smoke is never evidence."""
    from defenselib.experiments import Store, default_stores
    from defenselib.experiments import keep as promote

    if not hashes and profile is None:
        raise InvalidValueError("name hashes or a --profile")
    if profile is not None:
        _check_profile(profile)
    working = Store(default_stores().root)
    chosen = [working.get(key) or key for key in hashes or ()]
    chosen += [result for result in working.results() if result.profile == profile]
    for result in chosen:
        if not isinstance(result, str) and result.profile == "smoke":
            raise InvalidValueError(f"{result.hash} was made at smoke, which is no evidence")
    kept = promote(chosen, to=to, replace=replace)
    for result in kept:
        typer.echo(f"kept: {result.path}")
    if len(kept) < len(chosen):
        typer.echo(f"{len(chosen) - len(kept)} left as they were: committed already; --replace takes the new runs")


def _show(frame: pd.DataFrame, title: str) -> None:
    table = Table(title=title)
    for name in frame.columns:
        table.add_column(str(name).replace("_", " "), overflow="fold")
    for row in frame.itertuples(index=False):
        table.add_row(*("" if value is None or value != value else str(value) for value in row))
    console().print(table)


app.add_typer(batch.commands)
