"""`defenselib scan`: is a folder of images poisoned, and which files."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from defenselib.commands.output import console, resumable, verdict
from defenselib.errors import check_choice, check_range
from defenselib.folders import expanded
from defenselib.report.parameters import convert

if TYPE_CHECKING:
    from defenselib.audit.folder import UserData
    from defenselib.audit.results import ScanReport

SHOWN = 10  # suspects in the terminal
FAILS = {"alarm": 1, "unknown": 3}  # exit statuses of --fail-on-alarm; 2 says that nothing was looked at


def scan_command(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Class folders, a table of labels, Parquet, torchvision's.")
    ],
    image_size: Annotated[
        str | None,
        typer.Option(metavar="INTEGER", help="Side in pixels, 16 to 512; by the images if not given."),
    ] = None,
    label_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Column of the labels, where a table leaves a choice.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for report.html, suspects.csv, skipped.csv, scan.json.")
    ] = None,
    seed: Annotated[str, typer.Option(metavar="INTEGER", help="A whole number from 0 on.")] = "0",
    budget: Annotated[str, typer.Option(help="quick: patterns alone; standard: two small networks too.")] = "standard",
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, …; the best there is if not given.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read the folder, say how long it takes, stop.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    fail_on_alarm: Annotated[
        bool,
        typer.Option("--fail-on-alarm", help="Exit with 1 on an alarm, with 3 where too few images leave it unknown."),
    ] = False,
    progress: Annotated[bool, typer.Option(help="Show progress and time left.")] = True,
) -> None:
    """Look for poison in your own images: which class, which files, how sure. Nothing in DIR is changed or executed."""
    from defenselib.audit.amount import spoken
    from defenselib.audit.folder import read_folder
    from defenselib.audit.outfolder import check_scan
    from defenselib.audit.scan import BUDGETS, scan, seconds_for
    from defenselib.audit.suspects import planned, summary
    from defenselib.cpu.devices import chosen_device

    check_choice("budget", budget, BUDGETS)
    chosen_device(device)
    number = int(check_range("seed", convert(seed, int, "--seed"), 0, 2**63 - 1))
    size = None if image_size is None else convert(image_size, int, "--image-size")
    out = None if out is None else check_scan(expanded(out), expanded(folder).absolute())
    data = read_folder(folder, size, label_column=label_column, progress=progress)
    expected = seconds_for(data, budget, device)
    if dry_run and as_json:
        typer.echo(json.dumps(planned(data, expected), ensure_ascii=True))
        return
    if dry_run or not as_json:
        about = f"{len(data.files)} images, {len(data.classes)} classes: about {spoken(expected)}"
        typer.echo(about, err=not dry_run)
    if dry_run:
        _tell_reading(data)
        return
    with resumable("the same command goes on" if out is not None else "with --out the same command would go on"):
        save = None if out is None else partial(_write, out, data)
        report = scan(data, seed=number, budget=budget, device=device, progress=progress, out=out, save=save)
    if as_json:
        typer.echo(json.dumps(summary(data, report), ensure_ascii=True))
    else:
        _show(data, report, out)
    if fail_on_alarm and report.alarm in FAILS:
        raise typer.Exit(FAILS[report.alarm])


def _write(out: Path, data: UserData, report: ScanReport) -> None:
    from defenselib.audit.page import write_report
    from defenselib.audit.suspects import write_scan

    write_report(out / "report.html", data, report)
    write_scan(out, data, report)


def _tell_reading(data: UserData) -> None:
    """Notes, and what was left out, in a few lines; names as text, whatever they hold."""
    from defenselib.audit.names import visible

    to = console()
    for note in data.notes:
        to.print(Text(f"· {note}"))
    if data.skipped:
        to.print(Text(f"· {_left_out(len(data.skipped))} not part of the data:"))
        for item in data.skipped[:5]:
            to.print(Text(f"    {visible(item.file)}: {item.reason}"))
        if len(data.skipped) > 5:
            to.print(Text("    ... all of them in skipped.csv (--out)"))


def _left_out(count: int) -> str:
    return "1 file or folder is" if count == 1 else f"{count} files or folders are"


def _show(data: UserData, report: ScanReport, out: Path | None) -> None:
    from defenselib.audit.names import visible

    to = console()
    _tell_reading(data)
    signs = Table(title="Signs", show_lines=False)
    signs.add_column("sign")
    signs.add_column("what it found")
    for item in report.signs:
        signs.add_row(Text(item.title), Text(item.words))
    to.print(signs)
    count = int(report.flagged.sum())
    if count:
        files = Table(title=f"Most suspicious files ({min(SHOWN, count)} of {count} flagged)")
        for name in ("file", "class", "score"):
            files.add_column(name, overflow="fold", justify="right" if name == "score" else "left")
        for place in report.rank[report.flagged[report.rank]][:SHOWN].tolist():
            label = data.classes[int(data.images.labels[place])]
            files.add_row(Text(visible(data.files[place])), Text(label), f"{float(report.score[place]):.2f}")
        to.print(files)
    verdict(report)
    if out is not None:
        to.print(Text(f"Written: {visible(str(out))}/report.html, suspects.csv, skipped.csv, scan.json"))
