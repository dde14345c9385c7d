"""What ASD's authors say, as claims on their exhibits (Gao et al., CVPR 2023).

Pairs are a bound at laptop and the paper's own, which counts where numbers are compared.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import Any

from defenselib.papers.asd.cells import SPEEDS
from defenselib.papers.kit.claims import Claim, Point, State, Statement
from defenselib.papers.kit.compound import Check, along, both, combined, most
from defenselib.papers.kit.statements import change, every, leads, low
from defenselib.papers.kit.verdict import ACC_MARGIN, ASR_FULL, ASR_HIGH, ASR_LOW, POISON_LEFT, TIME_FACTOR
from defenselib.papers.kit.view import View
from defenselib.plots import words

DEFENSES = ("fp", "nad", "abl", "dbd", "asd")
NAMES = {"cifar10": "CIFAR-10", "gtsrb": "GTSRB", "imagenet-subset": "the ImageNet subset"}
BEST = {"acc": "highest mean ACC", "asr": "lowest mean ASR"}
FULL = "paper"  # the only profile whose times can stand beside the paper's
HIGH = (ASR_HIGH, ASR_FULL)
SMALL_LOSS = 1.0  # L1 of a label that gets a probability of 0.9: small beside the 9 of a wrong one
LARGE = 6.0  # points of ACC: NAD costs more under every attack on CIFAR-10 and ImageNet
DEARER = 1.05  # stage 3 against stage 2, an epoch: the paper prints at most 85 to 83 seconds
NEAR_CHANCE = 2 * ASR_LOW  # ASR of a model of ten classes that knows no trigger: 10, give or take
USUAL, *FASTER = SPEEDS
LEAD = "ACC minus ASR"


def costs(points: float) -> tuple[float, float]:
    """As a change of ACC: the margin at laptop, elsewhere what the paper prints at most."""
    return -ACC_MARGIN, -points


def weak_spots(dataset: str) -> Check:
    """ABL's ACC is lowest under two attacks; the rate of the clean-label one differs from theirs."""
    weak, others = ("wanet", "refool"), {"badnets": 0.05, "blend": 0.05, "iab": 0.05, "clb": 0.25}
    named = {name: words.value(name, "attack") for name in (*weak, *others)}

    def find(view: View) -> list[Point]:
        found = []
        for attack, (other, rate) in product(weak, others.items()):
            one, two = {"attack": attack, "poisoning_rate": 0.05}, {"attack": other, "poisoning_rate": rate}
            step = change("acc", "", one, two, ">", defense="abl", dataset=dataset)
            found += [
                replace(point, where={"attack": f"{named[attack]} to {named[other]}"}) for point in step.points(view)
            ]
        return found

    fewer, more = (", ".join(named[name] for name in names) for names in (weak, others))
    return Check(f"ACC of ABL under {fewer} < under {more}, for {words.value(dataset, 'dataset')}", find)


def ratio(dataset: str, one: tuple[str, Any], two: tuple[str, Any], least: float, most: float) -> Check:
    """Seconds of (defense, stage) over those of another. At the paper's own schedules only: those of shortened ones
    say nothing."""

    def find(view: View) -> list[Point]:
        first, second = (view.number("seconds", dataset=dataset, defense=name, stage=at) for name, at in (one, two))
        where = {"defense": one[0]}
        if view.profiles != {FULL} or math.isnan(first + second):
            return [Point("absent", "", where, "needs the times of the paper's own schedules")]
        state: State = "true" if least <= first / second <= most else "false"
        return [Point(state, f"{first:.0f} / {second:.0f} = {first / second:.2f}", where)]

    sides = " over those of ".join(f"{words.label(name)}, stage {stage}" for name, stage in (one, two))
    return Check(f"seconds of {sides} from {least:g} to {most:.3g}, for {words.value(dataset, 'dataset')}", find)


def dbd_against_asd() -> Statement:
    """Where DBD fails and ASD does not."""
    cells = [("iab", ("cifar10", "gtsrb")), ("blend", ("gtsrb", "imagenet-subset"))]
    fails = [every("asr", ">=", HIGH, defense="dbd", attack=attack, dataset=datasets) for attack, datasets in cells]
    holds = [every("asr", "<=", low(1.3), defense="asd", attack=attack, dataset=datasets) for attack, datasets in cells]
    return both(*fails, *holds)


def ends(statement: Statement) -> Statement:
    """After the last epoch."""
    return along("epoch", "last", statement)


def lacks(metric: str, stage: str, op: str, bound: float = 0.0) -> Statement:
    """Figure 6: from all stages to one left out."""
    return change(metric, "without", "nothing", stage, op, bound)


def gap(op: str, bound: float) -> Statement:
    """Figure 4: from normal training to ASD after stage 2."""
    return change("acc", "", {"defense": "none"}, {"defense": "asd", "stage": 2}, op, bound)


def rises(metric: str) -> Statement:
    """Figure 7: the mean over stage 1, at each speed above the usual."""
    return along("epoch", "mean", both(*(change(metric, "speed", USUAL, speed, ">", stage=1) for speed in FASTER)))


# Two lines a claim: key, sentence and place; what must be true.
# fmt: off
CLAIMS: dict[str, tuple[Claim, ...]] = {
    "table-2": (
        Claim("attacks-work", "Without a defense every attack succeeds on CIFAR-10 and GTSRB.", "Table 2",
              every("asr", ">=", HIGH, defense="none", dataset=("cifar10", "gtsrb"))),
        Claim("asd-low", "Under ASD every ASR is low.", "Table 2, Sec. 5.2",
              every("asr", "<=", low(1.7), defense="asd")),
        Claim("asd-acc", "ASD maintains a high ACC, near that of the undefended model.", "Table 2, Sec. 5.2",
              change("acc", "defense", "none", "asd", ">=", costs(1.5))),
        *(Claim(f"asd-{metric}-{key}", f"On {name} ASD has the {words} of the five defenses.", "Table 2",
                leads(metric, "asd", DEFENSES, lowest=metric == "asr", dataset=key, attack="average"))
          for key, name in NAMES.items() for metric, words in BEST.items()),
        Claim("asd-imagenet", "On ImageNet ASD's mean ACC exceeds that of the undefended models.", "Sec. 5.2",
              change("acc", "defense", "none", "asd", ">", dataset="imagenet-subset", attack="average")),
        Claim("dbd-most", "DBD reaches a low ASR in most cases.", "Sec. 5.2",
              most(every("asr", "<=", low(9.8), defense="dbd"))),
        Claim("dbd-fails", "DBD fails under IAB on CIFAR-10, GTSRB and Blend on GTSRB, ImageNet; ASD does not.",
              "Table 2, Sec. 5.2", dbd_against_asd()),
        Claim("abl-drops", "Under WaNet and Refool ABL unlearns clean samples, and its ACC drops.", "Sec. 5.2",
              change("acc", "defense", "none", "abl", "<", attack=("wanet", "refool"))),
        *(Claim(f"abl-{key}", f"On {NAMES[key]} ABL's ACC is lowest under WaNet and Refool.", "Table 2, Sec. 5.2",
                weak_spots(key)) for key in ("cifar10", "imagenet-subset")),
        Claim("fp-leaves", "FP reduces the ASR to a limited degree: in most cases it is not low.", "Sec. 5.2",
              most(every("asr", ">", ASR_LOW, defense="fp"))),
        *(Claim(f"nad-{key}", f"On {NAMES[key]} NAD damages the ACC by a large margin.", "Table 2, Sec. 5.2",
                change("acc", "defense", "none", "nad", "<", -LARGE, dataset=key))
          for key in ("cifar10", "imagenet-subset")),
    ),
    "table-3": (
        *(Claim(f"order-{key}", f"On {name} ABL is the fastest and DBD the slowest.", "Table 3, Sec. 5.2",
                both(ratio(key, ("abl", "total"), ("asd", "total"), 0, 1),
                     ratio(key, ("asd", "total"), ("dbd", "total"), 0, 1)))
          for key, name in NAMES.items()),
        *(Claim(f"ratio-{key}", f"On {NAMES[key]} DBD takes about {times} times as long as ASD.", "Table 3, Sec. 5.2",
                ratio(key, ("dbd", "total"), ("asd", "total"), times / TIME_FACTOR, times * TIME_FACTOR))
          for key, times in (("cifar10", 5), ("gtsrb", 5), ("imagenet-subset", 8))),
        *(Claim(f"stage-3-{key}", f"On {NAMES[key]} an epoch of stage 3 costs what one of stage 2 does.", "Table 3",
                ratio(key, ("asd", 3), ("asd", 2), 0, DEARER * epochs / 30))  # stage 2 has 30 epochs everywhere
          for key, epochs in (("cifar10", 30), ("gtsrb", 10), ("imagenet-subset", 30))),
    ),
    "table-4": (
        Claim("low", "With UDA and with ReMixMatch every ASR is as low as with MixMatch.", "Table 4, Sec. 5.3",
              every("asr", "<=", low(2.8), ssl=("uda", "remixmatch"))),
        Claim("acc", "Their ACC stays near MixMatch's.", "Table 4",
              both(*(change("acc", "ssl", "mixmatch", ssl, ">=", costs(2.2)) for ssl in ("uda", "remixmatch")))),
    ),
    "table-5": (
        Claim("three-harmless", "One to three poisoned seeds make no backdoor.", "Table 5, Sec. 5.4",
              every("asr", "<=", low(4.1), poisoned_seeds=(1, 2, 3))),
        Claim("four-break", "With four, Blend and CLB come back.", "Table 5",
              every("asr", ">=", HIGH, poisoned_seeds=4, attack=("blend", "clb"))),
        Claim("four-hold", "BadNets and WaNet do not.", "Table 5, Sec. 5.4",
              every("asr", "<=", low(5.4), poisoned_seeds=4, attack=("badnets", "wanet"))),
        Claim("acc", "Poisoned seeds cost hardly any ACC.", "Table 5, Sec. 5.4",
              both(*(change("acc", "poisoned_seeds", 0, number, ">=", costs(1.8)) for number in (1, 2, 3, 4)))),
    ),
    "table-6": (
        Claim("only-a-start", "Pre-training alone leaves the ACC far below that of the end, and no backdoor.",
              "Table 6, Sec. 5.4", both(change("acc", "phase", "pretraining", "asd", ">=", (20.0, 39.1)),
                                        every("asr", "<=", (NEAR_CHANCE, 10.2), phase="pretraining"))),
        Claim("works", "ASD from there has a low ASR.", "Table 6, Sec. 5.4",
              every("asr", "<=", low(4.0), phase="asd")),
    ),
    "figure-1": (
        Claim("apart", "ASD sets clean and poisoned samples farther apart than ABL and DBD do.", "Fig. 1",
              leads("separation", "asd", ("abl", "dbd"))),
    ),
    "figure-3": (
        Claim("clean-learned", "After stages 1 and 2 the losses of most clean samples are nearly zero.",
              "Fig. 3a, Sec. 4.2", every("median", "<=", SMALL_LOSS, panel="a", group="clean")),
        Claim("hard-alike", "Most clean samples are learned then; some keep large losses, as the poisoned ones do.",
              "Fig. 3a, Sec. 4.2",
              both(every("median", "<=", SMALL_LOSS, panel="a", group="clean"),
                   every("median", ">", SMALL_LOSS, panel="a", group=("hard", "poisoned")))),
        Claim("learned-fast", "One supervised epoch brings the losses of poisoned samples from large to about zero.",
              "Fig. 3a, 3b", both(every("median", ">", SMALL_LOSS, panel="a", group="poisoned"),
                                  every("median", "<=", SMALL_LOSS, panel="b", group="poisoned"))),
        Claim("hard-keep", "The loss of poisoned samples falls much further than that of hard clean ones.",
              "Fig. 3c, Sec. 4.2", change("median", "group", "hard", "poisoned", ">", SMALL_LOSS, panel="c")),
        Claim("separates", "Stage 3 sets poisoned samples farther apart from clean and from hard clean ones.",
              "Fig. 3d, Sec. 4.2", change("separation", "panel", "a", "d", ">")),
    ),
    "figure-4": (
        Claim("gap", "After stages 1 and 2 a small gap in ACC to normal training remains.", "Fig. 4, Sec. 4.2",
              ends(both(gap("<", 0.0), gap(">=", -ACC_MARGIN)))),
        Claim("stage-2", "Stage 2 raises the ACC by a large margin.", "Sec. 5.3",
              ends(change("acc", "stage", 1, 2, ">", ACC_MARGIN))),
        Claim("stage-3", "Stage 3 raises the ACC further.", "Sec. 4.2", ends(change("acc", "stage", 2, 3, ">"))),
    ),
    "figure-5": (
        Claim("faster", "With the meta-split a short last stage of DBD gets the ACC of the long one, at a low ASR.",
              "Fig. 5a, Sec. 5.2",
              ends(both(change("acc", "defense", "dbd", "dbd-meta-split", ">=", costs(1.3), panel="a"),
                        every("asr", "<=", low(4.0), defense="dbd-meta-split", panel="a")))),
        Claim("hard", "In each of the last epochs ASD's pool holds more hard clean samples than DBD's.",
              "Fig. 5b, Sec. 5.2", change("hard", "defense", "dbd", "asd", ">", panel="b")),
        Claim("little-poison", "Both pools hold little poison.", "Fig. 5b, Sec. 5.2",
              along("left", "mean", every("poison", "<=", POISON_LEFT, panel="b", defense=("dbd", "asd")))),
    ),
    "figure-6": (
        Claim("stage-1", "Without stage 1 the defense is completely disrupted.", "Fig. 6, Sec. 5.3",
              ends(combined(LEAD, {"acc": 1, "asr": -1}, lacks(LEAD, "stage1", "<=", -ASR_HIGH)))),
        Claim("stage-2", "Without stage 2 the ASR ends higher and the ACC lower.", "Fig. 6, Sec. 5.3",
              ends(both(lacks("asr", "stage2", ">"), lacks("acc", "stage2", "<")))),
        Claim("stage-3", "Without stage 3 the ACC ends clearly lower.", "Fig. 6, Sec. 5.3",
              ends(lacks("acc", "stage3", "<", -ACC_MARGIN))),
    ),
    "figure-7": (
        Claim("acc", "The faster the pool grows in stage 1, the faster the ACC rises.", "Fig. 7, Sec. 5.3",
              rises("acc")),
        Claim("poison", "The faster it grows, the more poison it takes in.", "Fig. 7, Sec. 5.3", rises("poison")),
        Claim("collapse", "Grown too fast, ASD fails under WaNet and CLB.", "Fig. 7, Sec. 5.3",
              ends(every("asr", ">=", ASR_HIGH, speed=FASTER[-1], stage=3, attack=("wanet", "clb")))),
    ),
    "text-1": (
        Claim("adaptive", "The adaptive attack succeeds without a defense and fails against ASD.", "Sec. 5.5",
              both(every("asr", ">=", HIGH, attack="adaptive", defense="none"),
                   every("asr", "<=", low(1.4), attack="adaptive", defense="asd"))),
        Claim("adaptive-acc", "It costs ASD hardly any ACC.", "Sec. 5.5",
              change("acc", "defense", "none", "asd", ">=", costs(1.2), attack="adaptive")),
    ),
}
# fmt: on
