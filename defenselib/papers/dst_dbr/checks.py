"""How the statements on the tables of D-ST and D-BR are decided; `dst_dbr_claims` lists them."""

from __future__ import annotations

from collections.abc import Callable

from defenselib.papers.kit.claims import Missing, Numbers
from defenselib.papers.kit.verdict import ASR_HIGH

Check = Callable[[Numbers], tuple[bool, str]]
REMOVALS = ("ft", "anp", "nad", "mcr", "abl")
DIRTY = ("badnets", "badnets-all2all", "trojan", "blend-strip", "blend-kitty")
PATCHES, WHOLE = ("badnets", "trojan", "clb"), ("blend-strip", "blend-kitty", "sig")
CLEAN_LABEL = ("sig", "clb")
MARKEDLY = 5.0  # points of ACC
BARELY = 2.0


def listed(numbers: dict[str, float]) -> str:
    """ "badnets 0.1, blend 2.3" """
    return ", ".join(f"{name} {value:.2f}" for name, value in numbers.items())


def by_attack(numbers: Numbers, metric: str, attacks: tuple[str, ...] = (), **where: object) -> dict[str, float]:
    """The numbers of single attacks that were run; raises `Missing` for none."""
    rows = numbers.select(metric=metric, **where)
    rows = rows[rows["attack"] != "average"]
    if attacks:
        rows = rows[rows["attack"].isin(attacks)]
    if rows.empty:
        raise Missing(f"needs {metric} of {' '.join(str(value) for value in where.values())}")
    names = rows["attack"].astype(str)
    for column in ("dataset", "poisoning_rate"):
        if rows[column].nunique() > 1:
            names = rows[column].astype(str) + "/" + names
    return dict(zip(names, rows["reproduced"].astype(float), strict=True))


def below(limit: float, attacks: tuple[str, ...] = (), metric: str = "asr", **where: object) -> Check:
    def check(numbers: Numbers) -> tuple[bool, str]:
        found = by_attack(numbers, metric, attacks, **where)
        return max(found.values()) <= limit, listed(found)

    return check


def above(limit: float, attacks: tuple[str, ...] = (), metric: str = "asr", **where: object) -> Check:
    def check(numbers: Numbers) -> tuple[bool, str]:
        found = by_attack(numbers, metric, attacks, **where)
        return min(found.values()) >= limit, listed(found)

    return check


def mean(numbers: Numbers, metric: str, defense: str, **where: object) -> float:
    return numbers.one(attack="average", metric=metric, defense=defense, **where)


def mean_drop(limit: float, **where: object) -> Check:
    """Mean ACC of D-BR at most so many points below the undefended model's."""

    def check(numbers: Numbers) -> tuple[bool, str]:
        found = {name: mean(numbers, "acc", name, **where) for name in ("none", "dbr")}
        return found["none"] - found["dbr"] <= limit, f"mean ACC: {listed(found)}"

    return check


def leads(best: str, others: tuple[str, ...], **where: object) -> Check:
    """In every row `best` has the largest ACC minus ASR."""

    def check(numbers: Numbers) -> tuple[bool, str]:
        gaps: dict[str, dict[str, float]] = {}
        for name in (best, *others):
            acc, asr = (by_attack(numbers, metric, (), defense=name, **where) for metric in ("acc", "asr"))
            gaps[name] = {attack: acc[attack] - asr[attack] for attack in acc if attack in asr}
        lost = {
            attack: gap
            for attack, gap in gaps[best].items()
            if any(gaps[name].get(attack, -100.0) > gap for name in others)
        }
        return not lost, f"{len(gaps[best]) - len(lost)} of {len(gaps[best])} rows" + (
            f"; not under {listed(lost)}" if lost else ""
        )

    return check


def dbd_fails(numbers: Numbers) -> tuple[bool, str]:
    found = by_attack(numbers, "asr", defense="dbd")
    high = sum(value >= ASR_HIGH for value in found.values())
    return 2 * high > len(found), f"{high} of {len(found)} at {ASR_HIGH:g} % or more: {listed(found)}"


def labels_help(dataset: str) -> Check:
    def check(numbers: Numbers) -> tuple[bool, str]:
        found = {name: mean(numbers, "acc", name, dataset=dataset) for name in ("simclr-baseline", "supcon-baseline")}
        return found["supcon-baseline"] - found["simclr-baseline"] > MARKEDLY, f"mean ACC: {listed(found)}"

    return check


def each_fails_once(numbers: Numbers) -> tuple[bool, str]:
    worst = {name: max(by_attack(numbers, "asr", defense=name, dataset="cifar10").values()) for name in REMOVALS}
    return min(worst.values()) > ASR_HIGH, f"largest ASR: {listed(worst)}"


def most_lose_accuracy(numbers: Numbers) -> tuple[bool, str]:
    found = {name: mean(numbers, "acc", name, dataset="cifar10") for name in ("none", *REMOVALS)}
    losing = {name for name in REMOVALS if found["none"] - found[name] > MARKEDLY}
    return losing == {"anp", "nad", "abl"}, f"mean ACC: {listed(found)}"


def only(defense: str, attack: str, limit: float, **where: object) -> Check:
    """The defense leaves an ASR above `limit` under this attack and no other."""

    def check(numbers: Numbers) -> tuple[bool, str]:
        found = by_attack(numbers, "asr", (), defense=defense, **where)
        return {name for name, value in found.items() if value > limit} == {attack}, listed(found)

    return check


def cost_of_low_asr(numbers: Numbers) -> tuple[bool, str]:
    loss = {name: mean(numbers, "acc", name, dataset="cifar100") for name in ("none", "anp", "abl")}
    left = {name: mean(numbers, "asr", name, dataset="cifar100") for name in ("anp", "abl")}
    drop = min(loss["none"] - loss[name] for name in ("anp", "abl"))
    return max(left.values()) < 0.1 and drop > MARKEDLY, f"mean ASR: {listed(left)}; mean ACC: {listed(loss)}"


def keeps_backdoor(numbers: Numbers) -> tuple[bool, str]:
    acc, asr = (
        {name: mean(numbers, metric, name, dataset="cifar100") for name in ("ft", "nad")} for metric in ("acc", "asr")
    )
    return min(acc.values()) > 68 and min(asr.values()) >= ASR_HIGH, f"mean ACC: {listed(acc)}; ASR: {listed(asr)}"


def contrast_costs(numbers: Numbers) -> tuple[bool, str]:
    ctl, both = (by_attack(numbers, "acc", variant=f"extractor={name}") for name in ("ctl", "ss-ctl"))
    gaps = {name: both[name] - value for name, value in ctl.items() if name in both}
    if not gaps:
        raise Missing("needs ACC of both extractors under one attack")
    return min(gaps.values()) > 0, f"ACC of ss-ctl minus ctl: {listed(gaps)}"


def best_of_others(numbers: Numbers) -> tuple[bool, str]:
    gaps = {name: mean(numbers, "acc", name) - mean(numbers, "asr", name) for name in ("ft", "nad", "abl")}
    return max(gaps, key=lambda name: gaps[name]) == "abl", f"mean ACC minus mean ASR: {listed(gaps)}"


def rates_compare(numbers: Numbers) -> tuple[bool, str]:
    gaps = {
        f"{name} at {rate:g}": mean(numbers, "acc", name, poisoning_rate=rate)
        - mean(numbers, "asr", name, poisoning_rate=rate)
        for name in ("dbr", "dst")
        for rate in (0.05, 0.2)
    }
    holds = all(gaps[f"{name} at 0.05"] < gaps[f"{name} at 0.2"] for name in ("dbr", "dst"))
    return holds, f"mean ACC minus mean ASR: {listed(gaps)}"


def by_model(numbers: Numbers, metric: str, **where: object) -> dict[str, float]:
    rows = numbers.select(metric=metric, **where)
    if rows.empty:
        raise Missing(f"needs {metric} of {' '.join(str(value) for value in where.values())}")
    return dict(zip(rows["model"].astype(str), rows["reproduced"].astype(float), strict=True))


def models_within(metric: str, limit: float, low: bool, **where: object) -> Check:
    def check(numbers: Numbers) -> tuple[bool, str]:
        found = by_model(numbers, metric, **where)
        return (min(found.values()) >= limit) if low else (max(found.values()) <= limit), listed(found)

    return check


def large_features_lose(numbers: Numbers) -> tuple[bool, str]:
    found = by_model(numbers, "poison_precision")
    if not {"resnet18", "vgg19", "resnet50", "densenet161"} <= set(found):
        raise Missing("needs poison_precision of all four networks")
    holds = min(found["resnet18"], found["vgg19"]) > max(found["resnet50"], found["densenet161"])
    return holds, f"poison-precision: {listed(found)}"


def largest_drop(numbers: Numbers) -> tuple[bool, str]:
    before, after = (by_model(numbers, "acc", defense=name) for name in ("none", "dbr"))
    drops = {name: before[name] - value for name, value in after.items() if name in before}
    if not drops:
        raise Missing("needs ACC of the undefended model and of D-BR")
    return round(max(drops.values()), 6) <= 2.41, f"drop in points: {listed(drops)}"


def pooled_features(numbers: Numbers) -> tuple[bool, str]:
    found = by_model(numbers, "count")
    if "densenet161" not in found:
        raise Missing("needs densenet161")
    return found["densenet161"] == 8832, f"entries: {listed(found)}"
