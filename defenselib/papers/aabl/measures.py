"""What A-ABL's figures read from results (Zhao and Wressnegger, AISec 2024, Figures 2 to 11)."""

from __future__ import annotations

from typing import Any

import numpy as np

from defenselib.experiments.measure.separation import poisoned_in, separation
from defenselib.experiments.result import Result
from defenselib.papers.kit.measures import Points, Results, array_of, histogram, point
from defenselib.papers.kit.request import Cell

# Fixed, so that panels and profiles can be laid side by side. SCE: its reverse part ends at 9.21, and 0.1 CE adds 1.6
# where p = 1e-7.
SCE_EDGES = np.linspace(0.0, 11.0, 45)
CE_EDGES = np.linspace(0.0, 16.0, 49)
CE_GRID = np.linspace(0.0, 60.0, 60001)
GROUPS = ("clean", "poisoned")


def resistance(cell: Cell, results: Results, axis: str) -> Points:
    """Figures 3 and 5: percent of poisoned training samples that keep their label under iFGSM, by budget (axis "eps")
    or by number of steps."""
    names = [name for name in results[0].metrics if name.startswith(f"resists/{axis}=")]
    return [
        point(
            "resists",
            *(result.metrics.get(name, np.nan) for result in results),
            **{axis: float(name.rpartition("=")[2])},
        )
        for name in names
    ]


def vulnerability(cell: Cell, results: Results) -> Points:
    """Figure 4 from the first seed: SCE under iFGSM of clean and poisoned samples, and where Otsu cuts."""
    values = array_of(results[0], "scores/vulnerability/0")
    if values is None:
        return []
    cut = results[0].metrics.get("otsu_cut", np.nan)
    below = 100 * float((values <= cut).mean())
    found = _histograms("sce", values, results[0], SCE_EDGES)
    found += [
        point("below_cut", cut - row["reproduced"], panel="sce", group=row["group"])
        for row in found
        if row["metric"] == "median"
    ]
    return [*found, point("cut", cut, panel="sce"), point("below", below, panel="sce")]


def two_losses(cell: Cell, results: Results) -> Points:
    """Figure 9: the same in SCE and in CE."""
    found, values = vulnerability(cell, results), array_of(results[0], "scores/vulnerability/0")
    if values is None:
        return []
    alpha, beta = weights(results[0])
    cut = cross_entropy_of(np.array([results[0].metrics.get("otsu_cut", np.nan)]), alpha, beta)
    found += _histograms("ce", cross_entropy_of(values, alpha, beta), results[0], CE_EDGES)
    return [*found, point("cut", float(cut[0]), panel="ce")]


def outcome(cell: Cell, results: Results) -> Points:
    """Figure 11: SCE of all training samples under the final model, as they are and under iFGSM."""
    found: Points = []
    for panel in ("plain", "ifgsm"):
        values = array_of(results[0], f"perturbed/{panel}")
        if values is not None:
            found += _histograms(panel, values, results[0], SCE_EDGES)
    return found


def naive_losses(cell: Cell, results: Results) -> Points:
    """Figure 8: loss by epoch, plain and under iFGSM (2/255, 5 steps)."""
    return _by_epoch(results, "train", {"plain": "_loss", "ifgsm": "_loss_ifgsm"})


def robust_losses(cell: Cell, results: Results) -> Points:
    """Figure 10: in the last stage ACC, RA and loss by epoch, plain and under PGD (8/255, 10 steps)."""
    found = _by_epoch(results, "adversarial", {"plain": "_loss", "pgd": "_loss_pgd"})
    for row in _history(results[0], "adversarial"):
        found += [point(name, row[name], panel="accuracy", epoch=row["epoch"]) for name in ("acc", "ra")]
    return found


def _by_epoch(results: Results, stage: str, forms: dict[str, str]) -> Points:
    return [
        point("loss", row[group + ending], panel=form, group=group, epoch=row["epoch"])
        for form, ending in forms.items()
        for group in GROUPS
        for row in _history(results[0], stage)
        if group + ending in row
    ]


def _history(result: Result, stage: str) -> list[dict[str, Any]]:
    """Rows of a stage in which losses were followed."""
    return [row for row in result.history if row["stage"] == stage and "clean_loss" in row]


def cross_entropy_of(scores: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    """The CE that belongs to an SCE: SCE = alpha CE + beta 9.21 (1 - exp(-CE)) grows with CE, so it can be read off."""
    return np.interp(scores, alpha * CE_GRID - beta * np.log(1e-4) * -np.expm1(-CE_GRID), CE_GRID)


def weights(result: Result) -> tuple[float, float]:
    """alpha and beta of SCE in an A-ABL run."""
    chosen = result.experiment["defense_args"]
    return float(chosen["sce_alpha"]), float(chosen["sce_beta"])


def _histograms(panel: str, values: np.ndarray, result: Result, edges: np.ndarray) -> Points:
    poisoned = poisoned_in(result, len(values))
    found: Points = []
    for group, part in zip(GROUPS, (~poisoned, poisoned), strict=True):
        if part.any():
            found += histogram(values[part], edges, panel=panel, group=group)
            found.append(point("median", float(np.median(values[part])), panel=panel, group=group))
    if poisoned.any():
        # Low is poison here: the share of pairs in which the clean sample has the larger value.
        found.append(point("separation", 100 * separation(values[~poisoned], values[poisoned]), panel=panel))
        # Between the groups, as a share of all variance: what Otsu's threshold could use of the two labels.
        gap = values[poisoned].mean() - values[~poisoned].mean()
        between = poisoned.mean() * (1 - poisoned.mean()) * gap**2
        share = 100 * between / values.var() if values.var() > 0 else float("nan")
        found.append(point("between", share, panel=panel))
    return found
