"""What figures read from results: points and histograms, a history epoch by epoch, arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from defenselib.experiments.result import Result
from defenselib.papers.kit.frame import entry, seed_of
from defenselib.papers.kit.request import Cell
from defenselib.papers.kit.table import number_of

Results = tuple[Result, ...]
Points = list[dict[str, Any]]
Epochs = list[tuple[int, dict[int, dict[str, Any]]]]  # an epoch, and its row of the history by seed


def point(metric: str, *values: float, **axes: Any) -> dict[str, Any]:
    """One number of a figure, the mean of `values` where there are several, and where it stands on the axes."""
    return {**axes, "metric": metric, **entry(values)}


def seeded(metric: str, values: Mapping[int, float], **axes: Any) -> dict[str, Any]:
    """A point that keeps the number of each seed, so that two of them are compared seed by seed."""
    return {**axes, "metric": metric, **entry(list(values.values()), seeds=list(values))}


def at_end(*metrics: str) -> Callable[[Cell, Results], Points]:
    """Measures these numbers of the final model, each the mean over the seeds that have it."""
    return lambda cell, results: [point(name, *(number_of(one, name) for one in results)) for name in metrics]


def by_epoch(results: Results, stage: str) -> Epochs:
    """Every epoch of a stage of epochs, in order."""
    found: dict[int, dict[int, dict[str, Any]]] = {}
    for result in results:
        for row in result.history:
            if row["stage"] == stage:
                found.setdefault(row["epoch"], {})[seed_of(result)] = row
    return sorted(found.items())


def array_of(result: Result, name: str) -> np.ndarray | None:
    """An array of a result, float64; None where it has none of that name."""
    found = result.arrays.get(name)
    return None if found is None else np.asarray(found, dtype=np.float64)


def histogram(values: np.ndarray, edges: np.ndarray, **axes: Any) -> Points:
    """A point with metric `count` a bin, with the axes `low` and `high`; values beyond the edges count in the outermost
    bins, so that the counts add up to the samples."""
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    bins = zip(edges[:-1], edges[1:], counts, strict=True)
    return [point("count", float(n), **axes, low=float(low), high=float(high)) for low, high, n in bins]
