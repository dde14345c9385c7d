"""How good a delivered model is where the truth is known: a data set is poisoned, written as a folder, defended, and
the model is asked about images that the defender never saw, plain ones and with the trigger.

    python -m defenselib.audit.delivered --dataset cifar10 --attack badnets --rate 0.05 --defense abl --profile demo

One row is added to a table for every call; one that is there already is not measured again.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import torch
import typer

from defenselib.audit.amount import PROFILES
from defenselib.audit.defend import Plan, Settings, defend
from defenselib.audit.examples import Example, example_of, write_folder
from defenselib.audit.folder import UserData, read_folder
from defenselib.audit.methods import needs_clean
from defenselib.audit.names import read_table, write_table
from defenselib.audit.results import Delivery
from defenselib.audit.trials import poisoned
from defenselib.data import info, load_dataset, source_of
from defenselib.data.subset import split_by_index, stratified_index
from defenselib.data.types import Dataset, ImageSet
from defenselib.errors import check_choice
from defenselib.experiments import provenance
from defenselib.version import __version__

TABLE = "delivered.csv"
CLEAN_A_CLASS = 10


@dataclass(frozen=True)
class Asked:
    """What is measured: so many training images of a data set, an attack, a defense."""

    dataset: str
    images: int
    attack: str
    rate: float
    defense: str
    profile: str
    seed: int


@dataclass(frozen=True)
class Row(Asked):
    """One delivered model. In percent: acc and asr on test images that the defender never saw; held_out, what the
    report says; removed and removed_poisoned, of the files, and of the poisoned ones, that the cleaned list leaves
    out. source: which copy of the data set."""

    source: str
    poisoned: int
    acc: float
    asr: float | None
    held_out: float | None
    alarm: str
    target_right: bool | None
    removed: float
    removed_poisoned: float | None
    seconds: float
    machine: str
    version: str
    created: str


def measured(asked: Asked, progress: bool = False) -> Row:
    """One row: everything in a temporary folder, nothing kept."""
    settings = Settings(defense=asked.defense, profile=asked.profile, seed=asked.seed)
    full, vouched = _drawn(asked)
    with tempfile.TemporaryDirectory(prefix="defenselib-") as place:
        root = Path(place)
        attack, made = poisoned(full, asked.attack, asked.rate, asked.seed)
        example = example_of(root / "data", made, attack, full.classes)
        data, clean = read_folder(root / "data"), None
        if vouched is not None:
            write_folder(root / "clean", vouched, full.classes)
            clean = read_folder(root / "clean")
        started = time.monotonic()
        delivery = defend(Plan(data, settings, clean=clean), root / "out", progress=progress)
        return _row(source_of(full), example, data, delivery, asked, time.monotonic() - started)


def _drawn(asked: Asked) -> tuple[Dataset, ImageSet | None]:
    """The data to be poisoned, and for a method that wants clean images others of the training set."""
    if not needs_clean(asked.defense):
        return load_dataset(asked.dataset, limit=asked.images, seed=asked.seed), None
    extra = CLEAN_A_CLASS * info(asked.dataset).num_classes
    full = load_dataset(asked.dataset, limit=asked.images + extra, seed=asked.seed)
    index = stratified_index(full.train.labels, extra, asked.seed, "vouched")
    vouched, train = split_by_index(full.train, index)
    return replace(full, train=train), vouched


def _row(source: str, example: Example, data: UserData, delivery: Delivery, asked: Asked, seconds: float) -> Row:
    poisoned = example.poisoned_among(data.files)
    acc, asr = example.accuracy(delivery.model, data.classes)
    bad, scan, machine = int(poisoned.sum()), delivery.scan, provenance.machine(torch.device("cpu"))
    guess = None if scan.target is None else data.classes[scan.target]
    return Row(
        **asdict(asked) | {"images": len(data.files), "rate": asked.rate if bad else 0.0},
        source=source,
        poisoned=bad,
        acc=round(acc, 2),
        asr=None if asr is None else round(asr, 2),
        held_out=None if delivery.accuracy is None else round(delivery.accuracy.percent, 2),
        alarm=scan.alarm,
        target_right=None if example.target is None else guess == example.classes[example.target],
        removed=round(100 * float(delivery.removed.double().mean()), 2),
        removed_poisoned=round(100 * int((delivery.removed & poisoned).sum()) / bad, 2) if bad else None,
        seconds=round(seconds, 1),
        machine=str(machine["gpu"] or machine["cpu"]),
        version=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def add_row(path: Path, row: Row) -> None:
    """Put a row at the end of a table. Errors: FolderError."""
    told = asdict(row)
    write_table(path, tuple(told), [[one.get(name) for name in told] for one in (*read_table(path), told)])


def main(
    dataset: Annotated[str, typer.Option(help="Name of a data set.")] = "cifar10",
    images: Annotated[int, typer.Option(help="Training images that are drawn from it.")] = 3000,
    attack: Annotated[
        str, typer.Option(help="badnets, blend, sig, wanet, clb or none, as in the table of scans.")
    ] = "badnets",
    rate: Annotated[float, typer.Option(help="Share of the images, as in the table of scans.")] = 0.05,
    defense: Annotated[str, typer.Option(help="One of those that are offered.")] = "abl",
    profile: Annotated[str, typer.Option(help="How much work.")] = "demo",
    seed: Annotated[int, typer.Option(help="A whole number from 0 on.")] = 0,
    output: Annotated[Path, typer.Option(help="The table.")] = Path("book/results/audit") / TABLE,
) -> None:
    """Deliver a model where the truth is known, and add what was measured to a table."""
    check_choice("profile", profile, PROFILES)
    asked = Asked(dataset, images, attack, rate if attack != "none" else 0.0, defense, profile, seed)
    wanted = {key: str(value) for key, value in asdict(asked).items()}
    if any(wanted.items() <= row.items() for row in read_table(output)):
        typer.echo("measured already")
        return
    row = measured(asked, progress=True)
    add_row(output, row)
    typer.echo(str(row))


if __name__ == "__main__":
    typer.run(main)
