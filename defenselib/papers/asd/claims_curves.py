"""What ASD's authors say about what happens on the way, as checks on the frames of Figures 1, 5, 6 and 7
(Gao et al., CVPR 2023)."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from defenselib.papers.asd.cells import ATTACKS, SPEEDS
from defenselib.papers.asd.claims import Check, listed
from defenselib.papers.bsd.cells import settings
from defenselib.papers.kit.claims import Claim, Missing, Numbers
from defenselib.papers.kit.verdict import ACC_MARGIN, ASR_HIGH, ASR_LOW, POISON_LEFT

USUAL, FASTEST = f"{SPEEDS[0]:g}", f"{SPEEDS[-1]:g}"


def points(numbers: Numbers, **where: str) -> pd.DataFrame:
    """The numbers with the words of their variants as columns (without, speed, panel, epoch, ...); only those in which
    every named column has the given value."""
    said = pd.DataFrame([settings(variant) for variant in numbers.rows["variant"]], index=numbers.rows.index)
    found = numbers.rows.join(said)
    for column, value in where.items():
        found = found[found[column] == value] if column in found else found.iloc[:0]
    if found.empty:
        raise Missing("needs " + ", ".join(f"{column} {value}" for column, value in where.items()))
    return found.assign(epoch=pd.to_numeric(found["epoch"])) if "epoch" in found else found


def last(found: pd.DataFrame) -> float:
    """The number of the last epoch."""
    return float(found.sort_values("epoch")["reproduced"].iloc[-1])


def best_apart(numbers: Numbers) -> tuple[bool, str]:
    found = {name: numbers.one(defense=name, metric="separation") for name in ("abl", "dbd", "asd")}
    return found["asd"] == max(found.values()), f"poisoned above clean in percent of pairs: {listed(found)}"


def meta_split_is_faster(numbers: Numbers) -> tuple[bool, str]:
    usual, short = (
        {metric: points(numbers, panel="a", defense=name, metric=metric) for metric in ("acc", "asr")}
        for name in ("dbd", "dbd-meta-split")
    )
    epochs = len(usual["acc"]), len(short["acc"])
    drop, left = last(usual["acc"]) - last(short["acc"]), last(short["asr"])
    words = f"{epochs[1]} epochs instead of {epochs[0]}: ACC {last(short['acc']):.1f} against {last(usual['acc']):.1f}"
    return epochs[1] < epochs[0] and drop <= ACC_MARGIN and left <= ASR_LOW, f"{words}, ASR {left:.1f}"


def in_the_pool(numbers: Numbers, metric: str) -> dict[str, float]:
    """Mean over the last epochs, by defense (Fig. 5b)."""
    return {
        name: float(points(numbers, panel="b", defense=name, metric=metric)["reproduced"].mean())
        for name in ("dbd", "asd")
    }


def more_hard(numbers: Numbers) -> tuple[bool, str]:
    found = in_the_pool(numbers, "hard")
    return found["asd"] > found["dbd"], f"hard clean samples in the pool, mean: {listed(found)}"


def as_little_poison(numbers: Numbers) -> tuple[bool, str]:
    found = in_the_pool(numbers, "poison")
    return max(found.values()) <= POISON_LEFT, f"poison in percent of the pool, mean: {listed(found)}"


Ends = dict[str, float]  # acc, asr after the last epoch


def compared(column: str, names: tuple[str, str], holds: Callable[[Ends, Ends], bool]) -> Check:
    """What two variants come to, under every attack under which both were run."""

    def check(numbers: Numbers) -> tuple[bool, str]:
        outcomes, words = [], []
        for attack in ATTACKS:
            try:
                one, two = (
                    {m: last(points(numbers, attack=attack, metric=m, **{column: name})) for m in ("acc", "asr")}
                    for name in names
                )
            except Missing:
                continue
            outcomes.append(holds(one, two))
            words.append(
                f"{attack}: ACC {one['acc']:.1f} to {two['acc']:.1f}, ASR {one['asr']:.1f} to {two['asr']:.1f}"
            )
        if not outcomes:
            raise Missing(f"needs {column} {' and '.join(names)} under one attack")
        return all(outcomes), "; ".join(words)

    return check


def stage_1(metric: str) -> Check:
    """Is the mean of a metric over the epochs of stage 1 larger where the pool grows fastest?"""

    def check(numbers: Numbers) -> tuple[bool, str]:
        outcomes, words = [], []
        for attack in ATTACKS:
            try:
                found = [points(numbers, attack=attack, metric=metric, speed=speed) for speed in (USUAL, FASTEST)]
            except Missing:
                continue
            one, two = (float(part[part["epoch"] < part["end"].astype(int)]["reproduced"].mean()) for part in found)
            outcomes.append(two > one)
            words.append(f"{attack}: {one:.1f} to {two:.1f}")
        if not outcomes:
            raise Missing(f"needs the usual speed and {FASTEST} times it under one attack")
        return all(outcomes), f"mean over stage 1, usual to {FASTEST} times as fast: {'; '.join(words)}"

    return check


def collapses(numbers: Numbers) -> tuple[bool, str]:
    found = {name: last(points(numbers, attack=name, metric="asr", speed=FASTEST)) for name in ("wanet", "clb")}
    return min(found.values()) >= ASR_HIGH, f"ASR: {listed(found)}"


def disrupted(usual: Ends, other: Ends) -> bool:
    return other["asr"] >= ASR_HIGH or usual["acc"] - other["acc"] > ACC_MARGIN


def worse_in_both(usual: Ends, other: Ends) -> bool:
    return other["asr"] > usual["asr"] and other["acc"] < usual["acc"]


def costs_accuracy(usual: Ends, other: Ends) -> bool:
    return usual["acc"] - other["acc"] > ACC_MARGIN


FIGURE_1 = (
    Claim(
        "apart", "Clean and poisoned samples are better apart under ASD than under ABL and DBD.", "Fig. 1", best_apart
    ),
)
FIGURE_5 = (
    Claim(
        "faster",
        f"With the meta-split DBD needs fewer epochs: ACC within {ACC_MARGIN:g} points of DBD's, ASR <= {ASR_LOW:g} %.",
        "Fig. 5a, Sec. 5.2",
        meta_split_is_faster,
    ),
    Claim("hard", "ASD's pool holds more hard clean samples than DBD's.", "Fig. 5b, Sec. 5.2", more_hard),
    Claim(
        "little-poison",
        f"Both hold little poison (<= {POISON_LEFT:g} % of the pool).",
        "Fig. 5b, Sec. 5.2",
        as_little_poison,
    ),
)
FIGURE_6 = (
    Claim(
        "stage-1",
        f"Without stage 1 the defense is disrupted: ASR >= {ASR_HIGH:g} %, or ACC lower by more than {ACC_MARGIN:g} "
        "points.",
        "Fig. 6, Sec. 5.3",
        compared("without", ("nothing", "stage1"), disrupted),
    ),
    Claim(
        "stage-2",
        "Without stage 2 the ASR ends higher and the ACC lower.",
        "Fig. 6, Sec. 5.3",
        compared("without", ("nothing", "stage2"), worse_in_both),
    ),
    Claim(
        "stage-3",
        f"Without stage 3 the ACC ends lower by more than {ACC_MARGIN:g} points (about 80 % in print).",
        "Fig. 6, Sec. 5.3",
        compared("without", ("nothing", "stage3"), costs_accuracy),
    ),
)
FIGURE_7 = (
    Claim("acc", "The faster the pool grows, the faster the ACC rises.", "Fig. 7, Sec. 5.3", stage_1("acc")),
    Claim("poison", "The faster it grows, the more poison it takes in.", "Fig. 7, Sec. 5.3", stage_1("poison")),
    Claim(
        "collapse",
        f"At {FASTEST} times the speed ASD fails under WaNet and CLB (ASR >= {ASR_HIGH:g} %).",
        "Fig. 7, Sec. 5.3",
        collapses,
    ),
)
