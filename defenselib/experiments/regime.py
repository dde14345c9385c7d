"""When a method works: what its rule goes by, measured after more and more steps on drawn images.

`python -m defenselib.experiments.regime` runs the stages before each rule at the profile `demo`, on seeds that no page
shows results of, and writes one row a run. The rows are committed (`book/results/trials/regime_demo.csv`) and drawn on
the page "When does each method work?".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray

from defenselib.errors import told
from defenselib.experiments.experiment import Experiment
from defenselib.experiments.measure.separation import poisoned_in, separation
from defenselib.experiments.result import Result
from defenselib.experiments.runner import run

SEEDS = (100, 101, 102)
HARDEST = 0.1  # of the clean samples: those that a rule takes for poison first


@dataclass(frozen=True)
class Curve:
    """One hyper-parameter of a method that decides how much was learned before its rule takes over.

    score: the array of scores that the rule goes by, without its epoch; poisoned samples score high, or low.
    stop_after: the stage behind the rule, `{value}` being the setting's value plus one.
    batch_size: the field by which passes become steps; None where the setting does not count passes. of_model: whether
    the accuracy of the result is that of the model behind the rule.
    """

    key: str
    defense: str
    setting: str
    values: tuple[float, ...]
    score: str
    poison_is: str
    stop_after: str | None = None
    batch_size: str | None = None
    fixed: tuple[tuple[str, Any], ...] = ()
    of_model: bool = True

    def experiment(self, value: float, seed: int) -> Experiment:
        stop = None if self.stop_after is None else self.stop_after.format(value=int(value) + 1)
        given = {**dict(self.fixed), self.setting: value}
        return Experiment(
            dataset="shapes", attack="badnets", defense=self.defense, profile="demo", seed=seed, defense_args=given,
            stop_after=stop,
        )  # fmt: skip


CURVES = (
    # ASD Sec. 4.2: the half of least loss, once the class-aware stage is over.
    Curve("asd", "asd", "stage1_end", (2, 4, 6, 8, 10), "loss", "high", "asd:{value}", "iterations"),
    # V&B Sec. 3.2: the entropy of a Victim that was stopped early.
    Curve("vab", "vab", "warmup_epochs", (1, 2, 3, 4, 6, 8, 12), "entropy", "low", "warmup", "victim_batch_size"),
    # D-ST/D-BR Sec. 3.2: how far transformations move the features of a model that was trained to be backdoored.
    Curve(
        "fct", "dbr", "sd_epochs", (1, 2, 4, 8, 12, 20), "fct", "high", None, "sd_batch_size", (("rounds", 0),), False
    ),
    # A-ABL Sec. 5.2: the loss of the label after a small adversarial step, in a naively trained model.
    Curve("aabl", "aabl", "naive_epochs", (2, 4, 8, 12, 16, 24), "vulnerability", "low", "split", "batch_size"),
    Curve("aabl-eps", "aabl", "split_eps", (1.0, 2.0, 4.0, 8.0), "vulnerability", "low", "split"),
)


def auc(scores: NDArray[Any], poisoned: NDArray[Any], poison_is: str) -> float:
    """Area under the ROC curve by which `scores` (N,) tell poisoned samples (bool (N,)) from the others; 0.5 is chance.

    poison_is: "high" or "low". NaN where one of the kinds is missing.
    """
    values = scores.astype(np.float64)
    value = separation(values[poisoned], values[~poisoned])
    return value if poison_is == "high" else 1 - value


def hardest(scores: NDArray[Any], poisoned: NDArray[Any], poison_is: str) -> NDArray[Any]:
    """bool (N,): all poisoned samples, and the tenth of the clean ones that look most like them."""
    toward = scores.astype(np.float64) * (1 if poison_is == "high" else -1)
    limit = np.quantile(toward[~poisoned], 1 - HARDEST)
    return np.asarray(poisoned | (toward >= limit))


def measured(curve: Curve, value: float, result: Result) -> dict[str, Any]:
    """A row of the table: accuracy and success rate of the model that the rule goes by, and how well it separates.

    trusted_poison: percent of the poisoned samples that the rule lets through; NaN where it keeps no pool.
    """
    prefix = f"scores/{curve.score}/"
    last = max((name for name in result.arrays if name.startswith(prefix)), key=lambda name: int(name[len(prefix) :]))
    scores = result.arrays[last]
    poisoned = poisoned_in(result, len(scores))
    near = hardest(scores, poisoned, curve.poison_is)
    pools = [row for row in result.history if "clean_poisoned" in row]
    through = pools[-1]["clean_poisoned"] if pools else result.metrics.get("clean_poisoned", float("nan"))
    return {
        "acc": round(result.acc, 2) if curve.of_model else float("nan"),
        "asr": round(result.asr, 2) if curve.of_model else float("nan"),
        "auc": round(auc(scores, poisoned, curve.poison_is), 4),
        "auc_hardest": round(auc(scores[near], poisoned[near], curve.poison_is), 4),
        "trusted_poison": round(100 * float(through) / float(poisoned.sum()), 2),
    }


def rows(curves: Sequence[Curve] = CURVES, seeds: Sequence[int] = SEEDS, store: Any = None) -> Iterator[dict[str, Any]]:
    """Run every curve; a row a value and a seed. What is in the store is not run again."""
    for curve in curves:
        for value in curve.values:
            for seed in seeds:
                asked = curve.experiment(value, seed)
                told = {"curve": curve.key, "defense": curve.defense, "setting": curve.setting, "value": value}
                yield told | {"steps": steps(curve, asked), "seed": seed} | measured(curve, value, run(asked, store))


def steps(curve: Curve, asked: Experiment) -> int | None:
    """Optimiser steps before the rule; None where the setting does not count passes."""
    if curve.batch_size is None:
        return None
    resolved = asked.resolve()
    passes, size = int(getattr(resolved.defense, curve.setting)), int(getattr(resolved.defense, curve.batch_size))
    return passes * (size if curve.batch_size == "iterations" else -(-resolved.train_size // size))


def main(
    output: Annotated[Path, typer.Option(help="CSV file to write, a row after each run.")],
    curve: Annotated[list[str] | None, typer.Option(help="Key of a curve; all if not given.")] = None,
) -> None:
    """Measure the curves of "When does each method work?" on drawn images."""
    chosen = [item for item in CURVES if not curve or item.key in curve]
    found: list[dict[str, Any]] = []
    for row in rows(chosen):
        found.append(row)
        typer.echo(row)
        pd.DataFrame(found).to_csv(output, index=False)


if __name__ == "__main__":
    with told():
        typer.run(main)
