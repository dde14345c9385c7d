"""What ASD's figures read from results (Gao et al., CVPR 2023)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from defenselib.experiments.measure.separation import poisoned_in, separation
from defenselib.experiments.result import Result
from defenselib.papers.kit.measures import Epochs, Points, Results, array_of, by_epoch, histogram, point, seeded
from defenselib.papers.kit.request import Cell

# Bin edges are fixed, so that panels, seeds and profiles can be laid side by side. L1 lies in [0, 11]: its reverse
# cross-entropy ends at 9.21, and 0.1 CE adds 1.6 at p = 1e-7.
LOSS_EDGES = np.linspace(0.0, 11.0, 45)
REDUCTION_EDGES = np.linspace(-11.0, 11.0, 45)
PANELS = {"a": "loss", "b": "virtual_loss", "c": "reduction", "d": "final_loss"}
HARD_SHARE = 0.1  # of the clean samples: those of largest loss, 5,000 of 50,000 in ASD Sec. 5.2
LAST = 30  # Figure 5b: epochs, at most a quarter of a run
# What a row of the history says of its epoch: percent, samples, percent of the clean pool.
NUMBERS: Mapping[str, Callable[[Mapping[str, Any]], float | None]] = {
    "acc": lambda row: row.get("acc"),
    "asr": lambda row: row.get("asr"),
    "hard": lambda row: row.get("hard_clean"),
    "poisoned": lambda row: row.get("clean_poisoned"),
    "poison": lambda row: 100 * row["clean_poisoned"] / row["clean_size"] if row.get("clean_size") else None,
}


def stage_ends(result: Result) -> tuple[int, int, int]:
    """(T1, T2, T3) of an ASD run."""
    chosen = result.experiment["defense_args"]
    return int(chosen["stage1_end"]), int(chosen["stage2_end"]), int(chosen["epochs"])


def curves(epochs: Epochs, metrics: Sequence[str], axes: Callable[[int], Mapping[str, Any]]) -> Points:
    """A row for each epoch and metric that some seed has; axes: where an epoch stands."""
    rows = []
    for epoch, found in epochs:
        for metric in metrics:
            read = {seed: NUMBERS[metric](row) for seed, row in found.items()}
            numbers = {seed: float(number) for seed, number in read.items() if number is not None}
            if numbers:
                rows.append(seeded(metric, numbers, **axes(epoch)))
    return rows


def staged(results: Results) -> Callable[[int], Mapping[str, Any]]:
    """The axes of ASD's epochs: epoch, and stage 1, 2 or 3."""
    ends = stage_ends(results[0])[:2]
    return lambda epoch: {"epoch": epoch, "stage": 1 + sum(epoch >= end for end in ends)}


def accuracy(cell: Cell, results: Results) -> Points:
    """Figure 4: ACC after every epoch; ASD's rows carry their stage."""
    if cell.defense == "asd":
        return curves(by_epoch(results, "asd"), ("acc",), staged(results))
    return curves(by_epoch(results, "train"), ("acc",), lambda epoch: {"epoch": epoch})


def combined(cell: Cell, results: Results) -> Points:
    """Figure 5: (a) DBD's last stage with its own split and with the meta-split; (b) what is in the clean pool of DBD
    and ASD in the last epochs: hard clean samples, poisoned samples, and these in percent of the pool."""
    epochs = by_epoch(results, "asd" if cell.defense == "asd" else "dbd")
    rows = []
    if cell.defense != "asd":
        rows += curves(epochs, ("acc", "asr", "poison"), lambda epoch: {"panel": "a", "epoch": epoch})
    if cell.defense == "dbd-meta-split":
        return rows
    last = epochs[-max(1, min(LAST, len(epochs) // 4)) :]
    return rows + curves(
        last, ("hard", "poisoned", "poison"), lambda epoch: {"panel": "b", "left": last[-1][0] - epoch}
    )


def ablation(cell: Cell, results: Results) -> Points:
    """Figure 6: ACC, ASR and poison in the clean pool after every epoch."""
    return curves(by_epoch(results, "asd"), ("acc", "asr", "poison"), lambda epoch: {"epoch": epoch})


def speeds(cell: Cell, results: Results) -> Points:
    """Figure 7: the same by stage; the variant says t and n in the paper's letters, which differ between profiles."""
    chosen = results[0].experiment["defense_args"]
    words = f"t = {chosen['growth_every']}, n = {chosen['growth_per_class']}"
    rows = curves(by_epoch(results, "asd"), ("acc", "asr", "poison"), staged(results))
    return [{**row, "variant": words} for row in rows]


def losses(cell: Cell, results: Results) -> Points:
    """Figure 3 from the first seed: counts per bin, medians and separation of clean, hard clean and poisoned."""
    values = _scores(results[0])
    if not values:
        return []
    poisoned = poisoned_in(results[0], len(values["a"]))
    threshold = np.quantile(values["a"][~poisoned], 1 - HARD_SHARE)
    groups = {"clean": ~poisoned, "poisoned": poisoned, "hard": ~poisoned & (values["a"] >= threshold)}
    rows = []
    for panel, value in values.items():
        for group, member in groups.items():
            middle = float(np.median(value[member])) if member.any() else float("nan")
            rows.append(point("median", middle, panel=panel, group=group))
            if group != "hard":
                edges = REDUCTION_EDGES if panel == "c" else LOSS_EDGES
                rows += histogram(value[member], edges, panel=panel, group=group)
        for group in ("clean", "hard"):
            share = 100 * separation(value[poisoned], value[groups[group]])
            rows.append(point("separation", share, panel=panel, group=group))
    return rows


def _scores(result: Result) -> dict[str, np.ndarray]:
    """The four quantities of Figure 3, float64 (N,) each: L1 under f at T2, under f', their difference, f at T3; none
    if the run had no stage 3."""
    _, start, end = stage_ends(result)
    keys = {panel: f"scores/{name}/{end if name == 'final_loss' else start}" for panel, name in PANELS.items()}
    found = {panel: values for panel, key in keys.items() if (values := array_of(result, key)) is not None}
    return found if len(found) == len(keys) else {}


def final_losses(cell: Cell, results: Results) -> Points:
    """Figure 1 from the first seed: L1 under the final model (of ABL without augmentation); counts per bin, and how
    often a poisoned sample has the larger loss, in percent of pairs."""
    arrays = results[0].arrays
    names = [key for key in arrays if key.startswith("scores/final_loss/") or key == "perturbed/plain"]
    if not names or "is_poisoned" not in arrays:
        return []
    values = np.asarray(arrays[names[0]], dtype=np.float64)
    poisoned = poisoned_in(results[0], len(values))
    rows = [point("separation", 100 * separation(values[poisoned], values[~poisoned]))]
    for group, member in (("clean", ~poisoned), ("poisoned", poisoned)):
        rows += histogram(values[member], LOSS_EDGES, group=group)
    return rows
