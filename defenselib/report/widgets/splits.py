"""Move the threshold of a method's split over the scores of a real run: how pure is the pool, and what does it miss?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from defenselib.experiments.measure import separation as measured
from defenselib.experiments.result import Result
from defenselib.experiments.store import Store
from defenselib.plots import scatter, style
from defenselib.report.html import Html
from defenselib.report.widgets import evidence
from defenselib.report.widgets.client import Client, number, script
from defenselib.report.widgets.scores import SCORES, Scored, has_scores, scored

BINS = 40
STEPS = 160  # places of the slider, beside the method's own
TAIL = 0.995  # where a few samples lie far out, the picture ends here and its last bin holds them


@dataclass(frozen=True)
class Curve:
    """What a pool holds by threshold: pool and poison int (T,): samples in it, poisoned ones in
    it; total and poisoned: all samples, all poisoned ones. Shares are NaN where they have no meaning."""

    pool: NDArray[np.int64]
    poison: NDArray[np.int64]
    total: int
    poisoned: int

    @property
    def precision(self) -> NDArray[np.float64]:
        """Share of the pool that is truly clean."""
        return _ratio(self.pool - self.poison, self.pool)

    @property
    def recall(self) -> NDArray[np.float64]:
        """Share of the clean samples that are in the pool."""
        return _ratio(self.pool - self.poison, np.full_like(self.pool, self.total - self.poisoned))

    @property
    def caught(self) -> NDArray[np.float64]:
        """Share of the poisoned samples that are kept out."""
        return _ratio(self.poisoned - self.poison, np.full_like(self.pool, self.poisoned))


def curve(
    values: NDArray[np.float64], poisoned: NDArray[np.bool_], keeps: str, thresholds: NDArray[np.float64]
) -> Curve:
    """The pool at each threshold: the samples at it and below it ("low"), or at it and above ("high")."""

    def inside(part: NDArray[np.float64]) -> NDArray[np.int64]:
        below = np.searchsorted(np.sort(part), thresholds, side="right" if keeps == "low" else "left")
        return np.asarray(below if keeps == "low" else len(part) - below, dtype=np.int64)

    return Curve(inside(values), inside(values[poisoned]), len(values), int(poisoned.sum()))


def split_threshold(
    defenses: Sequence[str] | None = None, train: str = "", store: Store | None = None
) -> Client | Html:
    """The widget for some defenses (all that have scores), over the best results that the store holds.

    train: the profile at which a method without any result is trained; empty: none is.
    """
    found = evidence.best(list(defenses or SCORES), has_scores, train, store, stopped=True)
    methods = [
        {"name": style.label(name), "settings": [_setting(words, result) for words, result in results.items()]}
        for name, results in found.items()
    ]
    if not methods:
        return Html("<p>No run with scores is in the store.</p>")
    return Client(name="split", _esm=script("threshold.js"), data={"methods": methods})


def _setting(name: str, result: Result) -> dict[str, Any]:
    return {"name": name, "evidence": evidence.words_of(result), "views": [view(one) for one in scored(result)]}


def view(one: Scored) -> dict[str, Any]:
    """All that the script draws of one score: bins, counts, and a row a threshold."""
    low, high = _range(one.values)
    places = np.linspace(low, high, STEPS + 1)
    if one.cut is not None:
        places = np.union1d(places, [min(max(one.cut, low), high)])
    edges = np.linspace(low, high, BINS + 1)
    clipped = np.clip(one.values, low, high)
    found = curve(one.values, one.poisoned, one.score.keeps, places)
    shares = zip(found.precision, found.recall, found.caught, strict=True)
    start = len(places) // 2 if one.cut is None else int(np.searchsorted(places, min(max(one.cut, low), high)))
    return {
        "name": f"{one.score.words}, epoch {one.epoch}",
        "axis": one.score.words,
        "keeps": one.score.keeps,
        "scope": one.score.scope,
        "rule": one.score.rule if one.cut is not None else "",
        "own": start if one.cut is not None else None,
        "start": start,
        "range": [low, high],
        "clean": np.histogram(clipped[~one.poisoned], edges)[0].tolist(),
        "poisoned": np.histogram(clipped[one.poisoned], edges)[0].tolist(),
        "total": found.total,
        "all_poisoned": found.poisoned,
        "rows": [
            [number(place, 6), int(size), int(bad), *(number(share) for share in row)]
            for place, size, bad, row in zip(places, found.pool, found.poison, shares, strict=True)
        ],
    }


def _range(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high, tail = float(values.min()), float(values.max()), float(np.quantile(values, TAIL))
    if high - low > 2 * (tail - low) > 0:
        high = tail
    return low, high if high > low else low + 1.0


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def separations(defenses: Sequence[str] | None = None, train: str = "", store: Store | None = None) -> pd.DataFrame:
    """How well each score tells poison from clean at any threshold: defense, setting, score, epoch, profile, area
    (percent of the pairs of a clean and a poisoned sample that the score puts in the right order)."""
    rows = []
    found = evidence.best(list(defenses or SCORES), has_scores, train, store, stopped=True)
    for defense, results in found.items():
        for words, result in results.items():
            for one in scored(result):
                area = measured.separation(one.values[one.poisoned], one.values[~one.poisoned])
                area = area if one.score.keeps == "low" else 1 - area
                rows.append({"defense": defense, "setting": words, "score": one.score.words, "epoch": one.epoch,
                             "profile": result.profile, "area": 100 * area})  # fmt: skip
    return pd.DataFrame(rows, columns=["defense", "setting", "score", "epoch", "profile", "area"])


def separation(frame: pd.DataFrame, title: str = "") -> Figure:
    """One line a method and score, a mark a run and epoch: the area under the ROC curve; hollow: `smoke`."""
    found = frame.dropna(subset="area").assign(hollow=frame["profile"].isin(evidence.DRAWN))
    return scatter.areas(found, title)
