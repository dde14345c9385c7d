"""The scores by which each method splits a training set, and where the method itself cuts.

A new method that reports scores (`context.observe("scores", ...)`) needs one entry here to appear in the widgets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from defenselib import defenses
from defenselib.defenses import bsd_split
from defenselib.experiments.measure.separation import poisoned_in
from defenselib.experiments.result import Result

Values = NDArray[np.float64]
# From a result, the epoch of the score and its values to the threshold; None where the method does not cut there.
Cut = Callable[[Result, int, Values], float | None]


@dataclass(frozen=True)
class Score:
    """A score as readers meet it.

    array: its name in the results (`scores/ARRAY/EPOCH`), or `indicator`, BSD's difference of two. keeps: which side is
    believed clean, "low" or "high". cut: the method's own threshold; the pool holds the samples on it. rule: that
    cut in words. scope: which samples have the score.
    """

    array: str
    words: str
    keeps: str
    rule: str = ""
    cut: Cut = lambda result, epoch, values: None
    scope: str = ""

    def moments(self, result: Result) -> dict[int, Values]:
        """The score at every epoch that the result kept, float64 (N,); NaN for samples without one."""
        if self.array != "indicator":
            return _stored(result, self.array)
        main, altruistic = _stored(result, "loss"), _stored(result, "altruistic_loss")
        return {epoch: altruistic[epoch] - main[epoch] for epoch in main if epoch in altruistic}


@dataclass(frozen=True)
class Scored:
    """A score at one epoch, with the truth: values (n,), poisoned bool (n,), the method's cut or None."""

    score: Score
    epoch: int
    values: Values
    poisoned: NDArray[np.bool_]
    cut: float | None


def scored(result: Result) -> list[Scored]:
    """Everything that a result kept and that is known by a name here, in the order of `SCORES`, then by epoch."""
    found = []
    for score in SCORES.get(result.experiment["defense"], ()):
        for epoch, values in sorted(score.moments(result).items()):
            known = np.isfinite(values)
            poisoned = poisoned_in(result, len(values))[known]
            if known.any():
                values = values[known]
                found.append(Scored(score, epoch, values, poisoned, score.cut(result, epoch, values)))
    return found


def has_scores(result: Result) -> bool:
    """Whether there is something to move a threshold over."""
    names = {score.array for score in SCORES.get(result.experiment["defense"], ())}
    names |= {"loss"} if "indicator" in names else set()
    return "is_poisoned" in result.arrays and any(key.split("/")[1] in names for key in result.arrays if "/" in key)


def _stored(result: Result, name: str) -> dict[int, Values]:
    keys = {key: key.rpartition("/")[2] for key in result.arrays if key.startswith(f"scores/{name}/")}
    return {int(epoch): np.asarray(result.arrays[key], dtype=np.float64) for key, epoch in keys.items()}


def nth(values: Values, count: int, keeps: str) -> float:
    """The threshold whose pool holds the `count` lowest (or highest) samples."""
    ordered = np.sort(values) if keeps == "low" else np.sort(values)[::-1]
    return float(ordered[min(max(count, 1), len(ordered)) - 1])


def _share(name: str, keeps: str) -> Cut:
    """The share of the samples that a hyper-parameter of the method names."""
    return lambda result, epoch, values: nth(values, round(_args(result)[name] * len(values)), keeps)


def _args(result: Result) -> Mapping[str, float]:
    chosen: Mapping[str, float] = result.experiment["defense_args"]
    return chosen


def _asd_loss(result: Result, epoch: int, values: Values) -> float | None:
    """The second stage alone cuts by the loss of all samples: before it goes by class, after it by the reduction."""
    if not _args(result)["stage1_end"] <= epoch < _args(result)["stage2_end"]:
        return None
    return nth(values, int(_args(result)["alpha"] * len(values)), "low")


def _asd_reduction(result: Result, epoch: int, values: Values) -> float:
    return nth(values, int(_args(result)["gamma"] * len(values)), "low")


def _bsd_altruistic(result: Result, epoch: int, values: Values) -> float | None:
    """ALS of Equation 7 looks at the end of the warm-up of f."""
    args = _args(result)
    return nth(values, round(args["alpha"] * len(values)), "high") if epoch == args["stage1_end"] else None


def _bsd_indicator(result: Result, epoch: int, values: Values) -> float:
    args = _args(result)
    start, end = int(args["stage1_end"] + args["pool_epochs"]), int(args["stage2_end"])
    share = bsd_split.clean_ratio(epoch, start, end, args["beta"], args["alpha"])
    return nth(values, round(share * len(values)), "high")


def _vab_threshold(result: Result, epoch: int, values: Values) -> float | None:
    args = _args(result)
    if args["warmup"] == "automatic":
        return result.metrics.get("threshold")
    rule = {name: args[name] for name in ("threshold", "warmup_epochs")}
    return float(defenses.create("vab", **rule).threshold_of(epoch))  # type: ignore[attr-defined]


def _above_cut(result: Result, epoch: int, values: Values) -> float | None:
    """A-ABL keeps what lies above its cut, so that the first sample above is the last one in the pool."""
    kept = values[values > result.metrics.get("cut", np.inf)]
    return float(kept.min()) if len(kept) else None


def _not_isolated(result: Result, epoch: int, values: Values) -> float:
    return nth(values, len(values) - max(1, int(len(values) * _args(result)["isolated_share"])), "high")


FCT = tuple(
    Score(array, words, "low", "the share of lowest values", _share("clean_share", "low"))
    for array, words in (("fct", "FCT after the fine-tuning"), ("fct_before", "FCT before the fine-tuning"))
)
SCORES: dict[str, tuple[Score, ...]] = {
    "asd": (
        Score("loss", "loss (class-agnostic split)", "low", "the half of least loss", _asd_loss),
        Score("reduction", "fall of the loss (meta-split)", "low", "the half that falls least", _asd_reduction),
        Score("final_loss", "loss after training", "low"),
    ),
    "bsd": (
        Score(
            "distance_min",
            "OSS: distance to the nearest other class",
            "high",
            "the most distant share",
            _share("beta", "high"),
            "samples with the suspected target's label; all others stay in the pool",
        ),
        Score("altruistic_loss", "ALS: loss of the altruistic model", "high", "the share of largest loss",
              _bsd_altruistic),
        Score("indicator", "difference of the two models' losses", "high", "the share of largest difference",
              _bsd_indicator),
    ),
    "vab": (Score("entropy", "entropy of the Victim", "high", "what lies above its threshold", _vab_threshold),),
    "dst": FCT,
    "dbr": FCT,
    "aabl": (Score("vulnerability", "SCE under perturbation", "high", "what lies above Otsu's cut, within its bounds",
                   _above_cut),),
    "abl": (Score("isolation_loss", "loss under gradient ascent", "high", "all but the isolated", _not_isolated),),
    "dbd": (Score("loss", "loss", "low", "the half of least loss", _share("epsilon", "low")),),
    "spectral": (Score("spectral_signature", "spectral signature", "low"),),
    "cbd": (Score("backdoor_loss", "loss of the backdoored model", "high"),),
}  # fmt: skip
