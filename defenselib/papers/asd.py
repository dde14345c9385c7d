"""ASD's exhibits (Gao et al., CVPR 2023): Table 2, Figures 3 and 4; and a check of the scaled-down method itself.

To add an exhibit: one `Table` or `Series` in `EXHIBITS`, its claims in `asd_claims.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from defenselib.errors import InvalidValueError
from defenselib.papers import asd_claims
from defenselib.papers.base import Series, Setting, Table, complete
from defenselib.papers.frame import entry
from defenselib.papers.grid import Answer, Cell, Grid, Thin, checked_request
from defenselib.papers.measures import histogram, point, poisoned_in, separation

if TYPE_CHECKING:
    from defenselib.experiments.result import Result

KEY = "asd"
# What is computed where nobody asks for more. Results that lie in the store are shown all the same.
THIN = {
    "smoke": Thin(("cifar10", "shapes"), ("none", "badnets", "blend"), ("none", "asd")),
    "laptop": Thin(attacks=("none", "badnets", "blend", "wanet")),
}


def seeds_of(cell: Cell, profile: str) -> tuple[int, ...]:
    """Three seeds for BadNets at `laptop`, where the spread is shown; one elsewhere and for the diagnostic."""
    several = profile == "laptop" and cell.attack == "badnets" and "diagnostic" not in cell.options
    return (0, 1, 2) if several else (0,)


SETTING = Setting(seeds_of, THIN, reference="table-2")

# Figure 3: bin edges are fixed, so that panels, seeds and profiles can be laid side by side. L1 lies in [0, 11]: its
# reverse cross-entropy ends at 9.21, and 0.1 CE adds 1.6 at p = 1e-7.
LOSS_EDGES = np.linspace(0.0, 11.0, 45)
REDUCTION_EDGES = np.linspace(-11.0, 11.0, 45)
PANELS = {"a": "loss", "b": "virtual_loss", "c": "reduction", "d": "final_loss"}
HARD_SHARE = 0.1  # of the clean samples: those of largest loss in panel (a), 5,000 of 50,000 in ASD Sec. 5.2


def stage_ends(result: Result) -> tuple[int, int, int]:
    """(T1, T2, T3) of an ASD run."""
    chosen = result.experiment["defense_args"]
    return int(chosen["stage1_end"]), int(chosen["stage2_end"]), int(chosen["epochs"])


def panels(result: Result) -> dict[str, np.ndarray]:
    """The four quantities of Figure 3, float64 (N,) each: L1 under f at T2, under f', their difference, f at T3.

    Empty if the run had no stage 3.
    """
    _, start, end = stage_ends(result)
    keys = {panel: f"scores/{name}/{end if name == 'final_loss' else start}" for panel, name in PANELS.items()}
    if not all(key in result.arrays for key in keys.values()):
        return {}
    return {panel: np.asarray(result.arrays[key], dtype=np.float64) for panel, key in keys.items()}


def loss_rows(cell: Cell, results: tuple[Result, ...]) -> list[dict[str, Any]]:
    """Figure 3 from the first seed: counts per bin, medians and separation of clean, hard clean and poisoned."""
    values = panels(results[0])
    if not values:
        return []
    poisoned = poisoned_in(results[0], len(values["a"]))
    threshold = np.quantile(values["a"][~poisoned], 1 - HARD_SHARE)
    groups = {"clean": ~poisoned, "poisoned": poisoned, "hard": ~poisoned & (values["a"] >= threshold)}
    rows = []
    for panel, value in values.items():
        for group, member in groups.items():
            where = f"panel={panel};group={group}"
            rows.append(point(where, "median", float(np.median(value[member])) if member.any() else float("nan")))
            if group != "hard":
                rows += histogram(where, value[member], REDUCTION_EDGES if panel == "c" else LOSS_EDGES)
        for group in ("clean", "hard"):
            share = 100 * separation(value[poisoned], value[groups[group]])
            rows.append(point(f"panel={panel};group={group}", "separation", share))
    return rows


def curve_rows(cell: Cell, results: tuple[Result, ...]) -> list[dict[str, Any]]:
    """Figure 4: ACC after every epoch, mean over seeds; ASD's rows carry their stage (1, 2, 3)."""
    frames = [result.history_frame() for result in results]
    stages = () if cell.defense == "none" else stage_ends(results[0])[:2]
    rows = []
    for epoch in frames[0]["epoch"]:
        values = [float(f.loc[f["epoch"] == epoch, "acc"].iloc[0]) for f in frames if (f["epoch"] == epoch).any()]
        stage = "" if cell.defense == "none" else f";stage={1 + sum(epoch >= end for end in stages)}"
        rows.append(point(f"epoch={int(epoch)}{stage}", "acc", *values))
    return rows


EXHIBITS = (
    Table(paper=KEY, key="table-2", setting=SETTING, plot="dots", checks=asd_claims.TABLE_2),
    Series(
        paper=KEY,
        key="figure-3",
        setting=SETTING,
        plot="histograms",
        checks=asd_claims.FIGURE_3,
        cells=(Cell("cifar10", "badnets", "asd"),),
        measure=loss_rows,
    ),
    Series(
        paper=KEY,
        key="figure-4",
        setting=SETTING,
        plot="curves",
        checks=asd_claims.FIGURE_4,
        # The attack is not named in the paper; BadNets is the natural choice.
        cells=(Cell("cifar10", "badnets", "none"), Cell("cifar10", "badnets", "asd")),
        measure=curve_rows,
    ),
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
    grid = Grid(KEY, request, seeds_of, THIN.get(profile, Thin()))
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
DOUBLED = {
    "laptop": (
        Cell("cifar10", "blend", "none", {"defense_args": {"epochs": 40}}),
        Cell("cifar10", "blend", "asd", {"defense_args": {"iterations": 300}}),
    )
}


def doubled(profile: str = "laptop", store: Any = None) -> pd.DataFrame:
    """Cells beside the same at twice the schedule: dataset, attack, defense, acc, asr, twice_acc, twice_asr (percent,
    NaN where not run). Reads only."""
    request = checked_request(KEY, profile, False, None, None, None, None, store)
    grid, rows = Grid(KEY, request, seeds_of, Thin()), []
    for cell in DOUBLED.get(profile, ()):
        row: dict[str, Any] = {"dataset": cell.dataset, "attack": cell.attack, "defense": cell.defense}
        for prefix, one in (("", replace(cell, options={})), ("twice_", cell)):
            results = grid.answer(one).results
            row |= {
                f"{prefix}{m}": entry([getattr(result, m) for result in results])["reproduced"] for m in ("acc", "asr")
            }
        rows.append(row)
    return pd.DataFrame(rows)


def purity(
    profile: str = "laptop", dataset: str = "cifar10", attack: str = "badnets", store: Any = None
) -> pd.DataFrame:
    """History of ASD's runs, one row an epoch and seed (epoch, acc, asr, clean_size, clean_poisoned, clean_purity,
    seed); empty if there is none. Reads only."""
    request = checked_request(KEY, profile, False, (dataset,), (attack,), None, None, store)
    answer = Grid(KEY, request, seeds_of, Thin()).answer(Cell(dataset, attack, "asd"))
    frames = [result.history_frame().assign(seed=result.experiment["seed"]) for result in answer.results]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({"epoch": [], "seed": []})
