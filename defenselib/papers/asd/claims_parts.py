"""What ASD's authors say about costs and variants, as checks on the frames of Tables 3 to 6 and of the numbers of the
text (Gao et al., CVPR 2023)."""

from __future__ import annotations

import pandas as pd

from defenselib.papers.asd.cells import ATTACKS
from defenselib.papers.asd.claims import NAMES, Check, listed
from defenselib.papers.kit.claims import Claim, Missing, Numbers
from defenselib.papers.kit.verdict import ACC_MARGIN, ASR_HIGH, ASR_LOW, TIME_FACTOR

FULL = "paper"  # the only profile whose times can stand beside the paper's
DEARER = 1.05  # stage 3 against stage 2, an epoch: the paper prints at most 85 to 83 seconds
LESS = 20.0  # points of ACC by which a model falls short that is only pre-trained; printed are 40
NEAR_CHANCE = 2 * ASR_LOW  # ASR of a model of ten classes that knows no trigger: 10, give or take


def seconds(numbers: Numbers, dataset: str, defense: str, stage: object = "total") -> float:
    """A time of Table 3, at the paper's own schedules only."""
    if numbers.rows["profile"].iloc[0] != FULL:
        raise Missing("times of shortened schedules say nothing about those of the paper's")
    return numbers.one(dataset=dataset, defense=defense, variant=f"stage={stage}", metric="seconds")


def cost_order(dataset: str) -> Check:
    def check(numbers: Numbers) -> tuple[bool, str]:
        found = {name: seconds(numbers, dataset, name) for name in ("abl", "asd", "dbd")}
        return found["abl"] < found["asd"] < found["dbd"], f"seconds: {listed(found)}"

    return check


def share_of_dbd(dataset: str, share: float) -> Check:
    def check(numbers: Numbers) -> tuple[bool, str]:
        ratio = seconds(numbers, dataset, "dbd") / seconds(numbers, dataset, "asd")
        return max(ratio * share, 1 / (ratio * share)) <= TIME_FACTOR, f"DBD takes {ratio:.1f} times as long as ASD"

    return check


def cheap_stage_3(dataset: str, epochs: int) -> Check:
    def check(numbers: Numbers) -> tuple[bool, str]:
        second = seconds(numbers, dataset, "asd", 2) / 30
        third = seconds(numbers, dataset, "asd", 3) / epochs
        return third <= DEARER * second, f"seconds an epoch: stage 2 {second:.1f}, stage 3 {third:.1f}"

    return check


def variant_low(prefix: str, values: tuple[object, ...], attacks: tuple[str, ...] = ATTACKS) -> Check:
    """The ASR is low in all cells of these variants that were run."""

    def check(numbers: Numbers) -> tuple[bool, str]:
        names = tuple(f"{prefix}={value}" for value in values)
        rows = numbers.select(metric="asr", variant=names, attack=attacks)
        if rows.empty:
            raise Missing(f"needs {prefix} of {', '.join(map(str, values))}")
        found = _labelled(rows)
        return max(found.values()) <= ASR_LOW, f"ASR, {len(rows)} of {len(names) * len(attacks)} cells: {listed(found)}"

    return check


def _labelled(rows: pd.DataFrame) -> dict[str, float]:
    labels = rows["attack"] + "/" + rows["variant"].str.partition("=")[2]
    return dict(zip(labels, rows["reproduced"].astype(float), strict=True))


def variant_keeps(prefix: str, values: tuple[object, ...], usual: object) -> Check:
    """The ACC stays within the margin of the usual setting's under the same attack."""

    def check(numbers: Numbers) -> tuple[bool, str]:
        drops = {}
        for attack in ATTACKS:
            for value in values:
                try:
                    first, other = (
                        numbers.one(attack=attack, variant=f"{prefix}={name}", metric="acc") for name in (usual, value)
                    )
                except Missing:
                    continue
                drops[f"{attack}/{value}"] = first - other
        if not drops:
            raise Missing(f"needs {prefix} of {usual} and another under one attack")
        return max(drops.values()) <= ACC_MARGIN, f"drop in points: {listed(drops)}"

    return check


def four_break(numbers: Numbers) -> tuple[bool, str]:
    found = {
        attack: numbers.one(attack=attack, variant="poisoned_seeds=4", metric="asr") for attack in ("blend", "clb")
    }
    return min(found.values()) >= ASR_HIGH, f"ASR: {listed(found)}"


def phases(numbers: Numbers, metric: str) -> dict[str, tuple[float, float]]:
    """After pre-training and at the end, by attack."""
    found = {}
    for attack in ATTACKS:
        try:
            first, last = (
                numbers.one(attack=attack, variant=f"seeds=imagenet-transfer;phase={phase}", metric=metric)
                for phase in ("pretraining", "asd")
            )
        except Missing:
            continue
        found[attack] = first, last
    if not found:
        raise Missing("needs the transfer-based start")
    return found


def only_a_start(numbers: Numbers) -> tuple[bool, str]:
    acc, asr = phases(numbers, "acc"), phases(numbers, "asr")
    holds = all(last - first >= LESS for first, last in acc.values())
    holds &= all(first <= NEAR_CHANCE for first, _ in asr.values())
    words = ", ".join(f"{name} {acc[name][0]:.1f}/{asr[name][0]:.1f}, in the end {acc[name][1]:.1f}" for name in acc)
    return holds, f"ACC/ASR after pre-training: {words}"


def transfer_works(numbers: Numbers) -> tuple[bool, str]:
    found = {name: last for name, (_, last) in phases(numbers, "asr").items()}
    return max(found.values()) <= ASR_LOW, f"ASR: {listed(found)}"


def adaptive_fails(numbers: Numbers) -> tuple[bool, str]:
    found = {name: numbers.one(attack="adaptive", defense=name, metric="asr") for name in ("none", "asd")}
    return found["none"] >= ASR_HIGH and found["asd"] <= ASR_LOW, f"ASR: {listed(found)}"


def adaptive_keeps(numbers: Numbers) -> tuple[bool, str]:
    found = {name: numbers.one(attack="adaptive", defense=name, metric="acc") for name in ("none", "asd")}
    return found["none"] - found["asd"] <= ACC_MARGIN, f"ACC: {listed(found)}"


TABLE_3 = (
    *(
        Claim(f"order-{key}", f"On {name} ABL is the fastest and DBD the slowest.", "Table 3", cost_order(key))
        for key, name in NAMES.items()
    ),
    *(
        Claim(
            f"ratio-{key}",
            f"On {NAMES[key]} ASD takes about 1/{1 / share:.0f} of DBD's time (within a factor of {TIME_FACTOR:g}).",
            "Sec. 5.2",
            share_of_dbd(key, share),
        )
        for key, share in (("cifar10", 0.2), ("gtsrb", 0.2), ("imagenet-subset", 0.125))
    ),
    *(
        Claim(
            f"stage-3-{key}",
            f"On {NAMES[key]} an epoch of stage 3 costs what one of stage 2 costs, within {100 * (DEARER - 1):.0f} %.",
            "Table 3",
            cheap_stage_3(key, epochs),
        )
        for key, epochs in (("cifar10", 30), ("gtsrb", 10), ("imagenet-subset", 30))
    ),
)
TABLE_4 = (
    Claim(
        "low",
        f"With UDA and with ReMixMatch every ASR is low (<= {ASR_LOW:g} %; printed are at most 2.8).",
        "Table 4, Sec. 5.3",
        variant_low("ssl", ("uda", "remixmatch")),
    ),
    Claim(
        "acc",
        f"Their ACC stays within {ACC_MARGIN:g} points of MixMatch's.",
        "Table 4",
        variant_keeps("ssl", ("uda", "remixmatch"), "mixmatch"),
    ),
)
TABLE_5 = (
    Claim(
        "three-harmless",
        f"With up to three poisoned seeds every ASR is low (<= {ASR_LOW:g} %).",
        "Table 5, Sec. 5.4",
        variant_low("poisoned_seeds", (1, 2, 3)),
    ),
    Claim("four-break", f"With four, Blend and CLB come back (ASR >= {ASR_HIGH:g} %).", "Table 5", four_break),
    Claim(
        "four-hold",
        f"BadNets and WaNet do not (ASR <= {ASR_LOW:g} %).",
        "Table 5",
        variant_low("poisoned_seeds", (4,), ("badnets", "wanet")),
    ),
    Claim(
        "acc",
        f"Poisoned seeds cost at most {ACC_MARGIN:g} points of ACC.",
        "Table 5, Sec. 5.4",
        variant_keeps("poisoned_seeds", (1, 2, 3, 4), 0),
    ),
)
TABLE_6 = (
    Claim(
        "only-a-start",
        f"Pre-training alone leaves the ACC {LESS:g} points or more below the end, and no backdoor "
        f"(ASR <= {NEAR_CHANCE:g} %).",
        "Table 6, Sec. 5.4",
        only_a_start,
    ),
    Claim("works", f"ASD from there has a low ASR (<= {ASR_LOW:g} %).", "Table 6, Sec. 5.4", transfer_works),
)
TEXT = (
    Claim(
        "adaptive",
        f"The adaptive attack succeeds without a defense (ASR >= {ASR_HIGH:g} %) and fails against ASD "
        f"(<= {ASR_LOW:g} %).",
        "Sec. 5.5",
        adaptive_fails,
    ),
    Claim("adaptive-acc", f"There ASD costs at most {ACC_MARGIN:g} points of ACC.", "Sec. 5.5", adaptive_keeps),
)
