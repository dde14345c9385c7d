"""How well a scan finds poison that we put in ourselves, how often it cries wolf, and how good a delivered model is:
the book's tables.

    python -m defenselib.audit.trials scan --dataset cifar10 --attack badnets --rate 0.05 --seed 0 --output scan.csv
    python -m defenselib.audit.trials deliver --dataset cifar10 --attack badnets --rate 0.05 --defense abl

Every row of the first is a subset drawn by its seed, poisoned, scanned without knowing it, and compared with what was
put in. The limits of `agree` were chosen on seeds from 100 on; the book's have others. For the second a data set is
poisoned, written as a folder, defended, and the model is asked about images that the defender never saw, plain ones and
with the trigger. Rows that a table holds are not measured again.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from defenselib import attacks
from defenselib.audit.amount import PROFILES
from defenselib.audit.defend import Plan, Settings, defend
from defenselib.audit.examples import Example, example_of, write_folder
from defenselib.audit.folder import UserData, read_folder
from defenselib.audit.methods import needs_clean
from defenselib.audit.names import read_table, write_table
from defenselib.audit.network import small_network
from defenselib.audit.results import Delivery, ScanReport
from defenselib.audit.scan import scan
from defenselib.data import info, load_dataset, source_of
from defenselib.data.subset import split_by_index, stratified_index
from defenselib.data.types import Dataset, ImageSet, PoisonedDataset
from defenselib.errors import check_choice, told
from defenselib.experiments import provenance
from defenselib.learning.context import Context
from defenselib.version import __version__

app = typer.Typer()
TARGETS = {"cifar10": 3, "gtsrb": 1}
ATTACKS = ("badnets", "blend", "sig", "wanet", "clb")
SIGNS = ("pattern", "loss", "entropy", "fct", "spectral")
KEY = ("dataset", "images", "attack", "rate", "seed", "budget")
FOUND = ("poisoned", "alarm", "target", "guess", "strength", "other_classes", "taken", "taken_without")
HITS = ("flagged", "precision", "recall", "hit_agreement", *(f"hit_{key}" for key in SIGNS))
COLUMNS = (*KEY, *FOUND, *HITS, "cpu_seconds")
# The attack's own surrogate takes hours on full data; this one is enough to make images hard to learn.
_CLB: dict[str, Any] = {"surrogate": "standard", "surrogate_epochs": 4, "surrogate_schedule": "triangle"}
TABLE = "delivered.csv"
CLEAN_A_CLASS = 10


def poisoned(data: Dataset, attack: str, rate: float, seed: int) -> tuple[attacks.Attack, PoisonedDataset]:
    """The attack, and a data set with `rate` of its images poisoned. Attacks that keep labels poison so many of the
    target class, at most four fifths of it."""
    made = attacks.create(attack, image_size=32, seed=seed, **(_CLB if attack == "clb" else {}))
    target = TARGETS[data.name]
    if not made.poisons:
        return made, attacks.poison(data, made, rate=0.0, seed=seed)
    if attack == "clb":
        flip = data.name != "gtsrb"
        context = Context(model_factory=lambda: small_network(data.num_classes, 32), seed=seed, flip=flip)
        made = made.prepare(data.train, target, context)
    if made.clean_label:
        share = min(0.8, rate * len(data.train) / int((data.train.labels == target).sum()))
        return made, attacks.poison(data, made, share, target, seed, count="exact-target")
    return made, attacks.poison(data, made, rate, target, seed, count="exact-all")


def trial(name: str, images: int, attack: str, rate: float, seed: int, budget: str) -> dict[str, Any]:
    """One row of the table."""
    data = load_dataset(name, limit=images, seed=seed, image_size=32, fetch=False)
    few = data.test.select(torch.arange(10))
    _, made = poisoned(Dataset(data.name, data.train, few, data.classes, data.digest), attack, rate, seed)
    classes = tuple(str(label) for label in range(int(made.train.labels.max()) + 1))
    files = tuple(f"{place:06d}.png" for place in range(images))
    started = time.process_time()
    report = scan(UserData(Path(name), made.train, files, classes, (), ()), seed=seed, budget=budget, device="cpu")
    seconds = time.process_time() - started
    key = dict(zip(KEY, (name, images, attack, rate, seed, budget), strict=True))
    return key | _compared(report, made.is_poisoned, TARGETS[name]) | {"cpu_seconds": round(seconds, 1)}


def _compared(report: ScanReport, is_poisoned: Tensor, target: int) -> dict[str, Any]:
    count = int(is_poisoned.sum())
    hit = int((report.flagged & is_poisoned).sum())
    row: dict[str, Any] = {
        "poisoned": count,
        "alarm": report.alarm,
        "target": target if count else None,
        "guess": report.target,
        "strength": round(report.null["strength"], 2),
        "other_classes": round(report.null["strongest in other classes"], 2),
        "taken": _rounded(report.null.get("taken with the pattern")),
        "taken_without": _rounded(report.null.get("taken without")),
        "flagged": int(report.flagged.sum()),
        "precision": round(hit / max(1, int(report.flagged.sum())), 4) if count else None,
        "recall": round(hit / count, 4) if count else None,
    }
    if count:
        row["hit_agreement"] = round(float(is_poisoned[report.rank[:count]].float().mean()), 4)
        for sign in report.signs:
            if sign.key in SIGNS:
                first = sign.scores.nan_to_num(nan=-torch.inf).argsort(descending=True, stable=True)[:count]
                row[f"hit_{sign.key}"] = round(float(is_poisoned[first].float().mean()), 4)
    return row


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


@app.command("scan")
def scans(
    output: Annotated[Path, typer.Option(help="The table.")],
    dataset: Annotated[list[str] | None, typer.Option(help="May be given again, as the next four.")] = None,
    images: list[int] | None = None,
    attack: list[str] | None = None,
    rate: list[float] | None = None,
    seed: list[int] | None = None,
    budget: str = "standard",
) -> None:
    """Scan where the truth is known: every combination that the table does not hold, written after each."""
    names = [check_choice("dataset", name, TARGETS) for name in dataset or TARGETS]
    axes = (names, images or [2000], attack or ATTACKS, rate or [0.05, 0.01], seed or [0], [budget])
    for key in itertools.product(*axes):
        if not _measured(output, dict(zip(KEY, key, strict=True))):
            row = trial(*key)
            add_row(output, COLUMNS, row)
            typer.echo(" ".join(f"{name}={row.get(name)}" for name in (*KEY, "alarm", "guess", "precision", "recall")))


def _measured(path: Path, asked: Mapping[str, Any]) -> bool:
    """Whether a table has a row of what is asked."""
    wanted = {key: str(value) for key, value in asked.items()}
    return any(wanted.items() <= row.items() for row in read_table(path))


def add_row(path: Path, columns: Sequence[str], row: Mapping[str, Any]) -> None:
    """Put a row at the end of a table. Errors: FolderError."""
    write_table(path, columns, [[one.get(name) for name in columns] for one in (*read_table(path), row)])


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


@app.command()
def deliver(
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
    if _measured(output, asdict(asked)):
        typer.echo("measured already")
        return
    row = measured(asked, progress=True)
    add_row(output, tuple(asdict(row)), asdict(row))
    typer.echo(str(row))


if __name__ == "__main__":
    with told():
        app()
