"""What the figures of D-ST and D-BR read from results, and the numbers of Table 7 and of the running text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import version

import numpy as np
import pandas as pd

from defenselib import models
from defenselib.experiments.measure.separation import poisoned_in, separation
from defenselib.experiments.result import Result
from defenselib.papers.kit.frame import Row
from defenselib.papers.kit.kept import kept_array
from defenselib.papers.kit.measures import Points, Results, array_of, at_end, histogram, point
from defenselib.papers.kit.request import Cell
from defenselib.papers.kit.table import metric_of

BINS = 40
SHOWN = 0.995  # the share of samples within the edges of a histogram of FCT; the others are in its last bin
POINTS = 600  # of a t-SNE
MOMENTS = {"before": "fct_before", "after": "fct"}  # the fine-tuning: the scores of that moment
VERSIONS = ("original", "transformed")


def scores_of(result: Result, name: str) -> np.ndarray | None:
    """The scores called so, float64 (N,), those of the latest epoch; None if the run has none."""
    keys = [key for key in result.arrays if key.startswith(f"scores/{name}/")]
    return array_of(result, max(keys)) if keys else None


def feature_size(result: Result) -> float:
    """Entries of a feature: what the linear layer of the result's network takes."""
    import torch

    with torch.device("meta"):
        model = models.build_model(str(result.experiment["model"]), width=int(result.experiment["width"]))
    return float(model.head.in_features)


def architecture_value(row: Row, result: Result) -> float:
    """A number of Table 7."""
    return feature_size(result) if row["metric"] == "count" else metric_of(row, result)


def text_value(row: Row, result: Result) -> float:
    """A number of the running text."""
    if row["metric"] == "d_intra":
        return result.metrics.get(f"d_intra/{'implanted' if row['finetune'] == 'none' else 'tuned'}", np.nan)
    if row["split"] == "train":
        fitted = scores_of(result, "fitted")
        return np.nan if fitted is None else float(100 * fitted[poisoned_in(result, len(fitted))].mean())
    if pd.notna(row["tau"]):
        found = [value for key, value in result.metrics.items() if key.startswith(f"{row['metric']}/")]
        return float(np.median(found)) if found else np.nan
    size = result.experiment["train_size"]
    counted = {
        "poisoned-samples-in-clean-set": result.metrics.get("clean_poisoned", np.nan),
        "separated-poisoned-set": result.metrics.get("poison_size", np.nan),
        "separated-clean-set": result.metrics.get("clean_size", np.nan),
        "poisoned-samples": float(result.poisoned_count),
        "training-samples": float(size),
        "training-samples-per-class": size / max(1, len(result.per_class)),
    }
    return counted[row["what"]] if row["what"] in counted else metric_of(row, result)


# ACC and ASR at the end, and how pure the split was (Figs. 4, 6, 13).
final_rows = at_end("acc", "asr", "clean_precision", "poison_precision")


def step_rows(cell: Cell, results: Results) -> Points:
    """Fig. 5: ACC and ASR of the backdoored model (epoch 0) and after every round, mean over seeds."""
    histories = [result.history_frame() for result in results]
    histories = [frame[frame["stage"] == "removal"].set_index("epoch") for frame in histories]
    return [
        point(name, *(float(frame[name].loc[epoch]) for frame in histories), epoch=int(epoch))
        for epoch in sorted(histories[0].index)
        for name in ("acc", "asr")
    ]


def fct_rows(cell: Cell, results: Results, moments: Iterable[str] = MOMENTS) -> Points:
    """Figs. 3 and 8, from the first seed: counts per bin, medians, and how often poison scores higher (percent)."""
    rows: Points = []
    for moment in moments:
        values = scores_of(results[0], MOMENTS[moment])
        if values is None:
            continue
        poisoned = poisoned_in(results[0], len(values))
        edges = np.linspace(0.0, max(float(np.quantile(values, SHOWN)), 1e-6), BINS + 1)
        for group, member in _groups(poisoned):
            rows.append(point("median", float(np.median(values[member])), moment=moment, group=group))
            rows += histogram(values[member], edges, moment=moment, group=group)
        rows.append(point("separation", 100 * separation(values[poisoned], values[~poisoned]), moment=moment))
    return rows


def _groups(poisoned: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Clean and poisoned samples, where there are any."""
    return ((name, some) for name, some in (("clean", ~poisoned), ("poisoned", poisoned)) if some.any())


def pair_rows(cell: Cell, results: Results) -> Points:
    """Figs. 11 and 12: both precisions for every ordered pair of transformations, mean over seeds."""
    rows = []
    for key in results[0].metrics:
        name, _, pair = key.partition("/")
        if pair and name in ("clean_precision", "poison_precision"):
            first, _, second = pair.partition("+")
            values = [result.metrics.get(key, np.nan) for result in results]
            rows.append(point(name, *values, first=first, second=second))
    return rows


def features_of(result: Result) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Features as they are and transformed (n, 2, C), labels (n,), poison flags (n,); None if the run has none."""
    if "fitted/features" not in result.arrays:
        return None
    index = np.asarray(result.arrays["fitted/feature_index"])
    labels = np.asarray(result.arrays["fitted/feature_label"])
    poisoned = poisoned_in(result, int(result.experiment["train_size"]))[index]
    return np.asarray(result.arrays["fitted/features"], dtype=np.float32), labels, poisoned


def gathered(values: np.ndarray, poisoned: np.ndarray) -> float:
    """Percent of the poisoned samples whose nearest neighbour is poisoned as well; NaN for fewer than two.

    values: (n, C). 100: they are a cluster of their own; their share of the samples: they lie anywhere.
    """
    if poisoned.sum() < 2:
        return float("nan")
    mine = values[poisoned].astype(np.float64)
    squares = np.square(mine).sum(1)[:, None] + np.square(values).sum(1)[None] - 2 * mine @ values.T
    squares[np.arange(len(mine)), np.flatnonzero(poisoned)] = np.inf
    return float(100 * poisoned[squares.argmin(1)].mean())


def embedded(values: np.ndarray) -> np.ndarray:
    """t-SNE of (n, C), (n, 2), the same at every call on one machine."""
    # It takes seconds, and pages that only count what is there ask for it as well.
    return kept_array(f"t-sne scikit-learn {version('scikit-learn')}", values, _tsne)


def _tsne(values: np.ndarray) -> np.ndarray:
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(values) - 1) / 3)
    return np.asarray(TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(values))


def cluster_rows(cell: Cell, results: Results) -> Points:
    """Fig. 7: t-SNE of the backdoored model's features; x and y of every sample with its label and flag, and how far
    the poisoned ones are a cluster."""
    found = features_of(results[0])
    if found is None:
        return []
    values, labels, poisoned = (part[:: max(1, len(found[0]) // POINTS)] for part in found)
    rows = _placed(embedded(values[:, 0]), labels, poisoned, "original")
    return [*rows, point("gathered", gathered(found[0][:, 0], found[2]), version="original")]


def moved_rows(cell: Cell, results: Results) -> Points:
    """Fig. 1: t-SNE of original and transformed samples of three labels together; of all samples the median squared
    distance between the two versions, how often a poisoned one moves further (percent), and how far the poisoned ones
    are a cluster."""
    found = features_of(results[0])
    if found is None:
        return []
    values, labels, poisoned = found
    target = int(pd.Series(labels[poisoned]).mode().iloc[0]) if poisoned.any() else 0
    others = [label for label in np.unique(labels) if label != target][:2]
    chosen = np.isin(labels, [target, *others])
    moved = np.square(values[:, 0] - values[:, 1]).sum(1)
    rows = [point("median", float(np.median(moved[member])), group=group) for group, member in _groups(poisoned)]
    both = embedded(np.concatenate([values[chosen, 0], values[chosen, 1]]))
    for name, part in zip(VERSIONS, np.split(both, 2), strict=True):
        rows += _placed(part, labels[chosen], poisoned[chosen], name)
    rows.append(point("separation", 100 * separation(moved[poisoned], moved[~poisoned])))
    rows += [point("gathered", gathered(values[:, i], poisoned), version=name) for i, name in enumerate(VERSIONS)]
    return rows


def _placed(places: np.ndarray, labels: np.ndarray, poisoned: np.ndarray, version: str) -> Points:
    return [
        point(axis, float(value), sample=number, version=version, label=int(label), group=str(group))
        for number, (place, label, group) in enumerate(
            zip(places, labels, np.where(poisoned, "poisoned", "clean"), strict=True)
        )
        for axis, value in zip("xy", place, strict=True)
    ]
