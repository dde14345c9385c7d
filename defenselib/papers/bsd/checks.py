"""What BSD's authors say about comparisons and costs, as checks on the frames of Tables 1 to 5 and 9 to 20
(Shen et al., ICML 2025)."""

from __future__ import annotations

from collections.abc import Callable

from defenselib.papers.kit.claims import Missing, Numbers
from defenselib.papers.kit.verdict import ACC_MARGIN, ASR_HIGH, ASR_LOW, DER_HIGH

BASELINES = ("fp", "nad", "abl", "dbd", "asd")
DEFENSES = (*BASELINES, "bsd")
NAMES = {"cifar10": "CIFAR-10", "gtsrb": "GTSRB", "imagenet-30": "the ImageNet subset"}
CLEAN_LABEL = ("clb", "sig", "narcissus")
ADVANCE = 20.0  # points of DER, Abstract
FASTER = 1.5  # "comparable" cost: the printed ratios to ASD are 0.65, 1.11 and 0.76

Check = Callable[[Numbers], tuple[bool, str]]


def listed(numbers: dict[str, float]) -> str:
    """ "badnets 0.1, blend 2.3" """
    return ", ".join(f"{name} {value:.1f}" for name, value in numbers.items())


def attacks(numbers: Numbers) -> tuple[str, ...]:
    """The exhibit's attacks without their average."""
    return tuple(name for name in numbers.frame["attack"].dropna().unique() if name != "average")


def means(numbers: Numbers, dataset: str, names: tuple[str, ...] = DEFENSES) -> dict[str, float]:
    """Average DER of each defense on a data set."""
    return {name: numbers.one(dataset=dataset, attack="average", defense=name, metric="der") for name in names}


def leads(dataset: str, margin: float = 0.0, names: tuple[str, ...] = DEFENSES) -> Check:
    """BSD's average DER is at least `margin` above the best of the others."""

    def check(numbers: Numbers) -> tuple[bool, str]:
        found = means(numbers, dataset, names)
        best = max(value for name, value in found.items() if name != "bsd")
        return found["bsd"] >= best + margin, f"average DER on {NAMES[dataset]}: {listed(found)}"

    return check


def everywhere(*checks: Check) -> Check:
    """All of them, on every data set that has what they need, one at least."""

    def check(numbers: Numbers) -> tuple[bool, str]:
        outcomes, missing = [], []
        for one in checks:
            try:
                outcomes.append(one(numbers))
            except Missing as reason:
                missing.append(str(reason))
        if not outcomes:
            raise Missing("; ".join(dict.fromkeys(missing)))
        return all(holds for holds, _ in outcomes), "; ".join(words for _, words in outcomes)

    return check


def best_in_every_cell(numbers: Numbers) -> tuple[bool, str]:
    """BSD's DER is highest or shares the first place, in all cells in which every defense was run."""
    words, holds = [], True
    for dataset, attack in _cells(numbers, "der"):
        rows = numbers.select(dataset=dataset, attack=attack, metric="der")
        found = dict(zip(rows["defense"], rows["reproduced"].astype(float), strict=True))
        if set(DEFENSES) <= set(found):
            holds &= found["bsd"] >= max(found.values())
            words.append(f"{dataset}/{attack}: {listed(found)}")
    if not words:
        raise Missing("needs a cell in which every defense was run")
    return holds, "; ".join(words)


def _cells(numbers: Numbers, metric: str) -> list[tuple[str, str]]:
    rows = numbers.select(defense="bsd", metric=metric, attack=attacks(numbers))
    return list(zip(rows["dataset"], rows["attack"], strict=True))


def asr_low(numbers: Numbers) -> tuple[bool, str]:
    values, coverage = numbers.many(defense="bsd", metric="asr", attack=attacks(numbers))
    return max(values.values()) <= ASR_LOW, f"{coverage}: {listed(values)}"


def keeps_accuracy(numbers: Numbers) -> tuple[bool, str]:
    drops = {}
    for dataset, attack in _cells(numbers, "acc"):
        where = {"dataset": dataset, "attack": attack, "metric": "acc"}
        drops[f"{dataset}/{attack}"] = numbers.one(defense="none", **where) - numbers.one(defense="bsd", **where)
    if not drops:
        raise Missing("needs bsd")
    return max(drops.values()) <= ACC_MARGIN, f"drop in points: {listed(drops)}"


def dbd_trades(numbers: Numbers) -> tuple[bool, str]:
    holds, words = True, []
    for attack in attacks(numbers):
        found = {
            f"{name} {metric}": numbers.one(dataset="cifar10", attack=attack, defense=name, metric=metric)
            for name in ("dbd", "bsd")
            for metric in ("acc", "asr")
        }
        holds &= found["dbd asr"] <= found["bsd asr"] and found["dbd acc"] < found["bsd acc"]
        words.append(f"{attack}: {listed(found)}")
    return holds, "; ".join(words)


def abl_underfits(numbers: Numbers) -> tuple[bool, str]:
    drops = {}
    for attack in attacks(numbers):
        where = {"dataset": "cifar10", "attack": attack, "metric": "acc"}
        drops[attack] = numbers.one(defense="none", **where) - numbers.one(defense="abl", **where)
    others = [value for name, value in drops.items() if name != "wanet"]
    return drops["wanet"] > ACC_MARGIN >= max(others), f"drop of ACC in points: {listed(drops)}"


def above_repairs(numbers: Numbers) -> tuple[bool, str]:
    words, holds = [], True
    for name in ("fp", "nad"):
        for dataset, attack in _cells(numbers, "asr"):
            where = {"dataset": dataset, "attack": attack}
            try:
                mine, other = (
                    {metric: numbers.one(defense=d, metric=metric, **where) for metric in ("acc", "asr")}
                    for d in ("bsd", name)
                )
            except Missing:
                continue
            holds &= mine["acc"] > other["acc"] and mine["asr"] <= other["asr"]
            words.append(f"{dataset}/{attack}/{name}: {listed(other)} against {listed(mine)}")
    if not words:
        raise Missing("needs fp or nad")
    return holds, "; ".join(words)


def fails_on(defense: str, names: tuple[str, ...] = ()) -> Check:
    def check(numbers: Numbers) -> tuple[bool, str]:
        wanted = names or attacks(numbers)
        found = {name: numbers.one(attack=name, defense=defense, metric="asr") for name in wanted}
        return min(found.values()) >= ASR_HIGH, f"ASR under {defense.upper()}: {listed(found)}"

    return check


def every_target(numbers: Numbers) -> tuple[bool, str]:
    rows = numbers.select(metric="asr", attack=attacks(numbers))
    rows = rows[rows["target"] != "average"]
    if len(rows) < 2:
        raise Missing("needs several targets")
    worst = float(rows["reproduced"].max())
    rated = numbers.select(metric="der", attack=attacks(numbers))["reproduced"]
    words = f"{len(rows)} of 30 cells: largest ASR {worst:.1f}" + (
        f", least DER {rated.min():.1f}" if len(rated) else ""
    )
    return worst <= ASR_LOW and bool((rated >= DER_HIGH).all()), words


def hours(numbers: Numbers, dataset: str, defense: str) -> float:
    return numbers.one(dataset=dataset, defense=defense, metric="hours")


def cheaper(numbers: Numbers) -> tuple[bool, str]:
    found = {}
    for dataset, name in NAMES.items():
        try:
            found[name] = hours(numbers, dataset, "bsd") / hours(numbers, dataset, "asd")
        except Missing:
            continue
    if not found:
        raise Missing("needs the hours of bsd and asd")
    shown = ", ".join(f"{name} {value:.2f}" for name, value in found.items())
    return max(found.values()) <= FASTER, f"BSD's hours over ASD's: {shown}"


def dbd_slowest(dataset: str) -> Check:
    def check(numbers: Numbers) -> tuple[bool, str]:
        found = {name: hours(numbers, dataset, name) for name in ("dbd", "asd", "bsd")}
        return max(found, key=lambda name: found[name]) == "dbd", f"hours on {NAMES[dataset]}: {listed(found)}"

    return check


def newer_baselines(numbers: Numbers) -> tuple[bool, str]:
    found = means(numbers, "cifar10", ("vab", "dst", "dbr", "bsd"))
    return found["bsd"] == max(found.values()), f"average DER: {listed(found)}"


def nothing_poisoned(dataset: str) -> Check:
    def check(numbers: Numbers) -> tuple[bool, str]:
        acc, asr = (
            {name: numbers.one(dataset=dataset, defense=name, metric=metric) for name in ("none", "asd", "bsd")}
            for metric in ("acc", "asr")
        )
        holds = acc["none"] - acc["bsd"] <= ACC_MARGIN and acc["bsd"] > acc["asd"]
        holds &= asr["bsd"] <= min(asr["none"], asr["asd"])
        return holds, f"{NAMES[dataset]}: ACC {listed(acc)}; ASR {listed(asr)}"

    return check


def all_to_all(numbers: Numbers) -> tuple[bool, str]:
    asr = numbers.one(defense="bsd", metric="asr")
    rated = {name: numbers.one(defense=name, metric="der") for name in ("asd", "bsd")}
    return asr <= 2 * ASR_LOW and rated["bsd"] > rated[
        "asd"
    ], f"ASR under BSD {asr:.1f} (chance 10), DER: {listed(rated)}"


def adaptive(numbers: Numbers) -> tuple[bool, str]:
    rows = numbers.select(metric="asr")
    if rows.empty:
        raise Missing("needs the adaptive attack")
    found = {f"rate {rate:g}": value for rate, value in zip(rows["poisoning_rate"], rows["reproduced"], strict=True)}
    return max(found.values()) <= ASR_LOW, f"ASR: {listed(found)}"


def sensitive(numbers: Numbers) -> tuple[bool, str]:
    """The ASR moves by 20 points or more with the setting, under one attack at least."""
    spread = {}
    for attack in attacks(numbers):
        values = numbers.select(attack=attack, metric="asr")["reproduced"]
        if len(values) > 1:
            spread[attack] = float(values.max() - values.min())
    if not spread:
        raise Missing("needs several settings")
    return max(spread.values()) >= ADVANCE, f"range of the ASR over the settings: {listed(spread)}"
