"""What BSD's authors say about their figures, as checks on the frames of these (Shen et al., ICML 2025)."""

from __future__ import annotations

import re

import pandas as pd

from defenselib.papers.bsd.checks import Check, attacks, listed
from defenselib.papers.kit.claims import Claim, Missing, Numbers
from defenselib.papers.kit.verdict import ASR_HIGH, ASR_LOW

CLEAR = 80.0  # percent of pairs in the right order: a separation that is easily seen


def field(rows: pd.DataFrame, name: str) -> pd.Series:
    """The number called `name` in the variant of each row."""
    return rows["variant"].fillna("").str.extract(rf"(?:^|;){re.escape(name)}=([\d.]+)")[0].astype(float)


def rates_low(numbers: Numbers) -> tuple[bool, str]:
    rows = numbers.select(defense="bsd", metric="asr")
    if rows.empty:
        raise Missing("needs bsd")
    found = {f"{a}/{v}": float(x) for a, v, x in zip(rows["attack"], rows["variant"], rows["reproduced"], strict=True)}
    return max(found.values()) <= ASR_LOW, f"ASR: {listed(found)}"


def rates_accuracy(numbers: Numbers) -> tuple[bool, str]:
    found = {}
    for variant in dict.fromkeys(numbers.rows["variant"]):
        for attack in attacks(numbers) if variant != "rate=0.05" else ():
            both = [numbers.select(defense=d, attack=attack, variant=variant, metric="acc") for d in ("asd", "bsd")]
            if all(len(rows) for rows in both):
                found[f"{attack}/{variant}"] = float(both[1]["reproduced"].iloc[0] - both[0]["reproduced"].iloc[0])
    if not found:
        raise Missing("needs asd and bsd at another rate than the usual one")
    return min(found.values()) > 0, f"BSD's ACC minus ASD's: {listed(found)}"


def _last(numbers: Numbers, part: str, metric: str) -> float:
    rows = numbers.select(metric=metric)
    rows = rows[rows["variant"].str.startswith(f"without={part};")]
    if rows.empty:
        raise Missing(f"needs the run without {part}")
    return float(rows["reproduced"].iloc[-1])


def overfitting(numbers: Numbers) -> tuple[bool, str]:
    poison, asr = _last(numbers, "init", "poison"), _last(numbers, "init", "asr")
    usual = _last(numbers, "nothing", "poison")
    return (
        poison > usual and asr >= ASR_HIGH,
        f"poison in the last pool {poison:.1f} % (usually {usual:.1f} %), ASR {asr:.1f}",
    )


def underfitting(numbers: Numbers) -> tuple[bool, str]:
    found = {part: _last(numbers, part, "rarest") for part in ("nothing", "comp")}
    return found["comp"] < found[
        "nothing"
    ], f"rarest class of the last pool, percent of an equal share: {listed(found)}"


def fewer_poisoned(numbers: Numbers) -> tuple[bool, str]:
    words, holds = [], True
    rows = numbers.select(metric="sum")
    for rate in sorted(field(rows, "rate").unique()):
        mine = rows[field(rows, "rate") == rate]
        found = {str(name): float(part["reproduced"].iloc[-1]) for name, part in mine.groupby("defense")}
        if {"asd", "bsd"} <= set(found):
            holds &= found["bsd"] < found["asd"]
            words.append(f"rate {rate:g}: {listed(found)}")
    if not words:
        raise Missing("needs asd and bsd at the same rate")
    return holds, "samples, summed over the epochs; " + "; ".join(words)


def apart(panel: str, larger: bool) -> Check:
    """In a clear majority of pairs the poisoned sample has the larger (or smaller) value."""

    def check(numbers: Numbers) -> tuple[bool, str]:
        share = numbers.one(variant=f"panel={panel}", metric="separation")
        right = share if larger else 100 - share
        return (
            right >= CLEAR,
            f"the poisoned sample has the {'larger' if larger else 'smaller'} value in {right:.1f} % of pairs",
        )

    return check


def _separated(numbers: Numbers, rule: str) -> dict[float, float]:
    """By length of the warm-up: percent of pairs in which the clean sample lies farther off."""
    rows = numbers.select(metric="separation")
    rows = rows[rows["variant"].str.endswith(f"rule={rule}")]
    return dict(zip(field(rows, "length"), 100 - rows["reproduced"], strict=True))


def usual_length(numbers: Numbers) -> tuple[bool, str]:
    found = {rule: _separated(numbers, rule).get(1.0) for rule in ("min", "max", "mean")}
    known = {rule: value for rule, value in found.items() if value is not None}
    if not known:
        raise Missing("needs the usual warm-up")
    return min(known.values()) >= CLEAR, f"clean farther off than poisoned, percent of pairs: {listed(known)}"


def short_length(numbers: Numbers) -> tuple[bool, str]:
    found = _separated(numbers, "min")
    if not {0.25, 1.0} <= set(found):
        raise Missing("needs a short and the usual warm-up")
    return found[0.25] < found[
        1.0
    ], f"clean farther off, percent of pairs, by length: {listed({f'{k:g}': v for k, v in found.items()})}"


def long_length(numbers: Numbers) -> tuple[bool, str]:
    found = _separated(numbers, "mean")
    if not {1.0, 2.0} <= set(found):
        raise Missing("needs the usual warm-up and one twice as long")
    return found[2.0] < found[
        1.0
    ], f"clean farther off by the mean distance, percent of pairs: {found[1.0]:.1f} → {found[2.0]:.1f}"


def majority_right(numbers: Numbers) -> tuple[bool, str]:
    found, right = {}, []
    for attack in attacks(numbers):
        rows = numbers.select(attack=attack, metric="target")
        if len(rows):
            found[attack] = float(rows["reproduced"].iloc[-1])
            right.append(found[attack] == numbers.one(attack=attack, metric="truth"))
    if not right:
        raise Missing("needs a warm-up")
    return all(right), f"majority after the last epoch: {listed(found)}"


def forced_mostly(numbers: Numbers) -> tuple[bool, str]:
    rows = numbers.select(metric="asr")
    found = {str(v): float(x) for v, x in zip(rows["variant"], rows["reproduced"], strict=True) if v != "target=3"}
    if not found:
        raise Missing("needs a target that is not 3")
    low = sum(value <= ASR_LOW for value in found.values())
    return 2 * low > len(found), f"{low} of {len(found)} low: {listed(found)}"


def forced_dog(numbers: Numbers) -> tuple[bool, str]:
    value = numbers.one(variant="target=5", metric="asr")
    return value >= ASR_HIGH, f"ASR {value:.1f}"


FIGURE_3 = (
    Claim("low", f"At every rate BSD's ASR is low (<= {ASR_LOW:g} %).", "Sec. 5.4", rates_low),
    Claim("acc", "Away from the usual rate ASD's ACC is below BSD's.", "Sec. 5.4", rates_accuracy),
)
FIGURE_5 = (
    Claim("overfits", "Poison in the pool grows and the backdoor succeeds (I).", "App. C.3", overfitting),
    Claim("underfits", "A hard class drops out of the pool (II).", "App. C.3", underfitting),
)
FIGURE_6 = (
    Claim("fewer", "Summed over training, BSD's clean pool holds less poison than ASD's.", "App. D.1", fewer_poisoned),
)
FIGURE_7 = (
    Claim("a", "Under g poison has the smaller loss.", "Fig. 7a", apart("a", False)),
    Claim("b", "Poison is nearer to the known classes than clean samples of the target.", "Fig. 7b", apart("b", False)),
    Claim("c", "Poison stands out by the discrepancy of the losses.", "Fig. 7c", apart("c", False)),
    Claim("d", "In the end poison has the larger loss.", "Fig. 7d", apart("d", True)),
)
FIGURE_8 = (
    Claim("usual", "At the usual length all three distances separate.", "App. D.2", usual_length),
    Claim("short", "A short warm-up separates worse.", "App. D.2", short_length),
    Claim("long", "A warm-up twice as long separates worse by the mean distance.", "App. D.2", long_length),
)
FIGURE_9 = (Claim("majority", "The majority finds the target under every attack.", "App. D.3", majority_right),)
FIGURE_10 = (
    Claim("mostly", "Even with a wrong target most models come out clean.", "App. D.6", forced_mostly),
    Claim(
        "dog",
        f"With target 5 (dog) taken for 3 (cat) the defense fails (ASR >= {ASR_HIGH:g} %).",
        "App. D.6",
        forced_dog,
    ),
)
FIGURE_11 = (Claim("separates", "Under all-to-all too, clean samples lie farther off.", "App. D.8", apart("a", False)),)
