"""A-ABL's exhibits (Zhao and Wressnegger, AISec 2024): Tables 1 to 7, Figures 1 to 11, the numbers of the text.

Stages 1 and 2 alone answer Table 1 and Figures 3, 4, 5 and 9: one cell for each attack, which the full defense shares
its naive model with. To add an exhibit: one entry in `EXHIBITS`, its claims in `claims.py`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd

from defenselib.papers.aabl import claims, figures, measures
from defenselib.papers.kit import printed, scaled
from defenselib.papers.kit.composed import Composed, Found, Number
from defenselib.papers.kit.exhibit import Exhibit, Paper, Series, Setting
from defenselib.papers.kit.frame import Row, mean_of
from defenselib.papers.kit.gates import undefended
from defenselib.papers.kit.measures import at_end
from defenselib.papers.kit.request import Cell, Thin, asked, several
from defenselib.papers.kit.scaled import Twice
from defenselib.papers.kit.table import Table
from defenselib.plots import words
from defenselib.plots.charts import dots

KEY = "aabl"
ATTACKS = ("badnets", "trojan", "clb", "iab", "blend", "ssba", "wanet")
RATED = tuple(name for name in ATTACKS if name != "clb")  # CLB's rate counts within the target class (Sec. 6.3)
RATES = (0.01, 0.02, 0.05, 0.1, 0.2)  # the figures do not say where their points are
BUDGETS = (1.0, 2.0, 4.0, 8.0)  # Fig. 6, grey levels of 255
ROBUST = ("acc", "asr", "ra")
SOME = ("none", "badnets", "trojan", "blend", "wanet")
# What is computed where nobody asks for more. Results that lie in the store are shown all the same.
THIN = {
    "smoke": Thin(("cifar10", "shapes"), ("none", "badnets", "blend"), ("none", "adv-train", "aabl")),
    "laptop": Thin(("cifar10",), SOME, ("none", "adv-train", "aabl")),
}
# The paper prints undefended models nowhere: drops and gates take the book's own.
SETTING = Setting(several("aabl"), THIN)


def before(one: Cell) -> tuple[Cell, ...]:
    """The undefended model, whatever was measured of it besides."""
    plain = undefended(one)
    more = (("acc", "asr"), ROBUST, (*ROBUST, "sce"))
    return tuple(replace(plain, options={**plain.options, "measure": measure}) for measure in more)


def cell(row: Row, defense: str = "aabl", **options: Any) -> Cell:
    return Cell(str(row["dataset"]), str(row["attack"]), defense, options)


def split_cell(row: Row) -> Cell:
    """Stages 1 and 2; on CIFAR-10 with what Figures 3 and 5 ask of the naive model."""
    asked = row["dataset"] == "cifar10" and row["attack"] != "none"
    return cell(row, stop_after="split", measure=("acc", "asr", "resistance") if asked else ("acc", "asr"))


def full_cell(row: Row) -> Cell:
    """All three stages, with RA; on CIFAR-10 with what Figure 11, under Blend also Figure 10, ask of them."""
    measure: tuple[str, ...] = ROBUST
    if row["dataset"] == "cifar10" and row["attack"] != "none":
        measure += ("losses", "sce") if row["attack"] == "blend" else ("sce",)
    return cell(row, measure=measure)


def compared_cell(row: Row) -> Cell:
    """Table 3: RA for the two that train adversarially."""
    if row["defense"] == "aabl":
        return full_cell(row)
    return cell(row, str(row["defense"]), measure=ROBUST if row["defense"] == "adv-train" else ("acc", "asr"))


def dst_cell(row: Row) -> Cell:
    """Table 4: adversarial training on parts of D-ST's split."""
    part = "dst-clean-uncertain" if row["subset"] == "clean+suspicious" else "dst-clean"
    return cell(row, defense_args={"split": part})


def augmented_cell(row: Row) -> Cell:
    """Table 5; its last column is Table 1's. AutoMix is AugMix, which the paper cites for it."""
    if row["split"] == "ifgsm":
        return split_cell(row)
    return cell(row, stop_after="split", defense_args={"split": str(row["split"]).replace("automix", "augmix")})


def network_cell(row: Row) -> Cell:
    """Table 6."""
    return cell(row, measure=ROBUST, model=str(row["model"]))


def rate_cell(row: Row) -> Cell:
    """Table 7."""
    return cell(row, measure=ROBUST, rate=float(row["poisoning_rate"]))


def naive_model(attack: str, rate: float) -> Cell:
    """Figure 2: the book's undefended model."""
    return Cell("cifar10", attack, "none", {"rate": rate})


def hardened(attack: str, **options: Any) -> Cell:
    """Figures 6 and 7: adversarial training alone."""
    return Cell("cifar10", attack, "adv-train", {"measure": ROBUST, **options})


def budgets(attack: str) -> tuple[Cell, ...]:
    """Figure 6; without a budget it is no adversarial training."""
    cells = [hardened(attack, defense_args={"eps": eps}) for eps in BUDGETS[:-1]]
    return Cell("cifar10", attack, "none", {"measure": ROBUST}), *cells, hardened(attack)


def budget_of(one: Cell) -> dict[str, float]:
    usual = 0.0 if one.defense == "none" else BUDGETS[-1]
    return {"eps": float(one.options.get("defense_args", {}).get("eps", usual))}


def rates(attack: str) -> tuple[Cell, ...]:
    """Figure 7; the usual rate is Table 3's."""
    return tuple(hardened(attack, **({} if rate == 0.1 else {"rate": rate})) for rate in RATES)


def on_cifar10(attack: str) -> Row:
    return {"dataset": "cifar10", "attack": attack}


rate_of = asked("poisoning_rate", "rate", usual=0.1)
SPLITS = tuple(split_cell(on_cifar10(attack)) for attack in ATTACKS)
FULL = {attack: full_cell(on_cifar10(attack)) for attack in ATTACKS}
LOSSES = {"measure": ("acc", "asr", "losses")}
# Rows of the text that no training answers, by metric.
ELSEWHERE = {
    "eps_255": "no number of a cell; the claims on Figures 3 and 6 judge it",
    "isolation_share": "a setting of another method, nothing to run",
    "asr": "the definition of a failure, nothing to run",
}
SHARES = {"clb": SPLITS[ATTACKS.index("clb")], "wanet": rate_cell({**on_cifar10("wanet"), "poisoning_rate": 0.2})}


def said(row: Row) -> Number | str:
    """A number of the text: a bound over all splits, an ASR at 1 % poison, a share of the set, or why it is none."""
    metric = str(row["metric"])
    attack: str = "" if pd.isna(row["attack"]) else str(row["attack"])
    if metric in ("gamma", "benign_kept"):
        return Number(SPLITS, lambda found: min(mean_of(one.metrics[metric] for one in results) for results in found))
    if metric in ("benign_share", "altered_share"):
        return Number((SHARES.get(attack, SPLITS[0]),), partial(_share, metric))
    if attack in ("badnets", "trojan"):
        return Number((naive_model(attack, 0.01),), lambda found: mean_of(result.asr for result in found[0]))
    return _counted(str(row["what"])) if metric == "count" else ELSEWHERE[metric]


def _share(metric: str, found: Found) -> float:
    result = found[0][0]
    altered = result.poisoned_count + (result.cross_count if metric == "altered_share" else 0)
    share = 100.0 * altered / int(result.experiment["train_size"])
    return share if metric == "altered_share" else 100.0 - share


def _counted(what: str) -> str:
    """How many attacks, data sets or networks the paper's own tables hold."""
    tables = pd.concat([printed.table(KEY, key) for key in printed.tables(KEY) if key != "text-1"])
    column, other = {
        "attacks": ("attack", {"none", "average", "worst"}),
        "datasets": ("dataset", set()),
        "architectures": ("model", set()),
        "additional-architectures": ("model", set(printed.table(KEY, "table-3")["model"].dropna())),
    }[what]
    names = [words.value(name, column) for name in dict.fromkeys(tables[column].dropna()) if name not in other]
    return f"the paper's tables have {len(names)}: {', '.join(names)}"


def bound(row: Row) -> int:
    """The shares of what is kept are lower bounds (Sec. 6.1)."""
    return 1 if row["metric"] in ("gamma", "benign_kept") else 0


def table(number: int, **more: Any) -> Table:
    return Table(paper=KEY, key=f"table-{number}", setting=SETTING, before=before, **more)


def series(number: int, cells: Any, measure: Any, plot: Any, checks: Any, axes: Any = lambda one: {}) -> Series:
    return Series(
        paper=KEY, key=f"figure-{number}", setting=SETTING, cells=tuple(cells), measure=measure, plot=plot,
        checks=checks, axes=axes, before=before,
    )  # fmt: skip


EXHIBITS: tuple[Exhibit, ...] = (
    table(1, cell=split_cell, instead=full_cell, checks=claims.TABLE_1),
    table(2, cell=partial(cell, defense_args={"training": "naive"}), plot=dots, checks=claims.TABLE_2),
    table(3, cell=compared_cell, plot=dots, checks=claims.TABLE_3),
    table(4, cell=dst_cell, checks=claims.TABLE_4),
    table(5, cell=augmented_cell, checks=claims.TABLE_5),
    table(6, cell=network_cell, checks=claims.TABLE_6),
    table(7, cell=rate_cell, checks=claims.TABLE_7),
    Exhibit(paper=KEY, key="figure-1", plot=figures.categories),
    series(2, [naive_model(name, rate) for name in RATED for rate in RATES], at_end("asr"),
           figures.lines("poisoning_rate"), claims.FIGURE_2, rate_of),
    series(3, SPLITS, partial(measures.resistance, axis="eps"), figures.lines("eps"), claims.FIGURE_3),
    series(4, (split_cell(on_cifar10("none")), *SPLITS), measures.vulnerability, figures.histograms, claims.FIGURE_4),
    series(5, SPLITS, partial(measures.resistance, axis="steps"), figures.lines("steps"), claims.FIGURE_5),
    series(6, [one for name in ATTACKS for one in budgets(name)], at_end("ra", "asr"), figures.lines("eps"),
           claims.FIGURE_6, budget_of),
    series(7, [one for name in RATED for one in rates(name)], at_end("asr"), figures.lines("poisoning_rate"),
           claims.FIGURE_7, rate_of),
    series(8, [Cell("cifar10", "badnets", "none", {"rate": rate, **LOSSES}) for rate in (0.01, 0.1)],
           measures.naive_losses, figures.losses, claims.FIGURE_8, rate_of),
    series(9, SPLITS[:1], measures.two_losses, figures.histograms, claims.FIGURE_9),
    series(10, (FULL["blend"],), measures.robust_losses, figures.losses, claims.FIGURE_10),
    series(11, FULL.values(), measures.outcome, figures.histograms, claims.FIGURE_11),
    Composed(paper=KEY, key="text-1", setting=SETTING, number=said, bound=bound, checks=claims.TEXT),
)  # fmt: skip
PAPER = Paper(KEY, EXHIBITS)

# What was run again at twice the schedule, because the profile's own fell short of what was expected of it.
TWICE = (Twice(Cell("cifar10", "trojan", "adv-train", {"measure": ROBUST}), ("epochs",)),)
doubled = partial(scaled.doubled, KEY, TWICE, numbers=ROBUST)  # beside the usual runs
