"""What V&B's figures and text read from results (Zhu et al., ICCV 2023, Fig. 1, 3, 4, 5, 6; Table 7)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from defenselib.defenses.vab_victim import Mixture, fit_mixture
from defenselib.experiments.measure.separation import poisoned_in, separation
from defenselib.experiments.result import Result
from defenselib.papers.kit.frame import Row
from defenselib.papers.kit.measures import Points, Results, histogram, point
from defenselib.papers.kit.request import Cell
from defenselib.papers.kit.table import metric_of

BINS = np.linspace(0.0, 1.0, 51)  # Fig. 4
DROP = 0.5  # points of BA that count as a drop (Fig. 3); the paper gives none


def after_stage(row: Row, result: Result) -> float:
    """Table 7: the last epoch of stage 2, on the test images of the history, or the end; of an undefended model, beside
    which they stand, always the end."""
    if row["after_stage"] == 3 or result.experiment["defense"] == "none":
        return metric_of(row, result)
    values = [float(one[str(row["metric"])]) for one in result.history if one["stage"] == "clean"]
    return values[-1] if values else float("nan")


def rounds(result: Result, name: str = "entropy") -> dict[int, np.ndarray]:
    """Entropies (N,) of a warm-up after each of the Victim's epochs, from 1; `raw_entropy` are those in nats."""
    found = {int(key.rpartition("/")[2]): key for key in result.arrays if key.startswith(f"scores/{name}/")}
    last = sum(row["stage"] == "warmup" for row in result.history)
    return {epoch: result.arrays[found[epoch]].astype(np.float64) for epoch in sorted(found) if epoch <= last}


def entropies(cell: Cell, results: Results) -> Points:
    """Figure 1: mean entropy of benign and poisoned samples in nats after each epoch of the warm-up, how often a benign
    sample has more of it than a poisoned one, and at the end the share of the poison that is suspicious."""
    rows = []
    for epoch in rounds(results[0], "raw_entropy"):
        groups = [_grouped(rounds(result, "raw_entropy")[epoch], result) for result in results]
        for group in ("benign", "poisoned"):
            rows.append(point("entropy", *(one[group].mean() for one in groups), epoch=epoch, group=group))
        apart = [100 * separation(one["benign"], one["poisoned"]) for one in groups]
        rows.append(point("separation", *apart, epoch=epoch))
    if not rows:
        return []
    caught = [100 * (1 - result.history[-1]["clean_poisoned"] / result.poisoned_count) for result in results]
    return [*rows, point("caught", *caught)]


def _grouped(values: np.ndarray, result: Result) -> dict[str, np.ndarray]:
    poisoned = poisoned_in(result, len(values))
    return {"benign": values[~poisoned], "poisoned": values[poisoned]}


def mixture_of(result: Result) -> Mixture:
    """The mixture of Figure 4, fitted to the normalised entropies at the end of the warm-up."""
    return fit_mixture(torch.from_numpy(list(rounds(result).values())[-1]), seed=0)


def densities(cell: Cell, results: Results) -> Points:
    """Figure 4 from the first seed: counts of all samples and of the poisoned ones by normalised entropy, mean,
    deviation and weight of both components, mu_1 + sigma_1."""
    values = list(rounds(results[0]).values())
    if not values:
        return []
    rows = histogram(values[-1], BINS, group="all")
    rows += histogram(_grouped(values[-1], results[0])["poisoned"], BINS, group="poisoned")
    found = mixture_of(results[0])
    for place, name in enumerate(("suspicious", "credible")):
        rows += [point(metric, getattr(found, metric)[place], component=name) for metric in ("mean", "sd", "weight")]
    reach = found.mean[0] + 3 * found.sd[0]
    return [*rows, point("threshold", found.below(1.0)), point("apart", found.mean[1] - reach)]


def looks(cell: Cell, results: Results) -> Points:
    """Figure 5 in numbers: how far the poisoned images are from the clean ones (dB, grey levels)."""
    found = results[0].metrics
    return [point(name, found[f"stored_{name}"]) for name in ("psnr", "linf") if f"stored_{name}" in found]


def first_drop(values: Sequence[float], places: Sequence[float]) -> float:
    """The first place whose value lies more than `DROP` points below the first one; NaN if there is none."""
    return next((at for at, value in zip(places, values, strict=True) if value < values[0] - DROP), float("nan"))


def highest(values: Sequence[float], places: Sequence[float]) -> float:
    return places[int(np.argmax(values))]


def deepest_dip(values: Sequence[float], places: Sequence[float]) -> float:
    """The inner place whose value lies furthest below the mean of its neighbours."""
    depth = [(values[i - 1] + values[i + 1]) / 2 - values[i] for i in range(1, len(values) - 1)]
    return places[1 + int(np.argmax(depth))]
