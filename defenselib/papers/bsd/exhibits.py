"""BSD's exhibits (Shen et al., ICML 2025): Tables 1 to 20, Figures 1 to 11, the numbers of its running text; and which
training answers each number.

What figures read from results is in `measures`, what the printed numbers say about one another in `printed`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd

from defenselib.attacks import ATTACKS
from defenselib.experiments.result import Result
from defenselib.papers.bsd import claims, figures, measures
from defenselib.papers.bsd import printed as bsd_printed
from defenselib.papers.kit import scaled
from defenselib.papers.kit.exhibit import Exhibit, Paper, Series, Setting
from defenselib.papers.kit.gates import undefended_alone
from defenselib.papers.kit.request import Cell, Thin, asked, several
from defenselib.papers.kit.scaled import Twice
from defenselib.papers.kit.table import Table
from defenselib.plots import charts

KEY = "bsd"
Row = Mapping[str, Any]
Answerer = Callable[[Row], Cell | str | None]
USUAL_MODEL = "resnet18"  # which a profile may replace by its own
USUAL_RATE = 0.05
FORCED = 3  # Fig. 10: the label that BSD is made to take for the target; also the papers' usual target
WARMUP = 45  # Table 8: the longest warm-up; an epoch of it does not depend on how many follow
NO_BENCH = "BackdoorBench's default setting, which the paper does not describe"
WITHOUT: Mapping[str, Mapping[str, Any]] = {
    "init": {"initial_pool": "random"},
    "comp": {"completion": False},
    "drop": {"dropping": False},
}
# Table 13, 14: BackdoorBench's defaults are those of the method here; the rest of the paper prunes a fixed share.
FP_BENCH: Mapping[str, Any] = {"layer": "linear", "stop": "accuracy", "epochs": 100, "schedule": "cosine"}
SEARCHED = ("prune_ratio", "beta", "gamma", "setting")  # what Tables 13 to 20 vary


def usual(row: Row, **options: Any) -> Cell:
    """The cell of a row: its network, target and rate where they are not the attack's usual ones, and `options`."""
    plan = ATTACKS[row["attack"]].presets["bsd"].plan if row["attack"] in ATTACKS else None
    if row["model"] != USUAL_MODEL:
        options["model"] = row["model"]
    target, rate = str(row["target"]), row["poisoning_rate"]
    if target.replace(".0", "").isdigit() and plan is not None and int(float(target)) != plan.target:
        options["target"] = int(float(target))
    if plan is not None and rate == rate and float(rate) != plan.rate:
        options["rate"] = float(rate)
    return Cell(str(row["dataset"]), str(row["attack"]), str(row["defense"]), options)


def searched(table: str) -> Answerer:
    """Tables 2 and 3: the baselines print the best of their searches, at the setting found best there."""

    def cell(row: Row) -> Cell:
        chosen = bsd_printed.best_setting(table, str(row["defense"]), str(row["attack"]))
        found = search({**row, **chosen}) if chosen else usual(row)
        return usual(row) if isinstance(found, str) else found

    return cell


def search(row: Row) -> Cell | str:
    """Tables 13 to 20."""
    name = next(name for name in SEARCHED if name in row)
    value = row[name]
    if name == "prune_ratio":
        return usual(row, defense_args=FP_BENCH if value == "default" else {"ratio": float(value)})
    if name == "beta":
        # BackdoorBench's weights are the defaults here. A single printed weight stands for both stages.
        return usual(row) if value == "default" else usual(row, defense_args={"beta": (float(value),) * 2})
    if name == "gamma" and value != "default":
        return usual(row, defense_args={"gamma": float(value)})
    return usual(row) if value == "default2" else NO_BENCH


def ablated(row: Row) -> Cell:
    """Tables 6 and 7: a row names the part that is left out, alpha and beta, or neither."""
    without, alpha = row.get("without"), row.get("alpha", math.nan)
    if without in WITHOUT:
        return usual(row, defense_args=WITHOUT[str(without)])
    return usual(row) if alpha != alpha else usual(row, defense_args={"alpha": alpha, "beta": row["beta"]})


def timed(row: Row) -> Cell:
    """Table 5, and the time column of Table 9: the attack is not stated, BadNets is the natural choice."""
    return usual({**row, "attack": "badnets"}) if row["metric"] == "hours" else usual(row)


# Table 8: one long warm-up answers for every length.
ISOLATED = partial(usual, defense_args={"target_vote": "isolation", "warmup_epochs": WARMUP}, stop_after="warmup")


def isolation_of(row: Row, result: Result) -> float:
    """After so many epochs of local gradient ascent: poisoned samples among the isolated, or is the vote right."""
    last = int(row["warmup_epochs"]) - 1
    found = [entry for entry in result.history if entry["stage"] == "warmup" and entry["epoch"] == last]
    if not found:
        return math.nan
    if row["metric"] == "correct":
        return float(found[0]["vote"] == result.experiment["target"])
    return float(result.poisoned_count - found[0]["clean_poisoned"])


def guess_of(row: Row, result: Result) -> float:
    """Whether the target label was found."""
    guess = result.metrics.get("target_guess")
    return math.nan if guess is None else float(guess == result.experiment["target"])


def all_to_all(row: Row) -> Cell:
    """Table 12: OSS with every class as target, no stage 3 (App. D.8)."""
    options = {"defense_args": {"all_to_all": True}} if row["defense"] == "bsd" else {}
    return Cell(str(row["dataset"]), str(row["attack"]), str(row["defense"]), options)


def before_at_3(cell: Cell) -> tuple[Cell, ...]:
    """Table 4: every DER is taken against the undefended model of target 3, as its printed numbers are."""
    return undefended_alone(Cell(cell.dataset, cell.attack, cell.defense))


# The figures. All are of CIFAR-10 but Figure 7.
MAIN_ATTACKS = ("badnets", "blend", "wanet")
RATES = (0.01, 0.05, 0.1, 0.2)
_ALL_TO_ALL = {"defense_args": {"all_to_all": True}}
_FORCED = {"measure": ("acc", "asr", "recovered"), "defense_args": {"pseudo_target": FORCED}}
FIGURE_3 = tuple(
    Cell("cifar10", attack, defense, {} if rate == USUAL_RATE else {"rate": rate})
    for attack in MAIN_ATTACKS
    for defense in ("asd", "bsd")
    for rate in RATES
)
FIGURE_4 = tuple(
    Cell("cifar10", attack, "none", {"rate": 0.0})
    for attack in (*MAIN_ATTACKS, "clb", "refool", "sig", "narcissus")
)  # fmt: skip
# ABL under WaNet collapses as well, in the paper's words on Table 1.
FIGURE_5 = (
    Cell("cifar10", "badnets", "bsd"),
    *(Cell("cifar10", "badnets", "bsd", {"defense_args": WITHOUT[part]}) for part in ("init", "comp")),
    Cell("cifar10", "wanet", "abl"),
)
FIGURE_6 = tuple(cell for cell in FIGURE_3 if cell.attack == "badnets")
FIGURE_7 = (Cell("gtsrb", "badnets", "bsd"),)
FIGURE_8 = (Cell("cifar10", "badnets", "bsd"), Cell("cifar10", "badnets", "bsd", times={"stage1_end": 2.0}))
FIGURE_9 = tuple(Cell("cifar10", attack, "bsd") for attack in (*MAIN_ATTACKS, "clb"))
FIGURE_10 = tuple(Cell("cifar10", "badnets", "bsd", {"target": target, **_FORCED}) for target in range(10))
FIGURE_11 = (Cell("cifar10", "badnets-all2all", "bsd", _ALL_TO_ALL),)
rate_of = asked("rate", "rate", USUAL_RATE)  # of Figures 3 and 6


def removed_from(cell: Cell) -> dict[str, Any]:
    """Figure 5: the part that BSD lacks."""
    lacks = cell.options.get("defense_args")
    return {"without": next((part for part, options in WITHOUT.items() if options == lacks), "nothing")}


def length_of(cell: Cell) -> dict[str, Any]:
    """Figure 8: the run that shows one length alone says so."""
    return {"length": 2.0} if cell.times else {}


# What is computed where nobody asks for more; results that lie in the store are shown all the same. A laptop does the
# main comparison and the ablation, whose trainings answer parts of most other exhibits.
MAIN = {
    "smoke": Thin(("cifar10",), ("badnets", "blend"), ("none", "asd", "bsd")),
    "laptop": Thin(("cifar10", "gtsrb"), MAIN_ATTACKS, ("none", "asd", "bsd")),
}
ABLATION = {name: Thin(("cifar10",), ("badnets",)) for name in ("smoke", "laptop")}
REST = {name: replace(thin, plain=True) for name, thin in MAIN.items()}
SEEDS = several()
SETTING = Setting(SEEDS, REST)
AGAINST_1, AGAINST_2, AGAINST_3 = (replace(SETTING, reference=f"table-{number}") for number in (1, 2, 3))


def _table(number: int, setting: Setting = SETTING, **more: Any) -> Table:
    return Table(paper=KEY, key=f"table-{number}", setting=setting, **{"cell": usual, "plot": charts.dots, **more})


def _search(number: int, setting: Setting) -> Table:
    # Of DBD's two settings (Tables 19 and 20) the paper says that they do not matter, and one is not described.
    checks = claims.SEARCHES if number < 19 else ()
    return _table(number, setting, cell=search, checks=checks, plot=figures.settings)


def _series(number: int, cells: tuple[Cell, ...], **more: Any) -> Series:
    return Series(paper=KEY, key=f"figure-{number}", setting=SETTING, cells=cells, **more)


EXHIBITS = (
    _table(1, Setting(SEEDS, MAIN), checks=claims.TABLE_1),
    _table(2, cell=searched("table-2"), checks=claims.TABLE_2),
    _table(3, cell=searched("table-3"), checks=claims.TABLE_3),
    _table(4, AGAINST_1, before=before_at_3, checks=claims.TABLE_4, plot=figures.settings),
    _table(5, cell=timed, checks=claims.TABLE_5, plot=figures.hours),
    _table(6, Setting(SEEDS, ABLATION, "table-1"), cell=ablated, checks=claims.TABLE_6, plot=figures.settings),
    _table(7, AGAINST_1, cell=ablated, checks=claims.TABLE_7, plot=figures.settings),
    _table(8, cell=ISOLATED, value=isolation_of, checks=claims.TABLE_8, plot=figures.isolation),
    _table(9, replace(SETTING, reference=("table-1", "table-2")), cell=timed, checks=claims.TABLE_9),
    _table(10, checks=claims.TABLE_10),
    _table(11, cell=partial(usual, stop_after="warmup"), value=guess_of, checks=claims.TABLE_11, plot=figures.found),
    _table(12, cell=all_to_all, checks=claims.TABLE_12),
    *(_search(number, AGAINST_2) for number in (13, 15, 17, 19)),
    *(_search(number, AGAINST_3) for number in (14, 16, 18, 20)),
    Exhibit(paper=KEY, key="figure-1", plot=figures.backdoor),
    Exhibit(paper=KEY, key="figure-2", plot=figures.overview),
    _series(3, FIGURE_3, measure=measures.ends, axes=rate_of, checks=claims.FIGURE_3, plot=figures.rates),
    _series(4, FIGURE_4, measure=measures.looks, plot=figures.looks),
    _series(5, FIGURE_5, measure=measures.collapse, axes=removed_from, checks=claims.FIGURE_5, plot=figures.collapse),
    _series(6, FIGURE_6, measure=measures.poison_count, axes=rate_of, checks=claims.FIGURE_6, plot=figures.poison),
    _series(7, FIGURE_7, measure=measures.panels, checks=claims.FIGURE_7, plot=figures.panels),
    _series(8, FIGURE_8, measure=measures.distances, axes=length_of, checks=claims.FIGURE_8, plot=figures.distances),
    _series(9, FIGURE_9, measure=measures.votes, checks=claims.FIGURE_9, plot=figures.votes),
    _series(10, FIGURE_10, measure=measures.forced, checks=claims.FIGURE_10, plot=figures.forced),
    _series(11, FIGURE_11, measure=measures.every_class, checks=claims.FIGURE_11, plot=figures.every_class),
    Table(paper=KEY, key="text-1", setting=SETTING, cell=usual, checks=claims.TEXT_1, plot=figures.settings),
)
PAPER = Paper(KEY, EXHIBITS)

# What was run again at twice the schedule, because a claim failed at the profile's own.
SCHEDULE = ("warmup_epochs", "stage1_end", "pool_epochs", "stage2_end", "epochs", "rampup")
TWICE = (Twice(Cell("cifar10", "badnets", "bsd", {"defense_args": WITHOUT["init"]}), SCHEDULE),)
doubled = partial(scaled.doubled, KEY, TWICE)  # beside the usual runs


def purity(
    attack: str = "badnets", profile: str = "laptop", store: Any = None, twice: bool = False, **defense_args: Any
) -> pd.DataFrame:
    """History of BSD's main model under an attack on CIFAR-10, from the first clean pool on (see `scaled.history`);
    twice: of the run at twice the schedule. Reads only."""
    cell = Cell("cifar10", attack, "bsd", {"defense_args": defense_args} if defense_args else {})
    found = scaled.history(KEY, Twice(cell, SCHEDULE).longer if twice else cell, profile, store)
    return found[found["clean_size"].notna()] if "clean_size" in found else found
