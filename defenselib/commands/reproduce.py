"""`defenselib reproduce`: notebooks with parameters, one or many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from defenselib.commands.output import console, stopping, table
from defenselib.errors import InvalidValueError, check_choice, check_range
from defenselib.report.parameters import convert, pairs

if TYPE_CHECKING:
    from defenselib.report.batch import Outcome, Task

MOST_JOBS = 64


def reproduce(
    paper: Annotated[list[str] | None, typer.Option(help="Key of a paper: asd, …; all. May be repeated.")] = None,
    profile: Annotated[list[str] | None, typer.Option(help="Short for -p profile=…; repeated, one page each.")] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", "--parameter", help="name=value; lists are comma-separated, whole numbers also 0..4."),
    ] = None,
    notebook: Annotated[list[Path] | None, typer.Option(help="A notebook by path. May be repeated.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="File or folder; book/_executed/NAME.ipynb, with other parameters NAME-PARAMETERS.ipynb."),
    ] = None,
    jobs: Annotated[
        str, typer.Option("-j", "--jobs", metavar="INTEGER", help="Notebooks that are executed side by side.")
    ] = "1",
    resume: Annotated[bool, typer.Option("--resume", help="Leave out pages that are there, of today's code.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be executed.")] = False,
    progress: Annotated[bool, typer.Option(help="Show a progress bar.")] = True,
) -> None:
    """Execute notebooks with parameters that are checked first. One that fails is kept and named, the others go on."""
    from defenselib.report.batch import run_all

    at_once = int(check_range("--jobs", convert(jobs, int, "--jobs"), 1, MOST_JOBS))
    tasks = plan(paper or (), notebook or (), profile or (), pairs(parameter or (), "-p"), output)
    if dry_run:
        _show_plan(tasks, resume)
        return
    if len(tasks) == 1 and not resume:
        _one(tasks[0], progress)
        return
    with stopping() as stop:
        outcomes = run_all(tasks, at_once, resume=resume, progress=progress, tell=_tell, stop=stop)
    _show_outcomes(outcomes)
    if stop.code or any(outcome.state == "failed" for outcome in outcomes):
        raise typer.Exit(stop.code or 1)


def plan(
    papers: Sequence[str],
    notebooks: Sequence[Path],
    profiles: Sequence[str],
    given: Mapping[str, str],
    output: Path | None,
) -> list[Task]:
    """The tasks of a command line, each checked: notebooks times profiles. Errors: InvalidValueError and
    UnknownNameError, before a kernel is started."""
    from defenselib.report.batch import task_of

    if profiles and given.get("profile", profiles[0]) not in profiles:
        raise InvalidValueError(f"--profile says {profiles[0]!r}, -p profile= says {given['profile']!r}")
    levels = [{"profile": level} for level in dict.fromkeys(profiles)] or [{}]
    tasks = []
    for source in _notebooks(papers, notebooks):
        for level in levels:
            chosen = {**given, **level}
            if "profile" in chosen:
                check_profile(chosen["profile"], "best")
            _check_names(source.stem, chosen)
            tasks.append(task_of(source, chosen, output))
    if output is not None and len(tasks) > 1 and not output.is_dir():
        raise InvalidValueError(f"output is {str(output)!r}, it must be a folder that exists for {len(tasks)} pages")
    return tasks


def check_profile(name: str, *more: str) -> str:
    """The name of a profile that exists, or of `more`. Errors: UnknownNameError."""
    from defenselib.experiments import profile as profiles

    return check_choice("profile", name, (*profiles.available(), *more))


def _check_names(notebook: str, given: Mapping[str, str]) -> None:
    """Refuse, before a kernel is started, data sets, attacks, defenses and exhibits that a paper's chapter knows
    nothing of, and what `verdicts` and `your_data` would refuse."""
    from defenselib import papers
    from defenselib.papers.kit import printed

    if notebook in papers.available():
        for axis in ("dataset", "attack", "defense"):
            for name in convert(given.get(f"{axis}s", ""), list[str], f"{axis}s"):
                check_choice(f"{axis} of paper {notebook!r}:", name, printed.vocabulary(notebook, axis))
        for name in convert(given.get("exhibits", ""), list[str], "exhibits"):
            check_choice(f"exhibit of paper {notebook!r}:", name, (*printed.exhibits(notebook).index, "all"))
    if notebook == "verdicts" and "paper" in given:
        check_choice("paper", convert(given["paper"], str, "paper"), papers.available())
    if notebook == "your_data" and "defense" in given:
        from defenselib.audit.methods import check_defense  # with torch, which no other check needs

        check_defense(convert(given["defense"], str, "defense"), clean=True)


def _notebooks(papers: Sequence[str], notebooks: Sequence[Path]) -> list[Path]:
    from defenselib import papers as known

    if not papers and not notebooks:
        raise InvalidValueError("give either --paper or --notebook")
    keys: Iterable[str] = known.available() if "all" in papers else dict.fromkeys(papers)
    found = [*map(_of_paper, keys), *(path.resolve() for path in notebooks)]
    return list(dict.fromkeys(found))


def _of_paper(paper: str) -> Path:
    """A paper's notebook, in `notebooks/` here or in the clone the package comes from."""
    from defenselib import papers

    check_choice("paper", paper, papers.available())
    places = [folder / "notebooks" / f"{paper}.ipynb" for folder in (Path.cwd(), Path(__file__).parents[2])]
    for place in places:
        if place.is_file():
            return place
    raise InvalidValueError(f"no notebook for {paper!r} here ({places[0]}); run this in a clone of the book")


def _one(task: Task, progress: bool) -> None:
    from defenselib.report.execute import StoppedError, execute

    with stopping() as stop:
        try:
            done = execute(task.notebook, task.output, task.given, progress=progress, stop=stop)
        except StoppedError as error:
            typer.echo(f"stopped: {error}", err=True)
            raise typer.Exit(stop.code) from None
    typer.echo(f"executed: {done.output}")


def _tell(outcome: Outcome) -> None:
    task = outcome.task
    typer.echo(
        f"{outcome.state}: {task.notebook.name} {_said(task)} ({outcome.seconds:.0f} s)".replace("  ", " "), err=True
    )


def _show_plan(tasks: Sequence[Task], resume: bool) -> None:
    shown = table("would be executed", ("notebook", "parameters", "output", ""))
    for task in tasks:
        there = "left out, it is there" if resume and task.is_there() else "in place of another" * task.output.exists()
        shown.add_row(task.notebook.name, _said(task), str(task.output), there)
    console().print(shown)


def _show_outcomes(outcomes: Sequence[Outcome]) -> None:
    shown = table("reproduced", ("notebook", "parameters", "state", "trained", "from store", "seconds"))
    for one in outcomes:
        cells = (str(one.trained), str(one.stored)) if one.state == "done" else ("", "")
        shown.add_row(one.task.notebook.name, _said(one.task), one.state, *cells, f"{one.seconds:.0f}")
    console().print(shown)
    for one in outcomes:  # below the table, where a path or an error is not broken into lines
        why = f" ({one.why})" * bool(one.why)
        typer.echo(f"{one.state}: {one.kept or one.task.output}{why}")
    states = [one.state for one in outcomes]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    typer.echo(f"{counts}, {sum(one.seconds for one in outcomes):.0f} s of work")


def _said(task: Task) -> str:
    return " ".join(f"{name}={value}" for name, value in task.given.items())
