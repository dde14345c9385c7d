"""What ASD's figures read from results (Gao et al., CVPR 2023)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from defenselib.papers.asd.cells import SPEEDS, STAGES
from defenselib.papers.kit.grid import Cell
from defenselib.papers.kit.measures import histogram, point, poisoned_in, separation

if TYPE_CHECKING:
    from defenselib.experiments.result import Result

Results = tuple["Result", ...]
Rows = list[dict[str, Any]]
# Bin edges are fixed, so that panels, seeds and profiles can be laid side by side. L1 lies in [0, 11]: its reverse
# cross-entropy ends at 9.21, and 0.1 CE adds 1.6 at p = 1e-7.
LOSS_EDGES = np.linspace(0.0, 11.0, 45)
REDUCTION_EDGES = np.linspace(-11.0, 11.0, 45)
PANELS = {"a": "loss", "b": "virtual_loss", "c": "reduction", "d": "final_loss"}
HARD_SHARE = 0.1  # of the clean samples: those of largest loss, 5,000 of 50,000 in ASD Sec. 5.2
LAST = 30  # Figure 5b: epochs, at most a quarter of a run


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


def losses(cell: Cell, results: Results) -> Rows:
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


def final_losses(cell: Cell, results: Results) -> Rows:
    """Figure 1 from the first seed: L1 under the final model (of ABL without augmentation); counts per bin, and how
    often a poisoned sample has the larger loss, in percent of pairs."""
    arrays = results[0].arrays
    names = [key for key in arrays if key.startswith("scores/final_loss/") or key == "perturbed/plain"]
    if not names or "is_poisoned" not in arrays:
        return []
    values = np.asarray(arrays[names[0]], dtype=np.float64)
    poisoned = poisoned_in(results[0], len(values))
    rows = [point("", "separation", 100 * separation(values[poisoned], values[~poisoned]))]
    for group, member in (("clean", ~poisoned), ("poisoned", poisoned)):
        rows += histogram(f"group={group}", values[member], LOSS_EDGES)
    return rows


def by_epoch(results: Results, stage: str) -> list[tuple[int, list[dict[str, Any]]]]:
    """Every epoch of a stage of epochs with the rows of the seeds that have it."""
    rows = [row for result in results for row in result.history if row["stage"] == stage]
    return [(epoch, [row for row in rows if row["epoch"] == epoch]) for epoch in sorted({row["epoch"] for row in rows})]


def accuracy(cell: Cell, results: Results) -> Rows:
    """Figure 4: ACC after every epoch, mean over seeds; ASD's rows carry their stage (1, 2, 3)."""
    asd = cell.defense == "asd"
    stages = stage_ends(results[0])[:2] if asd else ()
    rows = []
    for epoch, found in by_epoch(results, "asd" if asd else "train"):
        stage = f";stage={1 + sum(epoch >= end for end in stages)}" if asd else ""
        rows.append(point(f"epoch={epoch}{stage}", "acc", *(float(row["acc"]) for row in found)))
    return rows


def curves(where: str, results: Results, stage: str = "asd") -> Rows:
    """ACC, ASR and the poison in the clean pool (percent of it) after every epoch."""
    rows = []
    for epoch, found in by_epoch(results, stage):
        values = {name: [float(row[name]) for row in found if name in row] for name in ("acc", "asr")}
        sized = [row for row in found if row.get("clean_size")]
        values["poison"] = [100 * row["clean_poisoned"] / row["clean_size"] for row in sized]
        rows += [point(f"{where}epoch={epoch}", name, *value) for name, value in values.items() if value]
    return rows


def combined(cell: Cell, results: Results) -> Rows:
    """Figure 5: (a) DBD's last stage with its own split and with the meta-split; (b) what is in the clean pool of DBD
    and ASD in the last epochs: hard clean samples, poisoned samples, and these in percent of the pool."""
    stage = "asd" if cell.defense == "asd" else "dbd"
    rows = [] if cell.defense == "asd" else curves("panel=a;", results, stage)
    if cell.defense == "dbd-meta-split":
        return rows
    found = by_epoch(results, stage)
    last = found[-max(1, min(LAST, len(found) // 4)) :]
    for left, (_, entries) in zip(range(len(last) - 1, -1, -1), last, strict=True):
        sized = [row for row in entries if row.get("clean_size") and "hard_clean" in row]
        where = f"panel=b;left={left}"
        rows += [
            point(where, "hard", *(float(row["hard_clean"]) for row in sized)),
            point(where, "poisoned", *(float(row["clean_poisoned"]) for row in sized)),
            point(where, "poison", *(100 * row["clean_poisoned"] / row["clean_size"] for row in sized)),
        ]
    return rows


def ablation(cell: Cell, results: Results) -> Rows:
    """Figure 6."""
    left_out = next(name for name, times in STAGES.items() if dict(times) == dict(cell.times))
    return curves(f"without={left_out};", results)


def speeds(cell: Cell, results: Results) -> Rows:
    """Figure 7: with the pair (t, n) as every and growth, and the epoch at which stage 1 ends."""
    speed = cell.times.get("growth_per_class", SPEEDS[0])
    chosen = results[0].experiment["defense_args"]
    pair = f"every={chosen['growth_every']};growth={chosen['growth_per_class']}"
    return curves(f"speed={speed:g};{pair};end={stage_ends(results[0])[0]};", results)
