"""What A-ABL's authors say, on the frames of their exhibits (Zhao and Wressnegger, AISec 2024).

Some statements do not hold in the paper's own tables: `claims.as_printed` shows which.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from defenselib.papers.kit.claims import Claim, Point, State, Statement
from defenselib.papers.kit.compound import Check, along, both, one_each
from defenselib.papers.kit.statements import change, every, leads, low
from defenselib.papers.kit.verdict import ACC_MARGIN, ASR_HIGH, ASR_LOW, POISON_LEFT
from defenselib.papers.kit.view import View

EASY = ("badnets", "trojan", "clb", "iab")  # category A
HARD = ("blend", "ssba", "wanet")  # category B
BOTH = (*EASY, *HARD)
BACKDOOR = ("abl", "dbd", "dst", "cbd")  # defenses against backdoors alone
OTHERS = (*BACKDOOR, "adv-train")
FAILURE = 90.0  # caption of Table 3
NEAR_RHO = 2.0  # points around the poisoning rate of 10 %
NEARLY_ALL, HALF = 95.0, 50.0
GROUPS = ("clean", "poisoned")


def benign_kept(view: View) -> list[Point]:
    """gamma (1 - rho_vul) / (1 - rho), rho = 5 % for CLB, which poisons half of a class of ten, else 10 %."""
    found = []
    for attack in BOTH:
        gamma, rho = (view.number(metric, dataset="cifar10", attack=attack) for metric in ("gamma", "rho_vul"))
        kept = gamma * (100 - rho) / (95 if attack == "clb" else 90)
        state: State = "absent" if math.isnan(kept) else "true" if kept > 85 else "false"
        found.append(Point(state, "" if math.isnan(kept) else f"{kept:.1f}", {"attack": attack}))
    return found


def _lowest(attack: str) -> Statement:
    return leads("asr", "aabl", OTHERS, lowest=True, attack=attack)


def _close(metric: str) -> Statement:
    """A-ABL against adversarial training, the mean over the attacks of a data set."""
    sides = (
        change(metric, "defense", "adv-train", "aabl", op, bound)
        for op, bound in (("<=", ACC_MARGIN), (">=", -ACC_MARGIN))
    )
    return along("attack", "mean", both(*sides), attack=("none", *BOTH), defense=("adv-train", "aabl"))


TABLE_1 = (
    Claim("easy-removed", "Nearly all category A poison is isolated, on every data set.", "Sec. 6.1",
          every("rho_vul", "<=", POISON_LEFT, attack=EASY)),
    Claim("hard-stays", "On CIFAR-10 category B poison stays: its share in what is kept is not much below 10 %.",
          "Sec. 6.2", every("rho_vul", ">=", 10 - NEAR_RHO, attack=HARD, dataset="cifar10")),
    Claim("hard-stays-everywhere", "The share of category B in what is kept remains nearly its rate on every data set.",
          "Sec. 6.2",
          both(every("rho_vul", ">=", 10 - NEAR_RHO, attack=HARD), every("rho_vul", "<=", 10 + NEAR_RHO, attack=HARD))),
    Claim("gamma", "On CIFAR-10 D_vul holds more than 76 % of the data.", "Sec. 6.1",
          every("gamma", ">", 76.0, dataset="cifar10", attack=BOTH)),
    Claim("benign-kept", "On CIFAR-10 more than 85 % of the benign samples are kept.", "Sec. 6.1",
          Check("benign samples kept > 85 %, from what is kept (γ) and the poison in it (ρ)", benign_kept)),
)  # fmt: skip
TABLE_2 = (
    Claim("easy-gone", "The split eliminates category A: naive training on D_vul learns no backdoor.", "Sec. 6.1",
          every("asr", "<=", ASR_LOW, attack=EASY)),
    Claim("hard-there", "The split does not stop category B.", "Sec. 6.1", every("asr", ">=", ASR_HIGH, attack=HARD)),
    Claim("naive-acc", "What the split removes costs no clean accuracy: it is the same under every attack.", "Sec. 6.1",
          along("attack", "span", every("acc", "<=", (ACC_MARGIN, 2.0)))),
)  # fmt: skip
TABLE_3 = (
    Claim("adv-easy", "Adversarial training alone leaves category A nearly at 100 %.", "Sec. 6.2",
          every("asr", ">=", FAILURE, defense="adv-train", attack=EASY)),
    Claim("adv-hard", "Adversarial training alone suppresses category B.", "Sec. 6.2",
          every("asr", "<=", ASR_LOW, defense="adv-train", attack=HARD)),
    Claim("aabl-easy", "With the split category A falls too.", "Sec. 6.2",
          every("asr", "<=", low(6.88), defense="aabl", attack=EASY)),
    Claim("aabl-hard", "A-ABL suppresses category B.", "Sec. 6.2",
          every("asr", "<=", low(6.88), defense="aabl", attack=HARD)),
    Claim("aabl-average", "A-ABL has the lowest ASR on average, on every data set.", "Sec. 1, Table 3",
          _lowest("average")),
    Claim("aabl-worst", "A-ABL has the lowest ASR in the worst case, on every data set.", "Sec. 1, Table 3",
          _lowest("worst")),
    Claim("aabl-acc", "A-ABL's mean ACC is comparable to adversarial training's.", "Sec. 1", _close("acc")),
    Claim("aabl-ra", "A-ABL's mean RA is comparable to adversarial training's.", "Sec. 1", _close("ra")),
    Claim("others-fail", "Every defense against backdoors alone fails somewhere.", "Sec. 6.2",
          one_each("defense", every("asr", ">", FAILURE, defense=BACKDOOR, attack=BOTH))),
    Claim("dst-fails", "D-ST fails against Blend and WaNet on CIFAR-10 and GTSRB.", "Sec. 6.2",
          every("asr", ">", FAILURE, defense="dst", attack=("blend", "wanet"), dataset=("cifar10", "gtsrb"))),
)  # fmt: skip
TABLE_4 = (
    Claim("dst-adv", "Adversarial training on either subset of D-ST suppresses the backdoor.", "Sec. 6.2",
          every("asr", "<=", ASR_LOW)),
    Claim("dst-adv-all", "On clean and suspicious samples together it does.", "Sec. 6.2",
          every("asr", "<=", ASR_LOW, subset="clean+suspicious")),
)  # fmt: skip
_SPLITS = ("randaugment", "autoaugment", "automix")
TABLE_5 = (
    Claim("smaller", "Every augmentation keeps less of the data than iFGSM.", "Sec. 6.3",
          both(*(change("gamma", "split", "ifgsm", name, "<") for name in _SPLITS))),
    Claim("best-on-easy", "iFGSM leaves the least category A poison (the bold numbers).", "Table 5",
          leads("rho_vul", "ifgsm", _SPLITS, axis="split", lowest=True, attack=EASY)),
    Claim("none-on-hard", "No augmentation isolates category B: its share in what is kept is over half of its rate.",
          "Sec. 6.3", every("rho_vul", ">=", 5.0, attack=HARD, split=_SPLITS)),
)  # fmt: skip
_NETWORKS = {"model": ("vgg16", "mobilenet_v2", "densenet121")}
TABLE_6 = (
    Claim("networks-asr", "A-ABL works on every network.", "Sec. 6.3", every("asr", "<=", low(7.73), attack=BOTH)),
    *(
        Claim(f"networks-{metric}", f"{metric.upper()} is comparable with and without attack.", "Sec. 6.3",
              both(*(change(metric, "attack", "none", name, ">=", -ACC_MARGIN, **_NETWORKS) for name in BOTH)))
        for metric in ("acc", "ra")
    ),
)  # fmt: skip
TABLE_7 = (
    Claim("low-rates", "A-ABL works at 1 % and 5 %.", "Sec. 6.3",
          every("asr", "<=", low(5.84), poisoning_rate=(0.01, 0.05))),
    Claim("high-rate", "At 20 % poison no backdoor is injected either.", "Sec. 6.3",
          every("asr", "<=", ASR_LOW, poisoning_rate=0.2)),
    Claim("high-rate-acc", "20 % poison costs accuracy, against 1 %, under every attack.", "Sec. 6.3",
          change("acc", "poisoning_rate", 0.01, 0.2, "<")),
    Claim("robustness", "Fewer poisoned samples leave a more robust model: RA is higher at 1 % than at 20 %.",
          "Sec. 6.3", change("ra", "poisoning_rate", 0.01, 0.2, "<")),
)  # fmt: skip
TEXT = (
    Claim("patches", "BadNets and Trojan have an ASR of 100 % at 1 % poison.", "Sec. 4.1",
          every("asr", ">=", NEARLY_ALL, poisoning_rate=0.01)),
    Claim("text-gamma", "D_vul holds more than 76 % of CIFAR-10 under every attack.", "Sec. 6.1",
          every("gamma", ">=", 76.0)),
    Claim("text-benign", "More than 85 % of the benign samples are kept.", "Sec. 6.1",
          every("benign_kept", ">=", 85.0)),
)  # fmt: skip
FIGURE_2 = (
    Claim("patches-strong", "BadNets and Trojan reach an ASR of 100 % at 1 % poison.", "Sec. 4.1",
          every("asr", ">=", NEARLY_ALL, attack=("badnets", "trojan"), poisoning_rate=0.01)),
    Claim("pictures-weak", "Blend and WaNet do not.", "Sec. 4.1",
          every("asr", "<", NEARLY_ALL, attack=("blend", "wanet"), poisoning_rate=0.01)),
)  # fmt: skip
FIGURE_3 = (
    Claim("easy-resists", "At 2/255 at least half of the category A poison keeps its label.", "Sec. 4.1",
          every("resists", ">=", HALF, attack=EASY, eps=2.0)),
    Claim("hard-flips", "At 2/255 less than half of the category B poison keeps its label.", "Sec. 4.1",
          every("resists", "<", HALF, attack=HARD, eps=2.0)),
    Claim("up-to-eight", "Category A resists budgets up to 8/255.", "Sec. 4.1",
          every("resists", ">=", HALF, attack=EASY, eps=8.0)),
    Claim("strength", "The stronger the attack, the more it resists: at 2/255 every attack of category A keeps more of "
          "its poison than every one of category B.", "Sec. 4.1",
          both(*(change("resists", "attack", hard, easy, ">", eps=2.0) for hard in HARD for easy in EASY))),
)  # fmt: skip
FIGURE_4 = (
    Claim("easy-low", "Poison of category A stays in the low peak: its median lies below Otsu's cut.", "Sec. 4.1",
          every("below_cut", ">=", 0.0, attack=EASY, panel="sce", group="poisoned")),
    Claim("hard-high", "Poison of category B is pushed into the high one: its median lies above.", "Sec. 4.1",
          every("below_cut", "<", 0.0, attack=HARD, panel="sce", group="poisoned")),
)  # fmt: skip
FIGURE_5 = (
    Claim("steps", "More steps do not break category A: at 20 at least half keeps its label.", "Sec. 4.1",
          every("resists", ">=", HALF, attack=EASY, steps=20.0)),
)  # fmt: skip
FIGURE_6 = (
    Claim("hard-falls", "Category B starts to fall at 2/255.", "Sec. 4.2",
          change("asr", "", {"defense": "none", "eps": 0.0}, {"defense": "adv-train", "eps": 2.0}, "<", attack=HARD)),
    Claim("hard-gone", "Category B is suppressed at 8/255.", "Sec. 4.2",
          every("asr", "<=", ASR_LOW, attack=HARD, eps=8.0)),
    Claim("easy-survives", "Category A survives 8/255.", "Sec. 4.2",
          every("asr", ">=", FAILURE, attack=EASY, eps=8.0)),
)  # fmt: skip
FIGURE_7 = (
    Claim("few-harmless", "At low rates adversarial training stops category A too.", "Sec. 4.2",
          every("asr", "<=", ASR_LOW, attack=("badnets", "trojan", "iab"), poisoning_rate=0.01)),
)  # fmt: skip


def _losses(view: View, how: str, panel: str, **where: float) -> tuple[float, float] | None:
    """Loss of clean and of poisoned samples, the mean or last over the epochs; None where one is missing."""
    seen = view.reduced("epoch", how)
    clean, poisoned = (seen.number("loss", panel=panel, group=group, **where) for group in GROUPS)
    return None if math.isnan(clean + poisoned) else (clean, poisoned)


def _point(found: tuple[float, float] | None, holds: Callable[[float, float], bool], **where: float) -> Point:
    if found is None:
        return Point("absent", "", where)
    clean, poisoned = found
    return Point("true" if holds(clean, poisoned) else "false", f"{poisoned:.2f} against {clean:.2f}", where)


def natural_gap(view: View) -> list[Point]:
    many, few = (_losses(view, "mean", "plain", poisoning_rate=rate) for rate in (0.1, 0.01))
    gap = None if many is None or few is None else (many[0] - many[1], few[0] - few[1])
    return [_point(gap, lambda at_10, at_1: at_10 > 2 * max(at_1, 0.0))]


def adversarial_gap(view: View) -> list[Point]:
    return [
        _point(_losses(view, "last", "ifgsm", poisoning_rate=at), lambda clean, poisoned: poisoned < clean / 2, rate=at)
        for at in (0.1, 0.01)
    ]


def stays_out(view: View) -> list[Point]:
    return [_point(_losses(view, "last", "plain"), lambda clean, poisoned: poisoned > 2 * clean)]


def both_rise(view: View) -> list[Point]:
    found = []
    for metric in ("acc", "ra"):
        first, last = (view.reduced("epoch", how).number(metric, panel="accuracy") for how in ("first", "last"))
        state: State = "absent" if math.isnan(first + last) else "true" if last > first else "false"
        found.append(Point(state, "" if state == "absent" else f"{first:.1f} to {last:.1f}", {"metric": metric}))
    return found


FIGURE_8 = (
    Claim("natural-gap", "The natural loss gap is there at 10 % and disappears at 1 %.", "Sec. 5.1",
          Check("clean minus poisoned loss, mean over the epochs: at 1 % less than half of that at 10 %", natural_gap)),
    Claim("adversarial-gap", "The adversarial loss of poison is low at both rates.", "Sec. 5.1",
          Check("after the last epoch below half of that of clean samples", adversarial_gap)),
)  # fmt: skip
FIGURE_9 = (
    Claim("sce-spreads", "SCE makes two clusters where CE is spread: more of its variance lies between the groups.",
          "Sec. 5.2", change("between", "panel", "ce", "sce", ">")),
    Claim("sce-ranks", "SCE ranks poison better than CE (it cannot: one is an increasing function of the other).",
          "suggested by Sec. 5.2", change("separation", "panel", "ce", "sce", ">", 0.1)),
)  # fmt: skip
FIGURE_10 = (
    Claim("stays-out", "The loss of poison stays high.", "Sec. 5.3",
          Check("after the last epoch more than twice that of clean samples", stays_out)),
    Claim("both-rise", "ACC and RA increase with the training.", "Sec. 5.3",
          Check("the last epoch above the first", both_rise)),
)  # fmt: skip
FIGURE_11 = tuple(
    Claim(key, words, "Sec. 6.2", every("separation", "<", HALF, panel=panel, attack=BOTH))
    for key, words, panel in (
        ("high-loss", "After A-ABL poison has a higher loss than clean samples, in most pairs of them.", "plain"),
        ("high-adversarial-loss", "Under perturbation too.", "ifgsm"),
    )
)
