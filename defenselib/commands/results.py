"""`defenselib status`, `data`, `profile`, `keep` and `clean`: what there is, and what becomes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from defenselib.commands.output import show
from defenselib.commands.reproduce import check_profile
from defenselib.errors import InvalidValueError, check_choice


def status(
    paper: Annotated[
        str | None, typer.Option(help="What this paper still lacks, exhibit by exhibit; all: every paper.")
    ] = None,
    profile: Annotated[str | None, typer.Option(help="Only this profile; laptop where a paper is named.")] = None,
) -> None:
    """Which results there are, committed and working; with --paper, what is missing and why."""
    from defenselib import papers
    from defenselib.experiments import default_stores
    from defenselib.report.status import gaps, holdings

    store = default_stores()
    for line in store.damaged():
        typer.echo(f"damaged: {' '.join(line.split())}", err=True)
    if paper is not None:
        level = check_profile(profile or "laptop", "best")
        keys = papers.available() if paper == "all" else (check_choice("paper", paper, (*papers.available(), "all")),)
        for key in keys:
            show(gaps(papers.get(key), level, store), f"{key} at {level}")
        return
    frame = holdings(store)
    if profile is not None:
        frame = frame[frame["profile"] == check_profile(profile)]
    for place, folder in (("committed", ", ".join(map(str, store.also)) or "none"), ("working", store.root)):
        typer.echo(f"{place}: {folder}")
    if frame.empty:
        typer.echo("no results yet: defenselib run makes one")
    else:
        show(frame, "results")


def data(
    names: Annotated[list[str] | None, typer.Argument(help="Names or paths; all known ones if none.")] = None,
) -> None:
    """Load data sets and print their sizes and digests, in full of those that are named; says which are missing and
    where it looked. Exit code 1 where one that was named is missing or damaged."""
    from defenselib.data import search_path
    from defenselib.report.status import data_sets

    typer.echo(f"searched: {', '.join(map(str, search_path()))}")
    frame = data_sets(tuple(names or ()))
    shown = frame.drop(columns="note")
    if "digest" in shown:
        shown["digest"] = shown["digest"].str[:16]
    show(shown, "data sets")
    if names and "digest" in frame:
        found = frame.loc[frame["digest"].notna() & (frame["where"] != "drawn"), ["data set", "digest"]]
        for name, digest in found.itertuples(index=False):
            typer.echo(f"digest of {name}: {digest}")
    for note in frame["note"]:
        if note:
            typer.echo(note)
    if names and frame["note"].any():
        raise typer.Exit(1)


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
        check_profile(profile)
    working = Store(default_stores().root)
    chosen = [working.get(key) or key for key in hashes or ()]
    chosen += [result for result in working.results() if result.profile == profile]
    for result in chosen:
        if not isinstance(result, str) and result.profile == "smoke":
            raise InvalidValueError(f"{result.hash} was made at smoke, which is no evidence")
    kept = promote(chosen, to=to, replace=replace)
    for result in kept:
        typer.echo(f"kept: {result.path}")
    if not chosen:
        typer.echo(f"nothing to keep: no result of profile {profile!r} in the working store, {working.root}")
    if len(kept) < len(chosen):
        typer.echo(f"{len(chosen) - len(kept)} left as they were: committed already; --replace takes the new runs")


def clean(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    older: Annotated[bool, typer.Option("--outdated", help="Also what older code left in the working store.")] = False,
    pages: Annotated[
        list[Path] | None, typer.Option(help="Also in this folder of executed notebooks; several may be given.")
    ] = None,
) -> None:
    """Remove what nothing needs any more: temporary and damaged files, checkpoints of finished cells, models without a
    result, notebooks whose execution was killed. Only what has lain still for an hour goes. With --outdated also
    working results that older code made, with their models and shared stages beside them at once, and checkpoints of
    any cell that have lain still for an hour; committed results stay."""
    import pandas as pd

    from defenselib import folders
    from defenselib.experiments import default_stores
    from defenselib.experiments.leftovers import leftovers, outdated, remove

    for folder in pages or ():
        if not folder.is_dir():
            what = "is a file" if folder.exists() else "does not exist"
            raise InvalidValueError(f"--pages is {str(folder)!r}, which {what}; it must be a folder of notebooks")
    store = default_stores()
    clones = (Path.cwd(), Path(__file__).parents[2])
    places = [*(clone / "book" / "_executed" for clone in clones), folders.cache_root() / "batch" / "executed"]
    listed = leftovers(store, folders.cache_root(), pages=[*places, *(pages or ())])
    found = list({item.path: item for item in (*listed, *(outdated(store) if older else ()))}.values())
    if not found:
        typer.echo("nothing is left over")
        return
    rows = [(item.kind, f"{item.size / 1e6:.1f}", str(item.path)) for item in found]
    show(pd.DataFrame(rows, columns=["kind", "MB", "path"]), "would be removed" if dry_run else "removed")
    size = sum(item.size for item in found) if dry_run else remove(found)
    typer.echo(f"{len(found)} left over, {size / 1e6:.1f} MB {'would be freed' if dry_run else 'freed'}")


def profile_command(
    name: Annotated[str, typer.Argument(help="Name of a profile.")],
    dataset: Annotated[str, typer.Option(help="Data set of both columns.")] = "cifar10",
    attack: Annotated[str, typer.Option(help="Attack, whose rate decides how often poison is seen.")] = "badnets",
    defense: Annotated[str | None, typer.Option(help="Only this defense.")] = None,
) -> None:
    """What a profile makes of the papers' schedules: steps, exposures to poison, passes, stage by stage."""
    from defenselib.defenses import DEFENSES
    from defenselib.experiments.schedule import derived, rule_of

    if defense is not None:
        rule_of(check_choice("defense", defense, DEFENSES))
    frame = derived(check_profile(name), dataset=dataset, attack=attack)
    if defense is not None:
        frame = frame[frame["defense"] == defense]
    if frame.empty:
        raise InvalidValueError(f"profile {name!r} leaves out {dataset!r}")
    for column in frame.columns[2:]:
        digits = 1 if column.startswith("passes") else 0
        frame[column] = frame[column].map(f"{{:,.{digits}f}}".format)
    show(frame, f"{name} on {dataset} under {attack}; a split is taken to be right")
