"""The table of the profile `demo`: does each attack take, and each defense defend, on drawn images?

    python -m defenselib.experiments.drawn --attack blend --defense asd --seed 0

measures one pair and puts its row into the committed table (`book/results/trials/demo.csv`); an earlier one of the same
pair, seed and arithmetic goes. A row says which of the profile's goals it misses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import filelock
import pandas as pd
import typer

from defenselib import folders
from defenselib.attacks import ATTACKS
from defenselib.defenses import DEFENSES
from defenselib.errors import check_choice, told
from defenselib.experiments.experiment import Experiment
from defenselib.experiments.result import Result
from defenselib.experiments.runner import run

TABLE = Path("book/results/trials/demo.csv")
# How bf16 was computed decides too: the same seed has other roundings, and a miniature is a small step from failing.
KEYS = ["attack", "defense", "seed", "bf16"]
# The goals, in percent: what an undefended model must reach, and what a defense must leave and keep.
ACC, TAKES, TAKES_BADNETS = 95.0, 85.0, 95.0
LEFT, COST, TARGET = 5.0, 5.0, 80.0


def missed(result: Result, undefended: Result) -> list[str]:
    """The goals of `demo` that a result misses; those of an attack where `result` is the undefended model itself.

    A number that was not measured misses its goal.
    """
    recalls = result.per_class
    if result.experiment["defense"] == "none":
        takes = TAKES_BADNETS if result.experiment["attack"] == "badnets" else TAKES
        goals = {f"acc>={ACC:g}": result.acc >= ACC, f"asr>={takes:g}": result.asr >= takes}
    else:
        goals = {
            f"asr<={LEFT:g}": result.asr <= LEFT,
            f"acc within {COST:g}": result.acc >= undefended.acc - COST,
            f"target recall>={TARGET:g}": recalls[result.experiment["target"]] >= TARGET,
        }
    return [goal for goal, met in {**goals, "no dead class": min(recalls) > 0}.items() if not met]


def row(result: Result, undefended: Result) -> dict[str, Any]:
    """A row of the table: percent, seconds of the defense's own work by processor and by clock, poisoned images."""
    open_ = missed(result, undefended)
    return {
        "attack": result.experiment["attack"],
        "defense": result.experiment["defense"],
        "seed": result.experiment["seed"],
        "bf16": result.machine["bf16"],
        "acc": round(result.acc, 2),
        "asr": round(result.asr, 2),
        "target_recall": round(result.per_class[result.experiment["target"]], 2),
        "rarest_recall": round(min(result.per_class), 2),
        "cpu_seconds": math.nan if result.cpu_seconds is None else round(result.cpu_seconds, 3),
        "seconds": round(result.seconds, 1),
        "poisoned": result.poisoned_count,
        "gates": f"fail: {', '.join(open_)}" if open_ else "hold",
        "hash": result.hash,
    }


def put(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Put rows at the end of a table; those of the same pair, seed and arithmetic go, and those that do not say how
    they were computed. Errors: FolderError."""
    folders.make(path.parent)
    with filelock.FileLock(path.with_suffix(".lock")):
        known = pd.read_csv(path, dtype={"hash": str}).to_dict("records") if path.exists() else []
        anew = {tuple(row[key] for key in KEYS[:-1]) for row in rows}
        known = [row for row in known if pd.notna(row["bf16"]) or tuple(row[key] for key in KEYS[:-1]) not in anew]
        told = pd.DataFrame([*known, *rows]).drop_duplicates(KEYS, keep="last")
        folders.write_text(path, told.to_csv(index=False))


def measured(attack: str, defense: str, seed: int) -> dict[str, Any]:
    """Run a pair and its undefended model (what is in the store is not run again), and make its row."""

    def cell(name: str) -> Result:
        return run(Experiment(dataset="shapes", attack=attack, defense=name, profile="demo", seed=seed), device="cpu")

    undefended = cell("none")
    return row(undefended if defense == "none" else cell(defense), undefended)


def main(
    attack: Annotated[list[str], typer.Option(help="Name of an attack; more than one may be given.")],
    defense: Annotated[list[str], typer.Option(help="Name of a defense, or none; more than one may be given.")],
    seed: Annotated[list[int], typer.Option(help="A whole number from 0 on; more than one may be given.")] = [0],  # noqa: B006
    output: Annotated[Path, typer.Option(help="The table.")] = TABLE,
) -> None:
    """Measure pairs of an attack and a defense on drawn images at the profile demo, and put their rows into the table,
    which is made where it is not there."""
    for name in attack:
        check_choice("attack", name, ATTACKS)
    for name in defense:
        check_choice("defense", name, DEFENSES)
    for name in attack:
        for other in defense:
            for number in seed:
                found = measured(name, other, number)
                put(output, [found])
                typer.echo(found)


if __name__ == "__main__":
    with told():
        typer.run(main)
