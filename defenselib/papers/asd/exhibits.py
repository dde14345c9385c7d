"""ASD's exhibits (Gao et al., CVPR 2023): Tables 1 to 6, Figures 1 to 7, the numbers of its running text; and a check
of the scaled-down method itself.

Which training answers a number is in `asd_cells.py`, what is made of several in `asd_text.py`, what figures read from
results in `asd_figures.py`, the claims in `asd_claims*.py`. To add an exhibit: one line in `EXHIBITS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pandas as pd

from defenselib.errors import InvalidValueError
from defenselib.papers.asd import cells
from defenselib.papers.asd import claims as asd_claims
from defenselib.papers.asd import claims_curves as seen
from defenselib.papers.asd import claims_parts as claims
from defenselib.papers.asd import measures as figures
from defenselib.papers.asd.text import Composed, said, stage_time
from defenselib.papers.kit import scaled
from defenselib.papers.kit.exhibit import Exhibit, Series, Setting, Table, complete
from defenselib.papers.kit.frame import entry
from defenselib.papers.kit.grid import Answer, Cell, Grid, Request, Thin, checked_request
from defenselib.papers.kit.scaled import Twice
from defenselib.papers.kit.spread import several

KEY = "asd"
# What is computed where nobody asks for more. Results that lie in the store are shown all the same.
THIN = {
    "smoke": Thin(("cifar10", "shapes"), ("none", "badnets", "blend"), ("none", "asd")),
    "laptop": Thin(attacks=("none", "badnets", "blend", "wanet")),
}
# Ablations and variants are many trainings: BadNets alone at `laptop`, at `smoke` those that train something new.
ONE = {"smoke": Thin(("cifar10",), ("badnets",)), "laptop": Thin(("cifar10",), ("badnets",))}
FEW = {"smoke": Thin(("cifar10",), ("badnets",), ("none", "asd"), plain=True), "laptop": ONE["laptop"]}
TEXT = {"smoke": FEW["smoke"], "laptop": Thin(("cifar10",), ("badnets", "adaptive"))}
TIMES = {name: replace(thin, plain=True) for name, thin in FEW.items()}
FINAL = {"smoke": FEW["smoke"], "laptop": Thin(("cifar10",), ("wanet",))}


# What accelerates DBD (Figure 5) is a variant.
SEEDS = several("none", "asd", "dbd", "abl", "nad", "fp")


def five_seeds(cell: Cell, profile: str) -> tuple[int, ...]:
    """Figure 5 is over five runs."""
    return (0, 1, 2, 3, 4) if profile in ("gpu", "paper") else SEEDS(cell, profile)


SETTING = Setting(SEEDS, THIN, reference="table-2")
VARIANTS = replace(SETTING, thin=FEW)
SOME = replace(SETTING, thin=ONE)


@dataclass(frozen=True, kw_only=True)
class StandIn(Table):
    """Table 6: its clean samples come from another data set than the paper's, and every row says so."""

    def _reproduce(self, request: Request) -> pd.DataFrame:
        frame = super()._reproduce(request)
        source = "drawn shapes" if request.profile == "smoke" else "CIFAR-100"
        words = f"clean samples from {source} in place of ImageNet"
        ran = frame["reproduced"].notna()
        frame.loc[ran, "reason"] = [f"{old}; {words}" if old else words for old in frame.loc[ran, "reason"]]
        return frame


def _table(number: int, setting: Setting, **more: Any) -> Table:
    return Table(paper=KEY, key=f"table-{number}", setting=setting, plot="asd-settings", **more)


def _series(number: int, plot: str, setting: Setting, **more: Any) -> Series:
    return Series(paper=KEY, key=f"figure-{number}", setting=setting, plot=plot, **more)


EXHIBITS: tuple[Exhibit, ...] = (
    Table(paper=KEY, key="table-2", setting=SETTING, plot="dots", checks=asd_claims.TABLE_2),
    Composed(
        paper=KEY,
        key="table-3",
        setting=replace(SETTING, thin=TIMES),
        plot="asd-times",
        number=stage_time,
        checks=claims.TABLE_3,
    ),
    _table(4, SOME, cell=cells.learner, checks=claims.TABLE_4),
    _table(5, VARIANTS, cell=cells.poisoned_seeds, checks=claims.TABLE_5),
    StandIn(
        paper=KEY,
        key="table-6",
        setting=SOME,
        plot="asd-settings",
        cell=cells.transfer,
        value=cells.transfer_value,
        checks=claims.TABLE_6,
    ),
    _series(
        1,
        "asd-losses",
        replace(SETTING, thin=FINAL),
        cells=cells.FIGURE_1,
        measure=figures.final_losses,
        checks=seen.FIGURE_1,
    ),
    Exhibit(paper=KEY, key="figure-2", plot="asd-pipeline"),
    _series(3, "histograms", SETTING, cells=cells.FIGURE_3, measure=figures.losses, checks=asd_claims.FIGURE_3),
    _series(4, "curves", SETTING, cells=cells.FIGURE_4, measure=figures.accuracy, checks=asd_claims.FIGURE_4),
    _series(
        5,
        "asd-combined",
        replace(SOME, seeds=five_seeds),
        cells=cells.FIGURE_5,
        measure=figures.combined,
        checks=seen.FIGURE_5,
    ),
    _series(6, "asd-epochs", VARIANTS, cells=cells.FIGURE_6, measure=figures.ablation, checks=seen.FIGURE_6),
    _series(7, "asd-epochs", VARIANTS, cells=cells.FIGURE_7, measure=figures.speeds, checks=seen.FIGURE_7),
    Composed(paper=KEY, key="text-1", setting=replace(SETTING, thin=TEXT), number=said, checks=claims.TEXT),
)
PAPER = complete(KEY, EXHIBITS)


def laptop_check(
    profile: str = "laptop",
    run: bool = False,
    datasets: Sequence[str] = ("cifar10",),
    attacks: Sequence[str] = ("none", "badnets", "blend"),
    seeds: Sequence[int] | None = None,
    store: Any = None,
) -> pd.DataFrame:
    """Is the scaled-down method sound? Undefended model, ASD, and ASD with a split that knows the poison.

    One row for each data set and attack: dataset, attack; none_acc, none_asr, asd_acc, asd_asr, oracle_acc,
    oracle_asr (percent, means over seeds, NaN where not run; no ASR without attack); gap_none and gap_oracle: their
    ACC minus ASD's in points, over the seeds that both have; n (seeds of ASD), n_oracle, profile, reason. The oracle
    is a diagnostic, no defense: it shows what the semi-supervised schedule costs when the split is perfect.
    """
    if profile == "best":
        raise InvalidValueError("profile 'best' mixes profiles; gaps are taken within one, so name it")
    request = checked_request(KEY, profile, run, datasets, attacks, None, seeds, store)
    grid = Grid(KEY, request, SEEDS, THIN.get(profile, Thin()))
    return pd.DataFrame([_check_row(dataset, attack, grid) for dataset in datasets for attack in attacks])


def _check_row(dataset: str, attack: str, grid: Grid) -> dict[str, Any]:
    answers = {name: grid.answer(Cell(dataset, attack, name)) for name in ("none", "asd")}
    if attack == "none":
        answers["oracle"] = Answer(reason="nothing is poisoned, so the oracle is ASD itself")
    else:
        answers["oracle"] = grid.answer(Cell(dataset, attack, "asd", {"diagnostic": "oracle-split"}))
    row: dict[str, Any] = {"dataset": dataset, "attack": attack}
    for name, answer in answers.items():
        row[f"{name}_acc"] = entry([result.acc for result in answer.results])["reproduced"]
        asr = [] if attack == "none" else [result.asr for result in answer.results]
        row[f"{name}_asr"] = entry(asr)["reproduced"]
    for name in ("none", "oracle"):
        row[f"gap_{name}"] = _gap(answers[name], answers["asd"])
    row["n"] = len(answers["asd"].results)
    row["n_oracle"] = len(answers["oracle"].results)
    row["profile"] = grid.request.profile
    row["reason"] = "; ".join(f"{name}: {answer.reason}" for name, answer in answers.items() if answer.reason)
    return row


def _gap(reference: Answer, asd: Answer) -> float:
    """Mean difference in ACC over the seeds that both have."""
    first, second = ({r.experiment["seed"]: r.acc for r in answer.results} for answer in (reference, asd))
    return entry([first[seed] - second[seed] for seed in first if seed in second])["reproduced"]


# What was run again at twice the schedule, because the profile's own fell short of what was expected of it.
TWICE = (
    Twice(Cell("cifar10", "blend", "none"), ("epochs",)),
    Twice(Cell("cifar10", "blend", "asd"), ("iterations",)),
)
doubled = partial(scaled.doubled, KEY, TWICE)  # beside the usual runs


def purity(
    attack: str = "badnets", profile: str = "laptop", store: Any = None, dataset: str = "cifar10"
) -> pd.DataFrame:
    """History of ASD's runs under an attack, see `scaled.history`. Reads only."""
    return scaled.history(KEY, Cell(dataset, attack, "asd"), profile, store)
