"""What BSD's figures read from results (Shen et al., ICML 2025)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from defenselib.papers.bsd.cells import FORCED, WITHOUT
from defenselib.papers.kit.grid import Cell
from defenselib.papers.kit.measures import histogram, point, poisoned_in, separation

if TYPE_CHECKING:
    from defenselib.experiments.result import Result

Rows = list[dict[str, Any]]
Results = tuple["Result", ...]
RATES = (0.01, 0.05, 0.1, 0.2)
USUAL_RATE = 0.05
ATTACKS = ("badnets", "blend", "wanet")
RULES = ("min", "max", "mean")
BINS = 40
# Symmetric cross-entropy lies in [0, 11] (9.2 from its reverse part, 1.6 from a tenth of the plain one).
LOSS_EDGES = np.linspace(0.0, 11.0, BINS + 1)
DIFFERENCE_EDGES = np.linspace(-11.0, 11.0, BINS + 1)

FIGURE_3 = tuple(
    Cell("cifar10", attack, defense, {} if rate == USUAL_RATE else {"rate": rate})
    for attack in ATTACKS
    for defense in ("asd", "bsd")
    for rate in RATES
)
FIGURE_4 = tuple(
    Cell("cifar10", attack, "none", {"rate": 0.0})
    for attack in ("badnets", "blend", "wanet", "clb", "refool", "sig", "narcissus")
)
FIGURE_5 = tuple(
    Cell("cifar10", "badnets", "bsd", {"defense_args": WITHOUT[part]} if part else {}) for part in ("", "init", "comp")
)
FIGURE_6 = tuple(cell for cell in FIGURE_3 if cell.attack == "badnets")
FIGURE_7 = (Cell("gtsrb", "badnets", "bsd"),)
FIGURE_8 = (Cell("cifar10", "badnets", "bsd"), Cell("cifar10", "badnets", "bsd", times={"stage1_end": 2.0}))
FIGURE_9 = tuple(Cell("cifar10", attack, "bsd") for attack in (*ATTACKS, "clb"))
FIGURE_10 = tuple(
    Cell(
        "cifar10",
        "badnets",
        "bsd",
        {"target": target, "measure": ("acc", "asr", "recovered"), "defense_args": {"pseudo_target": FORCED}},
    )
    for target in range(10)
)
FIGURE_11 = (Cell("cifar10", "badnets-all2all", "bsd", {"defense_args": {"all_to_all": True}}),)


def values_of(results: Results, metric: str) -> list[float]:
    """acc or asr of every result, or one of its metrics where it has it."""
    if metric in ("acc", "asr"):
        return [float(getattr(result, metric)) for result in results]
    return [result.metrics[metric] for result in results if metric in result.metrics]


def by_rate(cell: Cell, results: Results) -> Rows:
    """Figure 3: ACC and ASR at a poisoning rate."""
    rate = f"rate={results[0].experiment['rate']:g}"
    return [point(rate, metric, *values_of(results, metric)) for metric in ("acc", "asr")]


def by_target(cell: Cell, results: Results) -> Rows:
    """Figure 10: ACC, ASR and RA (triggered images that get their true class) for a true target."""
    target = f"target={results[0].experiment['target']}"
    found = {"acc": "acc", "asr": "asr", "ra": "recovered"}
    return [point(target, name, *values_of(results, metric)) for name, metric in found.items()]


def looks(cell: Cell, results: Results) -> Rows:
    """Figure 4 in numbers: how far an image with the trigger is from the original."""
    names = ("triggered_psnr", "triggered_ssim", "triggered_linf")
    return [
        point("", name.removeprefix("triggered_"), *values) for name in names if (values := values_of(results, name))
    ]


def epochs_of(results: Results, stage: str = "bsd") -> list[tuple[int, list[dict[str, Any]]]]:
    """Every epoch of a stage with the rows of the seeds that have it."""
    rows = [row for result in results for row in result.history if row["stage"] == stage]
    return [(epoch, [row for row in rows if row["epoch"] == epoch]) for epoch in sorted({row["epoch"] for row in rows})]


def collapse(cell: Cell, results: Results) -> Rows:
    """Figure 5: poison in the clean pool and ASR (I), the rarest class of the pool and ACC (II), by epoch.

    poison: percent of the pool; rarest: samples of its rarest class in percent of what each class had if all were
    equal.
    """
    removed = {str(dict(value)): name for name, value in WITHOUT.items()}
    part = removed.get(str(dict(cell.options.get("defense_args", {}))), "nothing")
    classes = len(results[0].per_class)
    rows: Rows = []
    for epoch, found in epochs_of(results):
        where = f"without={part};epoch={epoch}"
        shares = {
            "poison": [100 * row["clean_poisoned"] / row["clean_size"] for row in found if row.get("clean_size")],
            "rarest": [
                100 * classes * row["rarest_class"] / row["clean_size"] for row in found if row.get("clean_size")
            ],
        }
        shares |= {metric: [row[metric] for row in found if metric in row] for metric in ("acc", "asr")}
        rows += [point(where, name, *values) for name, values in shares.items()]
    return rows


def poison_count(cell: Cell, results: Results) -> Rows:
    """Figure 6: poisoned samples in the clean pool after every epoch, and their running sum."""
    rows: Rows = []
    total = 0.0
    rate = f"rate={results[0].experiment['rate']:g}"
    for epoch, found in epochs_of(results, cell.defense):
        counts = [float(row["clean_poisoned"]) for row in found if "clean_poisoned" in row]
        if counts:
            made = point(f"{rate};epoch={epoch}", "count", *counts)
            total += made["reproduced"]
            rows += [made, point(f"{rate};epoch={epoch}", "sum", total)]
    return rows


def _scores(result: Result, name: str, epoch: int) -> np.ndarray | None:
    found = result.arrays.get(f"scores/{name}/{epoch}")
    return None if found is None else np.asarray(found, dtype=np.float64)


def _apart(where: str, values: np.ndarray, poisoned: np.ndarray, edges: np.ndarray) -> Rows:
    """Histograms of both groups, medians, and how often the poisoned sample of a pair has the larger value."""
    known = np.isfinite(values)
    groups = {"clean": known & ~poisoned, "poisoned": known & poisoned}
    rows: Rows = []
    for name, member in groups.items():
        rows += histogram(f"{where};group={name}", values[member], edges)
        rows.append(
            point(f"{where};group={name}", "median", float(np.median(values[member])) if member.any() else np.nan)
        )
    share = separation(values[groups["poisoned"]], values[groups["clean"]])
    return [*rows, point(where, "separation", 100 * share)]


def _width(values: np.ndarray) -> np.ndarray:
    return np.linspace(0.0, float(np.nanmax(values)), BINS + 1)


def panels(cell: Cell, results: Results) -> Rows:
    """Figure 7 from the first seed: (a) g's loss after its warm-up, (b) OSS scores at T1, (c) I and (d) f's loss at the
    end."""
    result, args = results[0], results[0].experiment["defense_args"]
    end = int(args["epochs"])
    loss, altruistic = _scores(result, "loss", end), _scores(result, "altruistic_loss", end)
    found = {
        "a": _scores(result, "altruistic_loss", 0),
        "b": _scores(result, "distance_min", int(args["stage1_end"])),
        "c": None if loss is None or altruistic is None else altruistic - loss,
        "d": loss,
    }
    rows: Rows = []
    for panel, values in found.items():
        if values is not None:
            edges = _width(values) if panel == "b" else DIFFERENCE_EDGES if panel == "c" else LOSS_EDGES
            rows += _apart(f"panel={panel}", values, poisoned_in(result, len(values)), edges)
    return rows


def distances(cell: Cell, results: Results) -> Rows:
    """Figure 8 from the first seed: OSS scores by length of the warm-up and distance; the usual length is 1.

    The run with the usual T1 shows a quarter and a half of it on the way, the one with twice as much only its end.
    """
    result = results[0]
    end = int(result.experiment["defense_args"]["stage1_end"])
    lengths = {"2": end} if cell.times else {"0.25": end // 4, "0.5": end // 2, "1": end}
    rows: Rows = []
    for length, epoch in lengths.items():
        for rule in RULES:
            values = _scores(result, f"distance_{rule}", epoch)
            if values is not None:
                where = f"length={length};epochs={epoch};rule={rule}"
                rows += _apart(where, values, poisoned_in(result, len(values)), _width(values))
    return rows


def votes(cell: Cell, results: Results) -> Rows:
    """Figure 9 from the first seed: the class that an epoch of the warm-up votes for, and the majority so far."""
    rows: Rows = [point("", "truth", float(results[0].experiment["target"]))]
    for epoch, found in epochs_of(results[:1], "warmup"):
        rows += [
            point(f"epoch={epoch + 1}", name, float(found[0][name])) for name in ("vote", "target") if name in found[0]
        ]
    return rows


def every_class(cell: Cell, results: Results) -> Rows:
    """Figure 11 from the first seed: OSS scores, each sample judged in the run that takes its label for the target."""
    result = results[0]
    values = _scores(result, "distance_min", int(result.experiment["defense_args"]["stage1_end"]))
    if values is None:
        return []
    return _apart("panel=a", values, poisoned_in(result, len(values)), _width(values))
