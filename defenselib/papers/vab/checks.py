"""The checks behind `vab_claims`: each gets the numbers of one profile and says whether a statement holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from defenselib.papers.kit.claims import Missing, Numbers
from defenselib.papers.kit.verdict import ACC_MARGIN, ASR_LOW

CIFAR, IMAGENET = "cifar10", "imagenet-12"
DEFENSES = ("fp", "nad", "abl", "dbd", "vab")
Check = Callable[[Numbers], tuple[bool, str]]
Pairs = dict[str, tuple[float, float]]


def listed(numbers: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in numbers.items())


def steps(pairs: Pairs) -> str:
    return ", ".join(f"{name} {first:.2f} to {second:.2f}" for name, (first, second) in pairs.items())


def pairs(numbers: Numbers, metric: str, first: dict[str, str], second: dict[str, str], **where: object) -> Pairs:
    """By data set and attack the two numbers, of those rows that have both; raises `Missing` if there is none."""
    found = []
    for chosen in (first, second):
        rows = numbers.select(metric=metric, **chosen, **where)
        names = rows["dataset"].str.cat(rows["attack"], "/")
        found.append(dict(zip(names, rows["reproduced"].astype(float), strict=True)))
    both = {name: (found[0][name], found[1][name]) for name in found[0] if name in found[1]}
    if not both:
        raise Missing(f"needs {metric} of both {' '.join(first.values())} and {' '.join(second.values())}")
    return both


def every(metric: str, low: float, high: float, **where: object) -> Check:
    """All numbers that `where` names lie in [low, high]."""

    def check(numbers: Numbers) -> tuple[bool, str]:
        rows = numbers.select(metric=metric, **where)
        if rows.empty:
            raise Missing(f"needs {metric}")
        values = {}
        for row in rows.to_dict("records"):
            name = f"{row['dataset']}/{row['attack']}"
            values[name if pd.isna(row["variant"]) else f"{name}/{row['variant']}"] = float(row["reproduced"])
        return all(low <= value <= high for value in values.values()), f"{metric.upper()}: {listed(values)}"

    return check


def moves(
    metric: str, sign: int, first: dict[str, str], second: dict[str, str], slack: float = 0.0, **where: object
) -> Check:
    """From the first to the second variant every number rises (sign 1) or falls (sign -1), up to `slack` points."""

    def check(numbers: Numbers) -> tuple[bool, str]:
        found = pairs(numbers, metric, first, second, **where)
        return all(sign * (b - a) > -slack for a, b in found.values()), f"{metric.upper()}: {steps(found)}"

    return check


def variant(name: str, value: str) -> dict[str, str]:
    return {"variant": f"{name}={value}"}


def small_drop(numbers: Numbers) -> tuple[bool, str]:
    found = pairs(numbers, "acc", {"defense": "none"}, {"defense": "vab"})
    drops = {name: before - after for name, (before, after) in found.items()}
    return max(drops.values()) <= ACC_MARGIN, f"drop in points: {listed(drops)}"


def leads(metric: str, dataset: str, apart_from: Sequence[str] = ()) -> Check:
    """V&B is the best of the five in every column, apart from some."""

    def check(numbers: Numbers) -> tuple[bool, str]:
        words, holds = [], True
        for attack in numbers.frame["attack"].unique():
            if attack in apart_from:
                continue
            found = {
                name: numbers.one(dataset=dataset, attack=attack, defense=name, metric=metric) for name in DEFENSES
            }
            best = max(found.values()) if metric == "acc" else min(found.values())
            holds &= found["vab"] == best
            words.append(f"{attack}: {listed(found)}")
        return holds, "; ".join(words)

    return check


def behind(dataset: str, cases: dict[str, str]) -> Check:
    """Under these attacks another defense has the lower ASR."""

    def check(numbers: Numbers) -> tuple[bool, str]:
        words, holds = [], True
        for attack, other in cases.items():
            found = {
                name: numbers.one(dataset=dataset, attack=attack, defense=name, metric="asr") for name in ("vab", other)
            }
            holds &= found[other] < found["vab"]
            words.append(f"{attack}: {listed(found)}")
        return holds, "ASR; " + "; ".join(words)

    return check


def others_fail(numbers: Numbers) -> tuple[bool, str]:
    cases = (("abl", "dynamic"), ("abl", "blend"), ("dbd", "cl-16"), ("fp", "sig"))
    found = {f"{d}/{a}": numbers.one(dataset=CIFAR, attack=a, defense=d, metric="asr") for d, a in cases}
    return min(found.values()) > ASR_LOW, f"ASR: {listed(found)}"


def only_attention_mix(numbers: Numbers) -> tuple[bool, str]:
    words, holds = [], True
    for attack in ("dynamic", "wanet"):
        where = {"attack": attack, "metric": "asr"}
        found = {
            name: numbers.one(variant=f"augmentation={name}", **where)
            for name in ("attentionmix", "mixup", "cutmix", "attentive-cutmix")
        }
        holds &= found.pop("attentionmix") <= ASR_LOW < min(found.values())
        words.append(f"{attack}: {listed(found)}")
    return holds, "ASR of the others; " + "; ".join(words)


def curve(numbers: Numbers, dataset: str, attack: str, metric: str) -> dict[float, float]:
    """A metric by what the variants say ("t_m=0.2"), in order; at least two points."""
    rows = numbers.select(dataset=dataset, attack=attack, metric=metric)
    places = [float(str(text).partition("=")[2]) for text in rows["variant"]]
    found = dict(sorted(zip(places, rows["reproduced"].astype(float), strict=True)))
    if len(found) < 2:
        raise Missing(f"needs {metric} of {dataset} {attack} at two places or more")
    return found


def curves(numbers: Numbers, dataset: str, metric: str) -> dict[str, dict[float, float]]:
    """Of all attacks that have one."""
    found = {}
    for attack in numbers.rows["attack"].unique():
        try:
            found[str(attack)] = curve(numbers, dataset, str(attack), metric)
        except Missing:
            continue
    if not found:
        raise Missing(f"needs a curve on {dataset}")
    return found


def falls(numbers: Numbers) -> tuple[bool, str]:
    found = {name: (min(c), max(c), c) for name, c in curves(numbers, CIFAR, "acc").items()}
    words = "; ".join(f"{name}: {c[low]:.2f} to {c[high]:.2f}" for name, (low, high, c) in found.items())
    return all(c[high] < c[low] for low, high, c in found.values()), f"ACC; {words}"


def flat(dataset: str, metric: str, width: float) -> Check:
    def check(numbers: Numbers) -> tuple[bool, str]:
        spans = {name: max(c.values()) - min(c.values()) for name, c in curves(numbers, dataset, metric).items()}
        return max(spans.values()) <= width, f"span of {metric.upper()} in points: {listed(spans)}"

    return check


def most_low(numbers: Numbers) -> tuple[bool, str]:
    peaks = {name: max(c.values()) for name, c in curves(numbers, CIFAR, "asr").items()}
    low = sum(peak <= ASR_LOW for peak in peaks.values())
    return 2 * low > len(peaks), f"largest ASR: {listed(peaks)}"


def benign_above(numbers: Numbers) -> tuple[bool, str]:
    rows = numbers.select(metric="entropy")
    if rows.empty:
        raise Missing("needs a warm-up")
    words, holds = [], True
    for attack in rows["attack"].unique():
        last = max(int(text.partition(";")[0].partition("=")[2]) for text in rows[rows["attack"] == attack]["variant"])
        benign, poisoned = (
            numbers.one(attack=attack, metric="entropy", variant=f"epoch={last};group={group}")
            for group in ("benign", "poisoned")
        )
        holds &= poisoned < benign
        words.append(f"{attack}: poisoned {poisoned:.2f}, benign {benign:.2f}")
    return holds, "mean entropy in nats; " + "; ".join(words)


def separated(numbers: Numbers) -> tuple[bool, str]:
    low, high = (f"component={name}" for name in ("suspicious", "credible"))
    mean, sd = (numbers.one(dataset=CIFAR, variant=low, metric=metric) for metric in ("mean", "sd"))
    other = numbers.one(dataset=CIFAR, variant=high, metric="mean")
    return mean + 3 * sd < other, f"mu_1 {mean:.3f}, sigma_1 {sd:.3f}, mu_2 {other:.3f}"


def about(value: float, width: float, **where: object) -> Check:
    def check(numbers: Numbers) -> tuple[bool, str]:
        found = numbers.one(**where)
        return abs(found - value) <= width, f"{found:.3f}"

    return check
