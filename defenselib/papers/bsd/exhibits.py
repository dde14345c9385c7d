"""BSD's exhibits (Shen et al., ICML 2025): Tables 1 to 20, Figures 1 to 11, the numbers of its running text.

Which training answers a number is in `bsd_cells.py`, what figures read from results in `bsd_figures.py`, what the
printed numbers say about one another in `bsd_printed.py`, the claims in `bsd_claims*.py`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd

from defenselib.papers.bsd import cells, claims
from defenselib.papers.bsd import claims_figures as seen
from defenselib.papers.bsd import measures as figures
from defenselib.papers.kit import scaled
from defenselib.papers.kit.exhibit import Exhibit, Series, Setting, Table, complete
from defenselib.papers.kit.grid import Cell, Thin
from defenselib.papers.kit.scaled import Twice
from defenselib.papers.kit.spread import several

KEY = "bsd"
# What is computed where nobody asks for more; results that lie in the store are shown all the same. A laptop does the
# main comparison and the ablation, whose trainings answer parts of most other exhibits.
MAIN = {
    "smoke": Thin(("cifar10",), ("badnets", "blend"), ("none", "asd", "bsd")),
    "laptop": Thin(("cifar10", "gtsrb"), ("badnets", "blend", "wanet"), ("none", "asd", "bsd")),
}
ABLATION = {
    "smoke": Thin(("cifar10",), ("badnets",)),
    "laptop": Thin(("cifar10",), ("badnets",)),
}
REST = {name: replace(thin, plain=True) for name, thin in MAIN.items()}


SEEDS = several()
SETTING = Setting(SEEDS, REST)
AGAINST_1 = replace(SETTING, reference="table-1")
AGAINST_2 = replace(SETTING, reference="table-2")
AGAINST_3 = replace(SETTING, reference="table-3")


def _table(number: int, setting: Setting = SETTING, **more: Any) -> Table:
    return Table(paper=KEY, key=f"table-{number}", setting=setting, **{"cell": cells.usual, "plot": "dots", **more})


def _series(number: int, **more: Any) -> Series:
    return Series(paper=KEY, key=f"figure-{number}", setting=SETTING, **more)


def _search(number: int, setting: Setting) -> Table:
    return _table(
        number, setting, cell=cells.search, checks=claims.SEARCHES if number < 19 else (), plot="bsd-settings"
    )


EXHIBITS = (
    _table(1, Setting(SEEDS, MAIN), checks=claims.TABLE_1),
    _table(2, cell=cells.searched("table-2"), checks=claims.TABLE_2),
    _table(3, cell=cells.searched("table-3"), checks=claims.TABLE_3),
    _table(4, AGAINST_1, before=cells.before_at_3, checks=claims.TABLE_4, plot="bsd-settings"),
    _table(5, cell=cells.timed, checks=claims.TABLE_5, plot="bsd-hours"),
    _table(6, Setting(SEEDS, ABLATION, "table-1"), cell=cells.ablated, checks=claims.TABLE_6, plot="bsd-settings"),
    _table(7, AGAINST_1, cell=cells.ablated, checks=claims.TABLE_7, plot="bsd-settings"),
    _table(8, cell=cells.isolated, value=cells.isolation_of, checks=claims.TABLE_8, plot="bsd-isolation"),
    _table(9, replace(SETTING, reference=("table-1", "table-2")), cell=cells.timed, checks=claims.TABLE_9),
    _table(10, checks=claims.TABLE_10),
    _table(11, cell=cells.guessed, value=cells.guess_of, checks=claims.TABLE_11, plot="bsd-found"),
    _table(12, cell=cells.all_to_all, checks=claims.TABLE_12),
    *(_search(number, AGAINST_2) for number in (13, 15, 17, 19)),
    *(_search(number, AGAINST_3) for number in (14, 16, 18, 20)),
    Exhibit(paper=KEY, key="figure-1", plot="bsd-backdoor"),
    Exhibit(paper=KEY, key="figure-2", plot="bsd-overview"),
    _series(3, cells=figures.FIGURE_3, measure=figures.by_rate, checks=seen.FIGURE_3, plot="bsd-rates"),
    _series(4, cells=figures.FIGURE_4, measure=figures.looks, plot="bsd-looks"),
    _series(5, cells=figures.FIGURE_5, measure=figures.collapse, checks=seen.FIGURE_5, plot="bsd-collapse"),
    _series(6, cells=figures.FIGURE_6, measure=figures.poison_count, checks=seen.FIGURE_6, plot="bsd-poison"),
    _series(7, cells=figures.FIGURE_7, measure=figures.panels, checks=seen.FIGURE_7, plot="bsd-panels"),
    _series(8, cells=figures.FIGURE_8, measure=figures.distances, checks=seen.FIGURE_8, plot="bsd-distances"),
    _series(9, cells=figures.FIGURE_9, measure=figures.votes, checks=seen.FIGURE_9, plot="bsd-votes"),
    _series(10, cells=figures.FIGURE_10, measure=figures.by_target, checks=seen.FIGURE_10, plot="bsd-forced"),
    _series(11, cells=figures.FIGURE_11, measure=figures.every_class, checks=seen.FIGURE_11, plot="bsd-every-class"),
    Table(paper=KEY, key="text-1", setting=SETTING, cell=cells.usual, checks=claims.TEXT_1, plot="bsd-settings"),
)
PAPER = complete(KEY, EXHIBITS)

# What was run again at twice the schedule, because a claim failed at the profile's own.
SCHEDULE = ("warmup_epochs", "stage1_end", "pool_epochs", "stage2_end", "epochs", "rampup")
TWICE = (Twice(Cell("cifar10", "badnets", "bsd", {"defense_args": {"initial_pool": "random"}}), SCHEDULE),)
doubled = partial(scaled.doubled, KEY, TWICE)  # beside the usual runs


def purity(
    attack: str = "badnets", profile: str = "laptop", store: Any = None, twice: bool = False, **defense_args: Any
) -> pd.DataFrame:
    """History of BSD's main model under an attack on CIFAR-10, from the first clean pool on (see `scaled.history`);
    twice: of the run at twice the schedule. Reads only."""
    cell = Cell("cifar10", attack, "bsd", {"defense_args": defense_args} if defense_args else {})
    found = scaled.history(KEY, Twice(cell, SCHEDULE).longer if twice else cell, profile, store)
    return found[found["clean_size"].notna()] if "clean_size" in found else found
