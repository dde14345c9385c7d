"""What ASD's authors say, as checks on the frames of Table 2, Figures 3 and 4 (Gao et al., CVPR 2023)."""

from __future__ import annotations

import re
from collections.abc import Callable

from defenselib.papers.kit.claims import Claim, Missing, Numbers
from defenselib.papers.kit.verdict import ACC_MARGIN, ASR_HIGH, ASR_LOW

DEFENSES = ("fp", "nad", "abl", "dbd", "asd")
NAMES = {"cifar10": "CIFAR-10", "gtsrb": "GTSRB", "imagenet-subset": "the ImageNet subset"}
SMALL_LOSS = 1.0  # L1 of a label that gets a probability of 0.9: small beside the 9 of a wrong one

Check = Callable[[Numbers], tuple[bool, str]]


def listed(numbers: dict[str, float]) -> str:
    """ "badnets 0.1, blend 2.3" """
    return ", ".join(f"{name} {value:.1f}" for name, value in numbers.items())


def leads(dataset: str, metric: str) -> Check:
    def check(numbers: Numbers) -> tuple[bool, str]:
        means = {name: numbers.one(dataset=dataset, attack="average", defense=name, metric=metric) for name in DEFENSES}
        best = max(means.values()) if metric == "acc" else min(means.values())
        return means["asd"] == best, f"mean {metric.upper()}: {listed(means)}"

    return check


def all_low(numbers: Numbers) -> tuple[bool, str]:
    values, coverage = numbers.many(defense="asd", metric="asr", attack=attacks(numbers))
    return max(values.values()) <= ASR_LOW, f"{coverage}: {listed(values)}"


def attacks_work(numbers: Numbers) -> tuple[bool, str]:
    values, coverage = numbers.many(defense="none", metric="asr", attack=attacks(numbers), dataset=("cifar10", "gtsrb"))
    return min(values.values()) >= ASR_HIGH, f"{coverage}: {listed(values)}"


def keeps_accuracy(numbers: Numbers) -> tuple[bool, str]:
    kept, coverage = numbers.many(defense="asd", metric="acc", attack=attacks(numbers))
    drops = {}
    for name in kept:
        dataset, attack, _ = name.split("/")
        drops[f"{dataset}/{attack}"] = (
            numbers.one(dataset=dataset, attack=attack, defense="none", metric="acc") - kept[name]
        )
    return max(drops.values()) <= ACC_MARGIN, f"drop in points, {coverage}: {listed(drops)}"


def attacks(numbers: Numbers) -> tuple[str, ...]:
    """The exhibit's attacks without their average."""
    return tuple(name for name in numbers.frame["attack"].unique() if name != "average")


def beats_undefended(numbers: Numbers) -> tuple[bool, str]:
    means = {
        name: numbers.one(dataset="imagenet-subset", attack="average", defense=name, metric="acc")
        for name in ("asd", "none")
    }
    return means["asd"] > means["none"], f"mean ACC: {listed(means)}"


def dbd_fails(numbers: Numbers) -> tuple[bool, str]:
    cells = (("cifar10", "iab"), ("gtsrb", "iab"), ("gtsrb", "blend"), ("imagenet-subset", "blend"))
    holds, words = True, []
    for dataset, attack in cells:
        found = {
            name: numbers.one(dataset=dataset, attack=attack, defense=name, metric="asr") for name in ("dbd", "asd")
        }
        holds &= found["dbd"] >= ASR_HIGH and found["asd"] <= ASR_LOW
        words.append(f"{dataset}/{attack}: {listed(found)}")
    return holds, "ASR; " + "; ".join(words)


def abl_loses(dataset: str) -> Check:
    def check(numbers: Numbers) -> tuple[bool, str]:
        found = {
            name: numbers.one(dataset=dataset, attack=name, defense="abl", metric="acc") for name in attacks(numbers)
        }
        weak = [found.pop(name) for name in ("wanet", "refool")]
        return max(weak) < min(found.values()), f"ACC: wanet, refool {weak}; {listed(found)}"

    return check


def fp_leaves(numbers: Numbers) -> tuple[bool, str]:
    values, coverage = numbers.many(defense="fp", metric="asr", attack=attacks(numbers))
    left = sum(value > ASR_LOW for value in values.values())
    return 2 * left > len(values), f"{left} above {ASR_LOW:g} %, {coverage}: {listed(values)}"


def nad_costs(dataset: str) -> Check:
    def check(numbers: Numbers) -> tuple[bool, str]:
        means = {
            name: numbers.one(dataset=dataset, attack="average", defense=name, metric="acc") for name in ("none", "nad")
        }
        return means["none"] - means["nad"] > 6, f"mean ACC: {listed(means)}"

    return check


def point(numbers: Numbers, panel: str, group: str, metric: str) -> float:
    return numbers.one(variant=f"panel={panel};group={group}", metric=metric)


def learned_fast(numbers: Numbers) -> tuple[bool, str]:
    before, after = (point(numbers, panel, "poisoned", "median") for panel in "ab")
    return after <= SMALL_LOSS < before, f"median loss of poisoned samples {before:.2f}, after the epoch {after:.2f}"


def hard_keep(numbers: Numbers) -> tuple[bool, str]:
    found = {group: point(numbers, "c", group, "median") for group in ("poisoned", "hard")}
    return found["poisoned"] > found["hard"], (
        f"median reduction: poisoned {found['poisoned']:.2f}, hard clean {found['hard']:.2f}"
    )


def separates(numbers: Numbers) -> tuple[bool, str]:
    before, after = (point(numbers, panel, "hard", "separation") for panel in "ad")
    return after > before, (
        f"poisoned above hard clean in {before:.1f} % of pairs at T2, {after:.1f} % at the end (50 %: mixed)"
    )


def curve(numbers: Numbers, defense: str) -> list[tuple[int, int, float]]:
    """(epoch, stage, ACC) in order; stage 0 for training without defense."""
    rows = numbers.select(defense=defense, metric="acc")
    if rows.empty:
        raise Missing(f"needs the curve of {defense}")
    points = []
    for variant, value in zip(rows["variant"], rows["reproduced"], strict=True):
        epoch, stage = re.search(r"epoch=(\d+)", variant), re.search(r"stage=(\d)", variant)
        points.append((int(epoch[1]) if epoch else 0, int(stage[1]) if stage else 0, float(value)))
    return sorted(points)


def last_of(points: list[tuple[int, int, float]], stage: int) -> float:
    """ACC after the last epoch of a stage."""
    values = [value for _, at, value in points if at == stage]
    if not values:
        raise Missing(f"needs stage {stage} of ASD")
    return values[-1]


def gap_before_stage3(numbers: Numbers) -> tuple[bool, str]:
    asd, normal = last_of(curve(numbers, "asd"), 2), last_of(curve(numbers, "none"), 0)
    return asd < normal, f"ACC after stage 2: {asd:.1f}, normal training: {normal:.1f}, gap {normal - asd:.1f} points"


def stage2_helps(numbers: Numbers) -> tuple[bool, str]:
    first, second = (last_of(curve(numbers, "asd"), stage) for stage in (1, 2))
    return second > first, f"ACC after stage 1: {first:.1f}, after stage 2: {second:.1f}"


def stage3_helps(numbers: Numbers) -> tuple[bool, str]:
    second, third = (last_of(curve(numbers, "asd"), stage) for stage in (2, 3))
    return third > second, f"ACC after stage 2: {second:.1f}, after stage 3: {third:.1f}"


TABLE_2 = (
    Claim(
        "attacks-work",
        f"Without a defense the attacks succeed on CIFAR-10 and GTSRB (ASR >= {ASR_HIGH:g} %).",
        "Table 2",
        attacks_work,
    ),
    Claim(
        "asd-low",
        f"Under ASD every ASR is low (<= {ASR_LOW:g} %; the largest printed one is 1.7 %).",
        "Table 2",
        all_low,
    ),
    Claim(
        "asd-acc",
        f"ASD keeps the ACC within {ACC_MARGIN:g} points of the undefended model's.",
        "Sec. 5.2",
        keeps_accuracy,
    ),
    *(
        Claim(
            f"asd-{metric}-{dataset}",
            f"On {name} ASD has the {words} of the five defenses.",
            "Table 2",
            leads(dataset, metric),
        )
        for dataset, name in NAMES.items()
        for metric, words in (("acc", "highest mean ACC"), ("asr", "lowest mean ASR"))
    ),
    Claim(
        "asd-imagenet",
        "On ImageNet ASD's mean ACC exceeds that of the undefended models.",
        "Sec. 5.2",
        beats_undefended,
    ),
    Claim(
        "dbd-fails",
        "DBD fails under IAB on CIFAR-10 and GTSRB and under Blend on GTSRB and ImageNet; ASD does not.",
        "Table 2, Sec. 5.2",
        dbd_fails,
    ),
    *(
        Claim(
            f"abl-{dataset}",
            f"On {NAMES[dataset]} ABL's ACC is lowest under WaNet and Refool.",
            "Sec. 5.2",
            abl_loses(dataset),
        )
        for dataset in ("cifar10", "imagenet-subset")
    ),
    Claim("fp-leaves", f"FP leaves an ASR above {ASR_LOW:g} % in most cells.", "Sec. 5.2", fp_leaves),
    *(
        Claim(
            f"nad-{dataset}",
            f"NAD lowers the mean ACC on {NAMES[dataset]} by more than 6 points.",
            "Sec. 5.2",
            nad_costs(dataset),
        )
        for dataset in ("cifar10", "imagenet-subset")
    ),
)
FIGURE_3 = (
    Claim(
        "learned-fast",
        "One supervised epoch brings the losses of poisoned samples from large to about zero.",
        "Fig. 3a, 3b",
        learned_fast,
    ),
    Claim(
        "hard-keep",
        "The loss of poisoned samples falls further than that of hard clean samples.",
        "Fig. 3c, Sec. 4.2",
        hard_keep,
    ),
    Claim(
        "separates",
        "After stage 3 poisoned and hard clean samples are better apart than before it.",
        "Fig. 3d, Sec. 4.2",
        separates,
    ),
)
FIGURE_4 = (
    Claim(
        "gap", "After stages 1 and 2 a gap in ACC to normal training remains.", "Fig. 4, Sec. 4.2", gap_before_stage3
    ),
    Claim("stage-2", "Stage 2 raises the ACC.", "Sec. 5.3", stage2_helps),
    Claim("stage-3", "Stage 3 raises the ACC further.", "Sec. 4.2", stage3_helps),
)
