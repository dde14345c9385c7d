"""How well a score tells poisoned training samples from clean ones, and which they are."""

from __future__ import annotations

import numpy as np
import pandas as pd

from defenselib.experiments.result import Result


def poisoned_in(result: Result, n: int) -> np.ndarray:
    """bool (n,): which training samples are poisoned (stored as packed bits)."""
    return np.unpackbits(result.arrays["is_poisoned"], count=n).astype(bool)


def separation(poisoned: np.ndarray, clean: np.ndarray) -> float:
    """Share of pairs in which the poisoned sample has the larger value, ties half (the area under the ROC curve)."""
    ranks = pd.Series(np.concatenate([poisoned, clean])).rank().to_numpy()
    count = len(poisoned) * len(clean)
    if count == 0:
        return float("nan")
    return float((ranks[: len(poisoned)].sum() - len(poisoned) * (len(poisoned) + 1) / 2) / count)
