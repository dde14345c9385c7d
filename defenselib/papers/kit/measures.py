"""What figures read from results: points and histograms."""

from __future__ import annotations

from typing import Any

import numpy as np

from defenselib.papers.kit.frame import entry


def point(metric: str, *values: float, **axes: Any) -> dict[str, Any]:
    """One number of a figure, the mean of `values` where there are several, and where it stands on the axes."""
    return {**axes, "metric": metric, **entry(values)}


def histogram(values: np.ndarray, edges: np.ndarray, **axes: Any) -> list[dict[str, Any]]:
    """A point with metric `count` a bin, with the axes `low` and `high`; values beyond the edges count in the outermost
    bins, so that the counts add up to the samples."""
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    bins = zip(edges[:-1], edges[1:], counts, strict=True)
    return [point("count", float(n), **axes, low=float(low), high=float(high)) for low, high, n in bins]
