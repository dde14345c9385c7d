"""What BSD's figures read from results (Shen et al., ICML 2025)."""

from __future__ import annotations

from typing import Any

import numpy as np

from defenselib.experiments.measure.separation import poisoned_in, separation
from defenselib.experiments.result import Result
from defenselib.papers.kit.frame import seed_of
from defenselib.papers.kit.measures import Points, Results, array_of, by_epoch, histogram, point, seeded
from defenselib.papers.kit.request import Cell

RULES = ("min", "max", "mean")
BINS = 40
# Symmetric cross-entropy lies in [0, 11] (9.2 from its reverse part, 1.6 from a tenth of the plain one).
LOSS_EDGES = np.linspace(0.0, 11.0, BINS + 1)
DIFFERENCE_EDGES = np.linspace(-11.0, 11.0, BINS + 1)


def by_seed(results: Results, metric: str) -> dict[int, float]:
    """acc or asr of every result, or one of its metrics where it has it, by seed."""
    if metric in ("acc", "asr"):
        return {seed_of(result): float(getattr(result, metric)) for result in results}
    return {seed_of(result): result.metrics[metric] for result in results if metric in result.metrics}


def ends(cell: Cell, results: Results) -> Points:
    """Figure 3: ACC and ASR of the final model."""
    return [seeded(metric, by_seed(results, metric)) for metric in ("acc", "asr")]


def forced(cell: Cell, results: Results) -> Points:
    """Figure 10: ACC, ASR and RA (triggered images that get their true class)."""
    return [*ends(cell, results), seeded("ra", by_seed(results, "recovered"))]


def looks(cell: Cell, results: Results) -> Points:
    """Figure 4 in numbers: how far an image with the trigger is from the original."""
    found = {name: by_seed(results, f"triggered_{name}") for name in ("psnr", "ssim", "linf")}
    return [seeded(name, values) for name, values in found.items() if values]


def collapse(cell: Cell, results: Results) -> Points:
    """Figure 5: poison in the clean pool and ASR (I), the rarest class of the pool and ACC (II), by epoch.

    poison: percent of the pool; rarest: samples of its rarest class in percent of what each class had if all were
    equal; lowest_class: accuracy of the final model on the class that it knows least.
    """
    classes = len(results[0].per_class)
    rows: Points = [seeded("lowest_class", {seed_of(result): min(result.per_class) for result in results})]
    for epoch, found in by_epoch(results, "bsd"):
        pools = {seed: row for seed, row in found.items() if row.get("clean_size")}
        values = {
            "poison": {seed: 100 * row["clean_poisoned"] / row["clean_size"] for seed, row in pools.items()},
            "rarest": {seed: 100 * classes * row["rarest_class"] / row["clean_size"] for seed, row in pools.items()},
        }
        values |= {name: {seed: row[name] for seed, row in found.items() if name in row} for name in ("acc", "asr")}
        rows += [seeded(name, numbers, epoch=epoch) for name, numbers in values.items()]
    return rows


def poison_count(cell: Cell, results: Results) -> Points:
    """Figure 6: poisoned samples in the clean pool after every epoch, and their running sum."""
    rows: Points = []
    total: dict[int, float] = {}
    for epoch, found in by_epoch(results, cell.defense):
        counts = {seed: float(row["clean_poisoned"]) for seed, row in found.items() if "clean_poisoned" in row}
        if counts:
            total = {seed: total.get(seed, 0.0) + count for seed, count in counts.items()}
            rows += [seeded("count", counts, epoch=epoch), seeded("sum", total, epoch=epoch)]
    return rows


def _scores(result: Result, name: str, epoch: int) -> np.ndarray | None:
    return array_of(result, f"scores/{name}/{epoch}")


def _apart(result: Result, values: np.ndarray | None, edges: np.ndarray | None = None, **axes: Any) -> Points:
    """Histograms of both groups, medians, and how often (percent) the poisoned sample of a pair has the larger value.

    edges: of the bins; from 0 to the largest value where they are not given.
    """
    if values is None:
        return []
    if edges is None:
        edges = np.linspace(0.0, float(np.nanmax(values)), BINS + 1)
    poisoned, known = poisoned_in(result, len(values)), np.isfinite(values)
    groups = {"clean": values[known & ~poisoned], "poisoned": values[known & poisoned]}
    rows: Points = []
    for name, numbers in groups.items():
        rows += histogram(numbers, edges, **axes, group=name)
        rows.append(point("median", float(np.median(numbers)) if len(numbers) else np.nan, **axes, group=name))
    return [*rows, point("separation", 100 * separation(groups["poisoned"], groups["clean"]), **axes)]


def panels(cell: Cell, results: Results) -> Points:
    """Figure 7 from the first seed: (a) g's loss after its warm-up, (b) OSS scores at T1, (c) I and (d) f's loss at the
    end."""
    result, args = results[0], results[0].experiment["defense_args"]
    end = int(args["epochs"])
    loss, altruistic = _scores(result, "loss", end), _scores(result, "altruistic_loss", end)
    difference = None if loss is None or altruistic is None else altruistic - loss
    return [
        *_apart(result, _scores(result, "altruistic_loss", 0), LOSS_EDGES, panel="a"),
        *_apart(result, _scores(result, "distance_min", int(args["stage1_end"])), panel="b"),
        *_apart(result, difference, DIFFERENCE_EDGES, panel="c"),
        *_apart(result, loss, LOSS_EDGES, panel="d"),
    ]


def distances(cell: Cell, results: Results) -> Points:
    """Figure 8 from the first seed: OSS scores by length of the warm-up (the usual is 1) and rule of distance.

    The run with the usual T1 shows a quarter and a half of it on the way, the one with twice as much only its end.
    """
    result = results[0]
    end = int(result.experiment["defense_args"]["stage1_end"])
    lengths = {2.0: end} if cell.times else {0.25: end // 4, 0.5: end // 2, 1.0: end}
    rows: Points = []
    for length, epoch in lengths.items():
        for rule in RULES:
            where: dict[str, Any] = {"length": length, "rule": rule, "note": f"{epoch} epochs"}
            rows += _apart(result, _scores(result, f"distance_{rule}", epoch), **where)
    return rows


def votes(cell: Cell, results: Results) -> Points:
    """Figure 9 from the first seed: the class that an epoch of the warm-up votes for, the majority so far, and whether
    this is the target (1 or 0)."""
    truth = float(results[0].experiment["target"])
    rows: Points = [point("truth", truth)]
    for epoch, found in by_epoch(results[:1], "warmup"):
        (row,) = found.values()
        rows += [point(name, float(row[name]), epoch=epoch + 1) for name in ("vote", "target") if name in row]
        if "target" in row:
            rows.append(point("correct", float(row["target"] == truth), epoch=epoch + 1))
    return rows


def every_class(cell: Cell, results: Results) -> Points:
    """Figure 11 from the first seed: OSS scores, each sample judged in the run that takes its label for the target."""
    result = results[0]
    return _apart(result, _scores(result, "distance_min", int(result.experiment["defense_args"]["stage1_end"])))
