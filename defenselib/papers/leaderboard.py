"""All defenses under one protocol, which none of the papers has.

Same poisoned data, same seeds, same test images, the last epoch of every training, no choice by test data. Attacks run
with their default preset, defenses with their default hyper-parameters, both scaled by the profile.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from defenselib import attacks as attack_registry
from defenselib import defenses as defense_registry
from defenselib.errors import check_choice
from defenselib.experiments import profile as profiles
from defenselib.papers.kit import times
from defenselib.papers.kit.claims import RANK
from defenselib.papers.kit.frame import ders, entry, machine_of
from defenselib.papers.kit.grid import Answer, Cell, Grid, Request, Thin

if TYPE_CHECKING:
    from defenselib.experiments.result import Result

SEEDS = (0, 1, 2)


def table(
    profile: str = "best",
    dataset: str = "cifar10",
    attacks: Sequence[str] | None = None,
    defenses: Sequence[str] | None = None,
    run: bool = False,
    seeds: Sequence[int] | None = None,
    store: Any = None,
) -> pd.DataFrame:
    """One row a pair of attack and defense: attack, defense, acc, asr, der, ra (percent, means over seeds; NaN where
    not run), sd_acc, sd_asr, n, seconds (with what the model it repairs and shared stages cost), clean_given,
    suspects, suspects_poisoned, poisoned, profile, ran_on, reason.

    der is taken seed by seed against the undefended model of that seed; NaN for "none" and where that is missing.
    seeds: those looked up (0, 1, 2 if None; with `run` only 0). profile "best": the best evidence of each pair.
    """
    for name in attacks or ():
        check_choice("attack", name, attack_registry.available())
    for name in defenses or ():
        check_choice("defense", name, defense_registry.available())
    names = RANK if profile == "best" else (check_choice("profile", profile, profiles.available()),)
    chosen = tuple(seeds) if seeds is not None else ((0,) if run else SEEDS)
    grids = [_grid(Request(name, run, Thin(), chosen, store)) for name in names]
    rows = []
    for attack in attacks or attack_registry.available():
        for defense in defenses or defense_registry.available():
            found = [_row(dataset, attack, defense, grid) for grid in grids]
            rows.append(next((row for row in found if row["n"]), found[-1]))
    return pd.DataFrame(rows)


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a defense of `table`: defense, attacks (run), of (attacks in the table), worst_der, worst_attack,
    worst_asr, worst_acc, worst_ra (over the attacks that were run), mean_der, mean_acc, seconds (mean), clean_given
    (most), seeds_from, seeds_to; the best worst case first, defenses without a result last.

    A worst case over one attack says less than one over ten: `attacks` stands beside it. The clean training set
    ("none") counts as an attack for the accuracies only.
    """
    rows = [_summary(str(name), part) for name, part in frame.groupby("defense", sort=False)]
    return pd.DataFrame(rows).sort_values(
        ["worst_der", "worst_asr"], ascending=[False, True], kind="stable", na_position="last", ignore_index=True
    )


def _summary(defense: str, part: pd.DataFrame) -> dict[str, Any]:
    ran = part[part["n"] > 0]
    attacked, real = ran[ran["attack"] != "none"], part[part["attack"] != "none"]
    lowest = attacked["der"].dropna()
    return {
        "defense": defense,
        "attacks": len(attacked),
        "of": len(real),
        "worst_der": lowest.min(),
        "worst_attack": attacked["attack"][lowest.index].iloc[int(lowest.argmin())] if len(lowest) else "",
        "worst_asr": attacked["asr"].max(),
        "worst_acc": ran["acc"].min(),
        "worst_ra": ran["ra"].min(),
        "mean_der": attacked["der"].mean(),
        "mean_acc": attacked["acc"].mean(),
        "seconds": ran["seconds"].mean(),
        "clean_given": ran["clean_given"].max(),
        "seeds_from": ran["n"].min(),
        "seeds_to": ran["n"].max(),
    }


def _grid(request: Request) -> Grid:
    # No paper's recipes: every method with its own defaults.
    return Grid("", request, lambda cell, profile: SEEDS, Thin())


def _row(dataset: str, attack: str, defense: str, grid: Grid) -> dict[str, Any]:
    found = grid.answer(Cell(dataset, attack, defense))
    plain = grid.answer(Cell(dataset, attack, "none"), partner=True)
    row: dict[str, Any] = {"attack": attack, "defense": defense}
    for name in ("acc", "asr"):
        # Where there is no trigger, nothing can succeed.
        there = found.results if (name, attack) != ("asr", "none") else ()
        numbers = entry([getattr(result, name) for result in there])
        row |= {name: numbers["reproduced"], f"sd_{name}": numbers["sd"]}
    row["der"] = math.nan if "none" in (attack, defense) else _mean(ders(found, plain))
    row["ra"] = _mean([result.ra for result in found.results if result.ra is not None])
    row["n"] = len(found.results)
    row["seconds"] = _mean([_cost(result, plain) for result in found.results])
    row["clean_given"] = _mean([result.clean_given for result in found.results])
    row["suspects"] = _mean([r.suspects_count for r in found.results if r.suspects_count is not None])
    row["suspects_poisoned"] = _mean([r.metrics.get("suspects_poisoned", math.nan) for r in found.results])
    row["poisoned"] = _mean([result.poisoned_count for result in found.results])
    row["profile"] = grid.request.profile if found.results else ""
    row["ran_on"] = ", ".join(dict.fromkeys(map(machine_of, found.results)))
    row["reason"] = found.reason
    return row


def _cost(result: Result, plain: Answer) -> float:
    """Seconds from the data to the model; a defense that repairs a model pays for that one too.

    Of the processor where they are known and there is no GPU: two trainings that ran side by side cost what they cost.
    NaN where they do not count beside others at the profile (see `times`).
    """
    if not times.count(result):
        return math.nan
    own = result.seconds if result.cpu_seconds is None or result.machine.get("gpu") else result.cpu_seconds
    if not result.experiment["upstream"]:
        return own
    below = [other for other in plain.results if other.hash == result.experiment["upstream"]]
    return own + _cost(below[0], plain) if below else math.nan


def _mean(numbers: Sequence[float]) -> float:
    return float(entry(numbers)["reproduced"])
