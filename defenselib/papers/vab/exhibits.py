"""V&B's exhibits (Zhu et al., ICCV 2023): Tables 1 to 7, Figures 1 to 6, the numbers of the text.

Figures 1 and 4 need the Victim's warm-up alone: cells of their own that stop there. To add an exhibit: one line in
`EXHIBITS`, its claims in `vab_claims.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pandas as pd

from defenselib import data
from defenselib.papers.kit import printed, scaled, verdict
from defenselib.papers.kit.exhibit import Exhibit, Row, Series, Setting, Table, complete
from defenselib.papers.kit.grid import Cell, Request, Thin
from defenselib.papers.kit.scaled import Twice
from defenselib.papers.kit.spread import several
from defenselib.papers.vab import claims
from defenselib.papers.vab import measures as vab_measures
from defenselib.papers.vab import text as vab_text
from defenselib.papers.vab.text import Number, Text

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

# Every table's variant in hyper-parameters; what is missing here is the method as it is.
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "augmentation=mixup": {"augmentation": "mixup"},
    "augmentation=cutmix": {"augmentation": "cutmix"},
    "augmentation=attentive-cutmix": {"augmentation": "attentive-cutmix"},
    "components=F": {"augmentation": "none", "semi_supervised": False},
    "components=F+AT": {"semi_supervised": False},
    "components=F+AT+SST": {"suppression": "none"},
    "components=F+AT+SST+S(suspicious)": {"suppression": "suspicious"},
    "warmup=automatic": {"warmup": "automatic"},
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
    arguments = VARIANTS.get(str(row["variant"]))
    if arguments:
        options["defense_args"] = dict(arguments)
    return Cell(str(row["dataset"]), attack, str(row["defense"]), options)


@dataclass(frozen=True, kw_only=True)
class Marked(Table):
    """A table some of whose printed numbers are no targets: their note begins with "suspect"."""

    def _reproduce(self, request: Request) -> pd.DataFrame:
        frame = super()._reproduce(request)
        doubtful = frame["note"].astype(object).fillna("").str.startswith("suspect") & frame["reproduced"].notna()
        frame.loc[doubtful, "verdict"] = verdict.NOT_RUN
        frame.loc[doubtful, "reason"] = "no target, " + frame.loc[doubtful, "note"]
        return frame


def warm_up(attack: str, dataset: str = CIFAR) -> Cell:
    return Cell(dataset, attack, "vab", {"stop_after": "warmup"})


def mixing_cells(attack: str, dataset: str = CIFAR) -> tuple[Cell, ...]:
    """Figure 3; the first threshold is the method's own."""
    options = ({}, *({"defense_args": {"mix_threshold": value}} for value in THRESHOLDS[1:]))
    return tuple(Cell(dataset, attack, "vab", option) for option in options)


def threshold_of(cell: Cell) -> float:
    return float(cell.options.get("defense_args", {}).get("mix_threshold", THRESHOLDS[0]))


def rate_cells(attack: str) -> tuple[Cell, ...]:
    """Figure 6; the first rate is the usual one."""
    return tuple(Cell(CIFAR, attack, "vab", option) for option in ({}, *({"rate": rate} for rate in RATES[1:])))


def rate_of(cell: Cell) -> float:
    return float(cell.options.get("rate", RATES[0]))


def columns(defense: str) -> tuple[Cell, ...]:
    """The seven columns of Table 1."""
    rows = printed.table(KEY, "table-1")
    chosen = rows[(rows["defense"] == defense) & (rows["metric"] == "acc")]
    return tuple(cell_of({str(name): value for name, value in row.items()}) for _, row in chosen.iterrows())


def numbers() -> dict[str, Number]:
    """The rows of text-1 (Sec. 4.2, 4.4, App. A.3, A.4)."""
    plain, defended = columns("none"), columns("vab")
    found = {
        "scope=all attacks but SIG;defense=none": Number(
            tuple(cell for cell in plain if cell.attack != "sig"), vab_text.least_asr
        ),
        "scope=all attacks": Number(defended, vab_text.largest_asr),
        "scope=all attacks;item=drop-against-no-defense": Number(plain + defended, vab_text.largest_drop),
        "scope=most attacks;rate=0.5": Number(tuple(rate_cells(attack)[-1] for attack in RATED), vab_text.middle_asr),
    }
    for dataset, epochs in ((CIFAR, "2-3"), (IMAGENET, "5-6")):
        prefix = "" if dataset == CIFAR else f"{dataset}|"
        cells = tuple(warm_up(attack, dataset) for attack in ("badnets", "blend"))
        key = f"{prefix}item=mu1+sigma1;epochs={epochs};attacks=BadNets and Blend"
        found[key] = Number(cells, vab_text.threshold)
    for attack in ("badnets", "blend"):
        drop = vab_text.place_of("acc", "drop", THRESHOLDS)
        found[f"{attack}|item=t_m-where-BA-starts-to-drop"] = Number(mixing_cells(attack), drop)
    for attack in ("sig", "wanet"):
        top = vab_text.place_of("asr", "top", RATES)
        found[f"{attack}|item=rate-where-ASR-may-rise"] = Number(rate_cells(attack), top)
    for attack in ("badnets", "blend", "wanet"):
        dip = vab_text.place_of("acc", "dip", RATES)
        found[f"{attack}|item=rate-where-BA-fluctuates"] = Number(rate_cells(attack), dip)
    return found


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
    """Table 5 beside what this library loads: dataset, item, printed, here (empty where there is no loader)."""
    rows = printed.table(KEY, "table-5")
    info = data.info(CIFAR)
    here = {"classes": str(info.num_classes), "training-images": str(info.train_size)}
    items = [str(variant).removeprefix("item=") for variant in rows["variant"]]
    found = [here.get(item, "") if name == CIFAR else "" for name, item in zip(rows["dataset"], items, strict=True)]
    return pd.DataFrame({"dataset": rows["dataset"], "item": items, "printed": rows["published"], "here": found})


def table(
    key: str, kind: type[Table] = Table, chosen: Setting = USUAL, plot: str = "vab-variants", **more: Any
) -> Table:
    return kind(paper=KEY, key=key, setting=chosen, plot=plot, cell=cell_of, **more)


def series(key: str, plot: str, chosen: Setting, **more: Any) -> Series:
    return Series(paper=KEY, key=key, setting=chosen, plot=plot, **more)


EXHIBITS: tuple[Exhibit, ...] = (
    table("table-1", chosen=MAIN, plot="dots", checks=claims.TABLE_1),
    table("table-2", chosen=MAIN, plot="dots", checks=claims.TABLE_2),
    table("table-3", Marked, checks=claims.TABLE_3),
    table("table-4", chosen=ABLATION, checks=claims.TABLE_4),
    table("table-6", checks=claims.TABLE_6),
    table("table-7", chosen=MAIN, value=vab_measures.after_stage, checks=claims.TABLE_7),
    series(
        "figure-1",
        "vab-entropies",
        CHEAP,
        cells=tuple(map(warm_up, ATTACKS)),
        measure=vab_measures.entropies,
        checks=claims.FIGURE_1,
    ),
    Exhibit(paper=KEY, key="figure-2", plot="vab-pipeline"),
    series(
        "figure-3",
        "vab-lines",
        USUAL,
        cells=tuple(c for d in (CIFAR, IMAGENET) for a in ("badnets", "blend") for c in mixing_cells(a, d)),
        measure=vab_measures.final("t_m", threshold_of),
        checks=claims.FIGURE_3,
    ),
    series(
        "figure-4",
        "vab-mixture",
        CHEAP,
        cells=(warm_up("badnets"), warm_up("badnets", IMAGENET)),
        measure=vab_measures.densities,
        checks=claims.FIGURE_4,
    ),
    series(
        "figure-5",
        "vab-images",
        CHEAP,
        cells=tuple(Cell(CIFAR, attack, "none", {"rate": 0.0}) for attack in ATTACKS),
        measure=vab_measures.looks,
    ),
    series(
        "figure-6",
        "vab-lines",
        USUAL,
        cells=tuple(cell for attack in RATED for cell in rate_cells(attack)),
        measure=vab_measures.final("rate", rate_of),
        checks=claims.FIGURE_6,
    ),
    Text(paper=KEY, key="text-1", setting=USUAL, numbers=numbers(), checks=claims.TEXT),
)
PAPER = complete(KEY, EXHIBITS)
