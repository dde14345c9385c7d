"""ASD's exhibits (Gao et al., CVPR 2023): Tables 1 to 6, Figures 1 to 7, the numbers of its running text; what stands
beside them in its notebook, and a check of the scaled-down method itself.

To add an exhibit: one line in `EXHIBITS`, its trainings in `cells`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pandas as pd

from defenselib.errors import InvalidValueError
from defenselib.experiments.result import Result
from defenselib.papers.asd import cells, figures, measures
from defenselib.papers.asd.cells import TIMED, seconds
from defenselib.papers.asd.claims import CLAIMS
from defenselib.papers.kit import printed, scaled
from defenselib.papers.kit.claims import RANK
from defenselib.papers.kit.composed import Composed
from defenselib.papers.kit.exhibit import Exhibit, Paper, Series, Setting
from defenselib.papers.kit.frame import mean_of
from defenselib.papers.kit.grid import Answer, Grid
from defenselib.papers.kit.request import Cell, Request, Thin, checked_request, several
from defenselib.papers.kit.scaled import Twice
from defenselib.papers.kit.table import Table, paired
from defenselib.plots.charts import dots

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
# Table 3's seconds are whole seconds an epoch times these (stages 1, 2, 3; ASD's third has 10 on GTSRB).
EPOCHS = {"abl": (20, 70, 5), "dbd": (1000, 10, 190), "asd": (60, 30, 30)}


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


def _figure(key: str, setting: Setting, **more: Any) -> Series:
    return Series(paper=KEY, key=key, setting=setting, cells=cells.FIGURES[key], checks=CLAIMS[key], **more)


def _table(key: str, setting: Setting, kind: type[Exhibit] = Table, **more: Any) -> Exhibit:
    return kind(paper=KEY, key=key, setting=setting, checks=CLAIMS[key], **more)


EXHIBITS: tuple[Exhibit, ...] = (
    _table("table-2", SETTING, plot=dots),
    _table("table-3", replace(SETTING, thin=TIMES), Composed, number=cells.stage_time, plot=figures.times),
    _table("table-4", SOME, cell=cells.variant, plot=figures.by_setting("ssl")),
    _table("table-5", VARIANTS, cell=cells.variant, plot=figures.by_setting("poisoned_seeds")),
    _table("table-6", SOME, StandIn, cell=cells.variant, value=cells.transfer_value, plot=figures.by_setting("phase")),
    _figure("figure-1", replace(SETTING, thin=FINAL), measure=measures.final_losses, plot=figures.losses),
    Exhibit(paper=KEY, key="figure-2", plot=figures.pipeline),
    _figure("figure-3", SETTING, measure=measures.losses, plot=figures.splits),
    _figure("figure-4", SETTING, measure=measures.accuracy, plot=figures.progress),
    _figure("figure-5", replace(SOME, seeds=five_seeds), measure=measures.combined, plot=figures.combined),
    _figure("figure-6", VARIANTS, measure=measures.ablation, axes=cells.left_out, plot=figures.epochs),
    _figure("figure-7", VARIANTS, measure=measures.speeds, axes=cells.speed, plot=figures.epochs),
    _table("text-1", replace(SETTING, thin=TEXT), Composed, number=cells.said, bound=cells.bound),
)
PAPER = Paper(KEY, EXHIBITS)


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
        raise InvalidValueError("gaps are taken within one profile; name it instead of 'best'")
    request = checked_request(KEY, profile, run, (datasets, attacks, None), seeds, store)
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
        row[f"{name}_acc"] = mean_of(result.acc for result in answer.results)
        row[f"{name}_asr"] = mean_of(result.asr for result in answer.results if attack != "none")
    for name in ("none", "oracle"):
        pairs = paired(answers[name], answers["asd"]).values()
        row[f"gap_{name}"] = mean_of(one.acc - asd.acc for one, asd in pairs)
    row |= {"n": len(answers["asd"].results), "n_oracle": len(answers["oracle"].results)}
    row["profile"] = grid.request.profile
    row["reason"] = "; ".join(f"{name}: {answer.reason}" for name, answer in answers.items() if answer.reason)
    return row


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


def per_epoch() -> pd.DataFrame:
    """Table 3's printed seconds by epoch: dataset, defense, stage, seconds, epochs, seconds an epoch."""
    rows = printed.table(KEY, "table-3").rename(columns={"published": "seconds"})
    rows = rows[rows["stage"] != "total"].reset_index(drop=True)
    where = zip(rows["dataset"], rows["defense"], rows["stage"].astype(int), strict=True)
    epochs = [10 if cell == ("gtsrb", "asd", 3) else EPOCHS[cell[1]][cell[2] - 1] for cell in where]
    found = rows[["dataset", "defense", "stage", "seconds"]].astype({"stage": int, "seconds": float})
    return found.assign(epochs=epochs, **{"seconds an epoch": found["seconds"] / epochs})


def framework(store: Any = None) -> pd.DataFrame:
    """Table 1's words beside what the best results under BadNets on CIFAR-10 show of them: defense, property, printed,
    measured ("" where nothing can be measured, or nothing was run)."""
    rows = printed.table(KEY, "table-1").rename(columns={"published": "printed"})
    best = {name: _best_result(name, store) for name in rows["defense"].unique()}
    pairs = zip(rows["defense"], rows["property"], strict=True)
    measured = [_measured(best[name], asked) for name, asked in pairs]
    return rows[["defense", "property", "printed"]].assign(measured=measured)


def _best_result(defense: str, store: Any) -> Result | None:
    for profile in RANK:
        grid = Grid(KEY, Request(profile, False, Thin(), None, store), SETTING.seeds, Thin())
        answer = grid.answer(Cell("cifar10", "badnets", defense))
        if answer.results:
            return answer.results[0]
    return None


def _measured(result: Result | None, asked: str) -> str:
    if result is None:
        return ""
    defense = result.experiment["defense"]
    pools = [row for row in result.history if row.get("clean_size")]
    if asked == "pool-initialization":
        before = {"abl": TIMED["abl"][:1], "dbd": TIMED["dbd"][:2], "asd": ()}[defense]
        whole = seconds(result, TIMED[defense])
        return f"the first pool after {100 * seconds(result, before) / whole:.0f} % of the time" if whole else ""
    if asked == "pool-maintenance":
        return f"pools built: {len(pools)}"
    # ABL's clean pool is everything but the isolated percent: that hard samples are in it says nothing.
    if asked == "clean-hard-sample-selection" and defense != "abl" and pools and "hard_clean" in pools[-1]:
        hard = 100 * pools[-1]["hard_clean"] / (measures.HARD_SHARE * result.experiment["train_size"])
        return f"hard clean samples in the last pool: {hard:.0f} %"
    return ""
