"""`defenselib defend`: a model from a folder that nobody vouches for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from defenselib.commands.output import console, resumable, table, verdict
from defenselib.folders import expanded
from defenselib.report.parameters import convert

if TYPE_CHECKING:
    from defenselib.audit.defend import Plan
    from defenselib.audit.results import Delivery


METHODS = "bsd, asd, vab, dst, dbr, aabl, abl, dbd, cbd, spectral; none trains without one."
PROFILES = "How much work: demo, laptop, gpu, paper; smoke shows that it runs."


def defend_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Class folders, a table of labels, or Parquet.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for what is delivered; new or empty.")],
    defense: Annotated[str, typer.Option(help=METHODS)] = "bsd",
    clean: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Images that you vouch for, some of every class; asd needs them.")
    ] = None,
    test: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Images to measure accuracy on; else a part is held out.")
    ] = None,
    image_size: Annotated[
        str | None, typer.Option(metavar="PIXELS", help="Side of the images, 16 to 512; else chosen by what there is.")
    ] = None,
    label_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Column of the labels, where a table leaves a choice.")
    ] = None,
    profile: Annotated[str, typer.Option(help=PROFILES)] = "laptop",
    holdout: Annotated[str, typer.Option(metavar="SHARE", help="Of the files, held out; 0 to 0.5.")] = "0.1",
    flip: Annotated[bool, typer.Option(help="Whether a mirrored image keeps its label; not so for signs.")] = True,
    seed: Annotated[str, typer.Option(metavar="INTEGER", help="A whole number from 0 on.")] = "0",
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, …; the best there is if not given.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and how long it takes.")] = False,
    progress: Annotated[bool, typer.Option(help="Show progress bars.")] = True,
) -> None:
    """Scan your own images, train a defended model on them, and write model, suspects, cleaned list and report.

    A run that was stopped goes on where it was when the same command is given again.
    """
    from defenselib.audit.defend import Plan, Settings, defend
    from defenselib.audit.folder import read_folder
    from defenselib.audit.inputs import read_beside
    from defenselib.audit.methods import check_defense
    from defenselib.audit.outfolder import REPORT, check_apart, check_finished, check_free, finished
    from defenselib.cpu.devices import chosen_device

    out = expanded(out)
    share, number = convert(holdout, float, "--holdout"), convert(seed, int, "--seed")
    settings = Settings(defense=defense, profile=profile, seed=number, holdout=share, flip=flip)
    side = None if image_size is None else convert(image_size, int, "--image-size")
    check_defense(defense, clean=clean is not None)
    chosen_device(device)
    check_apart(out, {"DIR": folder, "--clean": clean, "--test": test})
    before = finished(out)
    if before is None:
        check_free(out)
    data = read_folder(folder, side, label_column=label_column, progress=progress)
    size = data.images.image_size
    trusted, unseen = (
        None if part is None else read_beside(part, size, label_column, progress=progress) for part in (clean, test)
    )
    plan = Plan(data, settings, trusted, unseen, device)
    if before is not None:
        check_finished(out, before, plan.request())
        typer.echo(f"this run is finished: report at {out / REPORT}")
        return
    _announce(plan)
    if dry_run:
        return
    with resumable():
        delivery = defend(plan, out, progress=progress)
    _tell(plan, delivery, out)


def _announce(plan: Plan) -> None:
    """What will be done, and about how long it takes."""
    from defenselib.audit.amount import spoken
    from defenselib.audit.defend import described, expected_seconds
    from defenselib.plots.words import plural

    for name, part in plan.folders.items():
        begin = "" if name == "data" else f"{name}: "
        for note in part.notes:
            typer.echo(f"{begin}{note}")
        if part.skipped:
            typer.echo(f"{begin}{plural(len(part.skipped), 'file', 'is', 'are')} not read; skipped.csv will say why")
    if plan.clean is not None and plan.clean_images is None:
        typer.echo(f"{plan.settings.defense} makes no use of clean images; --clean is not used")
    trained = table("what is trained", ("stage", "steps", "passes over the data"), ["stage"])
    for stage in plan.work.stages():
        trained.add_row(stage.name, f"{stage.steps:,}", f"{stage.passes:.3g}")
    console().print(trained)
    for name, text in described(plan).items():
        typer.echo(f"{name}: {text}")
    scan, training = map(spoken, expected_seconds(plan))
    typer.echo(f"expected: a scan of about {scan}, then a training of about {training}")


def _tell(plan: Plan, delivery: Delivery, out: Path) -> None:
    """What was found and written."""
    from defenselib.audit.cautions import accuracy_shown, cautions
    from defenselib.audit.outfolder import REPORT
    from defenselib.audit.suspects import unjudged
    from defenselib.plots.words import plural

    seen = delivery.accuracy
    verdict(delivery.scan)
    if seen is None or seen.copies:
        typer.echo(f"accuracy is {delivery.measured}")
    if seen is not None:
        percent = accuracy_shown(seen.percent, seen.images)
        typer.echo(f"accuracy on the {seen.where} ({plural(seen.images, 'image')}): {percent}")
        if plan.test is None:
            typer.echo("the held-out part is as suspect as the rest; --test DIR measures on images that you trust")
    typer.echo(f"left out of the cleaned list: {int(delivery.removed.sum())} of {len(plan.data.files)} files")
    if bool(delivery.held_out.any()):
        typer.echo(unjudged(delivery))
    for name, text in delivery.files.items():
        typer.echo(f"{out / name}: {text}")
    typer.echo(f"report: {out / REPORT}")
    for text in cautions(plan.data, delivery):
        typer.echo(f"warning: {text}")
