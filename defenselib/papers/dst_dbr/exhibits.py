"""Every exhibit of D-ST and D-BR (Chen et al., NeurIPS 2022): Tables 1 to 7, Figures 1 to 13, numbers of the text.

To add an exhibit: one entry in `EXHIBITS`, its claims in `claims`, its measurement in `measures`, its drawing in
`figures`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd

from defenselib.papers.dst_dbr import claims, figures, measures
from defenselib.papers.dst_dbr.properties import KEY, Categories
from defenselib.papers.kit import frame as frames
from defenselib.papers.kit import printed, scaled
from defenselib.papers.kit.claims import Claim, as_printed, table_of
from defenselib.papers.kit.exhibit import Drawer, Drawing, Exhibit, Paper, Series, Setting
from defenselib.papers.kit.frame import Row
from defenselib.papers.kit.request import Cell, Thin, several
from defenselib.papers.kit.scaled import Twice
from defenselib.papers.kit.table import Table
from defenselib.plots.charts import dots

USUAL_RATE = 0.1
# One attack of each kind: patch, whole image, clean label twice. The figures' own choice is not in the paper's text.
KINDS = ("badnets", "blend-strip", "sig", "clb")
SIX = ("badnets", "trojan", "sig", "blend-strip", "blend-kitty", "clb")
# What is computed where nobody asks for more. Results that lie in the store are shown all the same.
THIN = {
    "smoke": Thin(("cifar10", "shapes"), ("badnets",), ("none", "dst", "dbr"), plain=True),
    "laptop": Thin(("cifar10",), ("none", "badnets", "blend-strip", "sig")),
}
# Other architectures are out of reach of a CPU.
PLAIN = {**THIN, "laptop": Thin(("cifar10",), ("none", "badnets", "blend-strip", "sig"), plain=True)}
SEEDS = several("none", "dbr")  # D-BR and what it repairs
SETTING, SETTING_5, SETTING_6 = (Setting(SEEDS, THIN, reference=f"table-{number}") for number in (2, 5, 6))
SETTING_7 = Setting(SEEDS, PLAIN, reference="table-7")


def options_of(row: Row) -> dict[str, Any]:
    """What a row of a table sets otherwise than usual: poisoning rate, network, extractor."""
    options: dict[str, Any] = {}
    rate, model, extractor = row["poisoning_rate"], row["model"], row.get("extractor", "ss-ctl")
    if pd.notna(rate) and float(rate) != USUAL_RATE:
        options["rate"] = float(rate)
    if pd.notna(model) and model != "resnet18":
        options["model"] = str(model)
    if extractor != "ss-ctl":
        options["defense_args"] = {"extractor": extractor}
    return options


def table_cell(row: Row) -> Cell:
    """The cell of a row of Tables 1 to 3, 5 and 6."""
    return Cell(str(row["dataset"]), str(row["attack"]), str(row["defense"]), options_of(row))


def architecture_cell(row: Row) -> Cell | str:
    """Table 7: the size of the features is that of the undefended model, the precisions are those of D-BR's split."""
    if pd.isna(row["published"]):
        return "the paper prints a dash: SupCon's code has no such architecture"
    defense = "none" if row["metric"] == "count" else "dbr" if row["module"] == "sd" else str(row["defense"])
    return Cell(str(row["dataset"]), str(row["attack"]), defense, options_of(row))


def dbr(attack: str, **more: Any) -> Cell:
    """D-BR on CIFAR-10 with other hyper-parameters."""
    return Cell("cifar10", attack, "dbr", {"defense_args": more} if more else {})


def probed(attack: str, probe: str) -> Cell:
    """The distinguishment alone, with more reported than the method needs."""
    return dbr(attack, probe=probe, rounds=0)


# Numbers of the running text by the words that their CSV has for them: the cell that answers, or why none does.
TEXT: Mapping[str, Cell | str] = {
    "module=sd": dbr("badnets"),
    "threshold=successful-attack": "a rule of the paper, no measurement",
    "sd-metric=abl-loss": dbr("blend-strip", metric="loss-ascent"),
    "sd-metric=fct": "a bound over several attacks: see the claims on Figure 4",
    "module=sd;split=train;epochs=2": probed("badnets", "features"),
    "module=sd;finetune=none": probed("sig", "features"),
    "module=sd;finetune=intra-class;epochs=5": probed("sig", "features"),
    "module=sd;finetune=intra-cluster-oracle;epochs=5": "needs the true poison flags, which no defense sees",
    "attack-kind=clean-label": "a bound over several attacks, on a data set without loader",
    "difference=backdoored-minus-defended": "a difference of two averages: see Table 6",
    "difference=backdoored-minus-defended;over=architectures": "a largest difference: see the claims on Table 7",
    "module=sd;tau=most-of-36": probed("badnets", "pairs"),
    "module=sd;what=poisoned-samples-in-clean-set": dbr("badnets"),
    "module=sd;what=separated-poisoned-set": dbr("badnets"),
    "module=sd;what=separated-clean-set": dbr("badnets"),
    "what=poisoned-samples;attack-kind=dirty-label-all2one": Cell("cifar10", "badnets", "none"),
    "what=poisoned-samples;attack-kind=clean-label": Cell("cifar10", "sig", "none"),
    "what=transformation-pairs": "six transformations in ordered pairs, by definition",
    "what=repetitions": "the paper's own number of runs; what this book ran stands in the tables",
}


def text_cell(row: Row) -> Cell | str:
    """The cell of a number that stands only in the running text."""
    if row["attack"] == "sig" and row["module"] == "sd":
        return dbr("sig")
    if row["variant"] in TEXT:
        return TEXT[row["variant"]]
    if pd.notna(row["attack"]):
        return table_cell(row)
    return Cell(str(row["dataset"]), "badnets", "none")


def varied(cell: Cell) -> dict[str, Any]:
    """The hyper-parameters that a figure's cell varies; the score that splits goes by a name of its own."""
    chosen = dict(cell.options.get("defense_args", {}))
    if "metric" in chosen:
        chosen["score"] = chosen.pop("metric")
    return {name: value for name, value in chosen.items() if name not in ("probe", "rounds")}


def series(key: str, plot: Drawer, cells: list[Cell], measure: Any, checks: tuple[Claim, ...]) -> Series:
    return Series(
        paper=KEY, key=key, setting=SETTING, plot=plot, cells=tuple(cells), measure=measure, axes=varied, checks=checks
    )


def table(key: str, checks: tuple[Claim, ...], cell: Any = table_cell, **more: Any) -> Table:
    return Table(paper=KEY, key=key, cell=cell, **{"setting": SETTING, "plot": dots, "checks": checks, **more})


SHARES = [dbr(attack, clean_share=share) for attack in KINDS for share in (0.0, 0.05, 0.2, 0.4, 0.8)]
SHARES += [dbr(attack, poison_share=share) for attack in KINDS for share in (0.0, 0.01, 0.05, 0.1, 0.2)]
SWAPPED = [dbr(attack, metric=metric) for attack in KINDS for metric in ("spectral", "sce", "loss-ascent", "fct")]
STEPS = [dbr(attack, steps=steps) for attack in KINDS for steps in ("unlearn", "relearn", "both")]
WEIGHTS = [
    Cell("cifar10", attack, "dst", {"defense_args": {"poison_weight": weight}})
    for attack in KINDS
    for weight in (0.0, 0.001, 0.01, 0.1, 1.0)
]
FEATURES = [probed(attack, "features") for attack in KINDS]
PAIRS = [probed(attack, "pairs") for attack in KINDS[:2]]

EXHIBITS: tuple[Exhibit, ...] = (
    table("table-1", claims.TABLE_1),
    table("table-2", claims.TABLE_2),
    table("table-3", claims.TABLE_3),
    Categories(paper=KEY, key="table-4", setting=SETTING),
    table("table-5", claims.TABLE_5, setting=SETTING_5),
    table("table-6", claims.TABLE_6, setting=SETTING_6),
    table("table-7", claims.TABLE_7, architecture_cell, setting=SETTING_7, value=measures.architecture_value),
    table("text-1", (), text_cell, value=measures.text_value, plot=None),
    series("figure-1", figures.movement, FEATURES[:1], measures.moved_rows, claims.FIGURE_1),
    Exhibit(paper=KEY, key="figure-2", plot=figures.framework),
    series("figure-3", figures.histograms, [dbr(name) for name in KINDS[:2]],
           partial(measures.fct_rows, moments=("after",)), claims.FIGURE_3),
    series("figure-4", figures.bars, SWAPPED, measures.final_rows, claims.FIGURE_4),
    series("figure-5", figures.steps, STEPS, measures.step_rows, claims.FIGURE_5),
    series("figure-6", figures.weights, WEIGHTS, measures.final_rows, claims.FIGURE_6),
    series("figure-7", figures.clusters, FEATURES, measures.cluster_rows, claims.FIGURE_7),
    series("figure-8", figures.histograms, [dbr(name) for name in SIX], measures.fct_rows, claims.FIGURE_8),
    Drawing(paper=KEY, key="figure-9", plot=figures.attacks),
    Drawing(paper=KEY, key="figure-10", plot=figures.transforms),
    series("figure-11", figures.pairs, PAIRS, measures.pair_rows, claims.FIGURE_11),
    series("figure-12", figures.pairs, [probed("sig", "pairs")], measures.pair_rows, claims.FIGURE_12),
    series("figure-13", figures.shares, SHARES, measures.final_rows, claims.FIGURE_13),
)  # fmt: skip
PAPER = Paper(KEY, EXHIBITS)

# What was run again at twice the schedule, because the profile's own fell short of what was expected of it.
TWICE = (Twice(Cell("cifar10", "blend-strip", "dbr"), ("rounds",)),)
doubled = partial(scaled.doubled, KEY, TWICE)  # beside the usual runs


def on_print() -> pd.DataFrame:
    """The claims on tables, judged on the printed numbers themselves (columns of `claims.table_of`, and exhibit), and
    whether the printed averages are those of their rows: not all of them hold."""
    made = []
    for exhibit in EXHIBITS:
        if exhibit.checks and exhibit.key in printed.tables(KEY):
            rows = printed.table(KEY, exhibit.key)
            asked = exhibit.checks + ((claims.AVERAGES,) if (rows["attack"] == frames.AVERAGE).any() else ())
            frame = as_printed(frames.unanswered(rows, "paper", ""))
            made.append(table_of(asked, frame).assign(exhibit=exhibit.key))
    return pd.concat(made, ignore_index=True)
