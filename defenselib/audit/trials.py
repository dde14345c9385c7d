"""How well a scan finds poison that we put in ourselves, and how often it cries wolf: the book's table.

    python -m defenselib.audit.trials --dataset cifar10 --attack badnets --rate 0.05 --seed 0 --output scan.csv

Every row is a subset drawn by its seed, poisoned, scanned without knowing it, and compared with what was put in. Rows
that the file holds are not run again. The limits of `agree` were chosen on seeds from 100 on; the book's have others.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from defenselib import attacks
from defenselib.audit.folder import UserData
from defenselib.audit.names import read_table, write_table
from defenselib.audit.network import small_network
from defenselib.audit.results import ScanReport
from defenselib.audit.scan import scan
from defenselib.data.load import load_dataset
from defenselib.data.types import Dataset, PoisonedDataset
from defenselib.learning.context import Context

TARGETS = {"cifar10": 3, "gtsrb": 1}
SIGNS = ("pattern", "loss", "entropy", "fct", "spectral")
KEY = ("dataset", "images", "attack", "rate", "seed", "budget")
FOUND = ("poisoned", "alarm", "target", "guess", "strength", "other_classes", "taken", "taken_without")
HITS = ("flagged", "precision", "recall", "hit_agreement", *(f"hit_{key}" for key in SIGNS))
COLUMNS = (*KEY, *FOUND, *HITS, "cpu_seconds")
# The attack's own surrogate takes hours on full data; this one is enough to make images hard to learn.
_CLB: dict[str, Any] = {"surrogate": "standard", "surrogate_epochs": 4, "surrogate_schedule": "triangle"}


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


def run(wanted: list[tuple[Any, ...]], output: Path) -> None:
    """Run the trials that `output` does not hold, and write it after each."""
    rows: list[dict[str, Any]] = [*read_table(output)]
    have = {tuple(str(row[name]) for name in KEY) for row in rows}
    for key in wanted:
        if tuple(map(str, key)) not in have:
            rows.append(trial(*key))
            write_table(output, COLUMNS, ([row.get(name) for name in COLUMNS] for row in rows))
            told = (*KEY, "alarm", "guess", "precision", "recall")
            print(*(f"{name}={rows[-1].get(name)}" for name in told), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--images", type=int, nargs="+", default=[2000])
    parser.add_argument("--attack", nargs="+", default=["badnets", "blend", "sig", "wanet", "clb"])
    parser.add_argument("--rate", type=float, nargs="+", default=[0.05, 0.01])
    parser.add_argument("--seed", type=int, nargs="+", default=[0])
    parser.add_argument("--budget", default="standard")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    axes = (given.dataset, given.images, given.attack, given.rate, given.seed, [given.budget])
    run(list(itertools.product(*axes)), given.output)


if __name__ == "__main__":
    main()
