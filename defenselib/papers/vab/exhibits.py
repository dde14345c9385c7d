"""V&B's exhibits (Zhu et al., ICCV 2023): Tables 1 to 7, Figures 1 to 6, the numbers of the text.

Figures 1 and 4 need the Victim's warm-up alone: cells of their own that stop there. To add an exhibit: one line in
`EXHIBITS`, its claims in `claims.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from statistics import fmean, median
from typing import Any

import pandas as pd

from defenselib import data
from defenselib.experiments.result import Result
from defenselib.papers.kit import printed, scaled
from defenselib.papers.kit.claims import Claim
from defenselib.papers.kit.composed import Composed, Found, Number
from defenselib.papers.kit.exhibit import Exhibit, Paper, Series, Setting
from defenselib.papers.kit.frame import Row, mean_of, records
from defenselib.papers.kit.measures import at_end
from defenselib.papers.kit.request import Cell, Thin, asked, several
from defenselib.papers.kit.scaled import Twice
from defenselib.papers.kit.table import Table
from defenselib.papers.vab import claims, figures, measures
from defenselib.papers.vab.pipeline import pipeline
from defenselib.plots.charts import dots

KEY = "vab"
CIFAR, IMAGENET = "cifar10", "imagenet-12"
ATTACKS = ("badnets", "blend", "wanet", "dynamic", "clb", "sig")
RATED = ("badnets", "blend", "wanet", "sig")  # Fig. 6
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)  # Fig. 3, t_m
RATES = (0.1, 0.2, 0.3, 0.4, 0.5)  # Fig. 6

ABLATED = ("none", "badnets", "blend")

# What is computed where nobody asks for more. Results that lie in the store are shown all the same.
_SMOKE = Thin((CIFAR, "shapes"), ABLATED, ("none", "vab"))
_LAPTOP = Thin(attacks=("none", "badnets", "blend", "wanet", "sig", "dynamic"), defenses=("none", "vab"))


def setting(laptop: Thin, smoke: Thin = _SMOKE) -> Setting:
    return Setting(several(), {"smoke": smoke, "laptop": laptop}, reference=("table-1", "table-2"))


MAIN = setting(_LAPTOP)
# Tables 3 and 6, Figures 3 and 6: of their variants nothing runs unasked, they are many trainings.
USUAL = setting(replace(_LAPTOP, plain=True), replace(_SMOKE, plain=True))
ABLATION = setting(replace(_LAPTOP, attacks=ABLATED), replace(_SMOKE, plain=True))
CHEAP = setting(Thin())  # warm-ups and pictures: about a minute each

# What the tables vary, by axis and value, in hyper-parameters; what is missing here is the method as it is.
VARIANTS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "augmentation": {name: {"augmentation": name} for name in ("mixup", "cutmix", "attentive-cutmix")},
    "components": {
        "F": {"augmentation": "none", "semi_supervised": False},
        "F+AT": {"semi_supervised": False},
        "F+AT+SST": {"suppression": "none"},
        "F+AT+SST+S(suspicious)": {"suppression": "suspicious"},
    },
    "warmup": {"automatic": {"warmup": "automatic"}},
}


# The first schedules of `laptop` and `gpu`: about half of the epochs for stage 2, one cycle of the rate.
_CYCLE = {"schedule": "onecycle", "milestones": (50, 100, 150)}
EARLY = {
    "laptop": Cell(CIFAR, "badnets", "vab", {"defense_args": {**_CYCLE, "clean_epochs": 12, "epochs": 24}}),
    "gpu": Cell(CIFAR, "badnets", "vab", {"defense_args": {**_CYCLE, "clean_epochs": 8, "epochs": 14}}),
}


def cell_of(row: Row) -> Cell:
    """The cell of a row: variants by their hyper-parameters, CL-16 and CL-32 by their preset."""
    attack, options = str(row["attack"]), dict[str, Any]()
    if attack in ("cl-16", "cl-32"):
        options["attack_args"] = {"preset": attack}
        attack = "clb"
    if attack == "sig" and row["dataset"] == IMAGENET:
        options["rate"] = float(row["poisoning_rate"])  # App. A.2: half of the target class
    for axis, variants in VARIANTS.items():
        if row.get(axis) in variants:
            options["defense_args"] = dict(variants[row[axis]])
    return Cell(str(row["dataset"]), attack, str(row["defense"]), options)


def doubtful(row: Row) -> str:
    """Table 3: under Mixup and Cutmix the columns of Dynamic and WaNet are the same pairs of numbers, under Attentive
    CutMix they differ in one digit. One of them was copied; which, is open."""
    copied = row["attack"] in ("dynamic", "wanet") and row["augmentation"] not in (None, "attentionmix")
    return "two columns of Table 3 hold the same numbers" if copied and row["defense"] == "vab" else ""


def warm_up(attack: str, dataset: str = CIFAR) -> Cell:
    return Cell(dataset, attack, "vab", {"stop_after": "warmup"})


def mixing_cells(attack: str, dataset: str = CIFAR) -> tuple[Cell, ...]:
    """Figure 3; the first threshold is the method's own."""
    options = ({}, *({"defense_args": {"mix_threshold": value}} for value in THRESHOLDS[1:]))
    return tuple(Cell(dataset, attack, "vab", option) for option in options)


def rate_cells(attack: str) -> tuple[Cell, ...]:
    """Figure 6; the first rate is the usual one."""
    return tuple(Cell(CIFAR, attack, "vab", option) for option in ({}, *({"rate": rate} for rate in RATES[1:])))


def columns(defense: str) -> tuple[Cell, ...]:
    """The seven columns of Table 1."""
    rows = printed.table(KEY, "table-1")
    chosen = rows[(rows["defense"] == defense) & (rows["metric"] == "acc")]
    return tuple(map(cell_of, records(chosen)))


def said(row: Row) -> Number:
    """A row of text-1 (Sec. 4.2, 4.4, App. A.3, A.4): a bound over several trainings, or a place on a curve."""
    item, attack = row["item"], str(row["attack"])
    if item == "mu1+sigma1":
        cells = tuple(warm_up(name, str(row["dataset"])) for name in ("badnets", "blend"))
        return Number(cells, lambda found: fmean(measures.mixture_of(results[0]).below(1.0) for results in found))
    if item == "t_m-where-BA-starts-to-drop":
        return _place("acc", measures.first_drop, mixing_cells(attack), THRESHOLDS)
    if item == "rate-where-ASR-may-rise":
        return _place("asr", measures.highest, rate_cells(attack), RATES)
    if item == "rate-where-BA-fluctuates":
        return _place("acc", measures.deepest_dip, rate_cells(attack), RATES)
    if item == "drop-against-no-defense":
        return Number(columns("none") + columns("vab"), _largest_drop)
    if row["scope"] == "most attacks":  # which stay at or below their median
        return Number(tuple(rate_cells(name)[-1] for name in RATED), lambda found: median(_asrs(found)))
    if row["defense"] == "none":
        return Number(tuple(cell for cell in columns("none") if cell.attack != "sig"), lambda found: min(_asrs(found)))
    return Number(columns("vab"), lambda found: max(_asrs(found)))


def _mean(results: tuple[Result, ...], metric: str) -> float:
    return mean_of(getattr(result, metric) for result in results)


def _asrs(found: Found) -> list[float]:
    return [_mean(results, "asr") for results in found]


def _largest_drop(found: Found) -> float:
    """Points of ACC; the cells are the undefended ones, then the defended ones, in one order."""
    half = len(found) // 2
    pairs = zip(found[:half], found[half:], strict=True)
    return max(_mean(before, "acc") - _mean(after, "acc") for before, after in pairs)


def _place(metric: str, rule: Any, cells: tuple[Cell, ...], places: tuple[float, ...]) -> Number:
    """Where along `places`, one a cell, something happens to a metric."""
    return Number(cells, lambda found: rule([_mean(results, metric) for results in found], places))


def early_suppression(store: Any = None) -> dict[str, pd.DataFrame]:
    """Epochs of the Beneficiary under BadNets where stage 3 begins while its rate and its errors are large, by profile:
    epoch, stage, acc, asr, clean_purity and the rest of the history; empty if it was not run. Reads only."""
    return {name: _beneficiary(scaled.history(KEY, cell, name, store)) for name, cell in EARLY.items()}


# What was run again at twice the schedule, because the profile's own fell short of what was expected of it.
TWICE = (Twice(Cell(CIFAR, "badnets", "vab"), ("clean_epochs", "epochs", "milestones")),)
doubled = partial(scaled.doubled, KEY, TWICE)  # beside the usual runs


def purity(attack: str = "badnets", profile: str = "laptop", store: Any = None) -> pd.DataFrame:
    """History of the Beneficiary under an attack on CIFAR-10: its clean pool is what the Victim believes (see
    `scaled.history`). Reads only."""
    return _beneficiary(scaled.history(KEY, Cell(CIFAR, attack, "vab"), profile, store))


def _beneficiary(found: pd.DataFrame) -> pd.DataFrame:
    """Stages 2 and 3 as one count of epochs."""
    if not len(found):
        return found
    found = found[found["stage"] != "warmup"]
    return found.assign(epoch=found.groupby("seed").cumcount()).reset_index(drop=True)


def data_sizes() -> pd.DataFrame:
    """Table 5 beside what this library loads: dataset, item, printed, here (empty where only the files tell)."""
    rows = printed.table(KEY, "table-5")
    here: dict[tuple[str, str], str] = {}
    for name in (CIFAR, IMAGENET):
        info = data.info(name)
        shape = f"{info.image_size}x{info.image_size}x3"
        part = "" if info.part is None else str(info.part.test)
        known = {"classes": info.num_classes, "training-images": info.train_size, "input-size": shape}
        here |= {(name, item): str(value) for item, value in {**known, "test-images": part}.items()}
    found = [here[key] for key in zip(rows["dataset"], rows["item"], strict=True)]
    return pd.DataFrame({"dataset": rows["dataset"], "item": rows["item"], "printed": rows["published"], "here": found})


def table(number: int, checks: tuple[Claim, ...], chosen: Setting = USUAL, **more: Any) -> Table:
    usual = {"plot": figures.variants, "cell": cell_of}
    return Table(paper=KEY, key=f"table-{number}", setting=chosen, checks=checks, **{**usual, **more})


def series(number: int, plot: Any, chosen: Setting, **more: Any) -> Series:
    return Series(paper=KEY, key=f"figure-{number}", setting=chosen, plot=plot, **more)


EXHIBITS: tuple[Exhibit, ...] = (
    table(1, claims.TABLE_1, MAIN, plot=dots),
    table(2, claims.TABLE_2, MAIN, plot=dots),
    table(3, claims.TABLE_3, no_target=doubtful),
    table(4, claims.TABLE_4, ABLATION),
    table(6, claims.TABLE_6),
    table(7, claims.TABLE_7, MAIN, value=measures.after_stage),
    series(1, figures.entropies, CHEAP, cells=tuple(map(warm_up, ATTACKS)), measure=measures.entropies,
           checks=claims.FIGURE_1),
    Exhibit(paper=KEY, key="figure-2", plot=pipeline),
    series(3, figures.lines("t_m"), USUAL, axes=asked("t_m", "mix_threshold", THRESHOLDS[0]),
           measure=at_end("acc", "asr"), checks=claims.FIGURE_3,
           cells=tuple(c for d in (CIFAR, IMAGENET) for a in ("badnets", "blend") for c in mixing_cells(a, d))),
    series(4, figures.mixture, CHEAP, cells=(warm_up("badnets"), warm_up("badnets", IMAGENET)),
           measure=measures.densities, checks=claims.FIGURE_4),
    series(5, figures.images, CHEAP, cells=tuple(Cell(CIFAR, attack, "none", {"rate": 0.0}) for attack in ATTACKS),
           measure=measures.looks),
    series(6, figures.lines("poisoning_rate"), USUAL, axes=asked("poisoning_rate", "rate", RATES[0]),
           measure=at_end("acc", "asr"), checks=claims.FIGURE_6,
           cells=tuple(cell for attack in RATED for cell in rate_cells(attack))),
    Composed(paper=KEY, key="text-1", setting=USUAL, number=said, checks=claims.TEXT),
)  # fmt: skip
PAPER = Paper(KEY, EXHIBITS)
