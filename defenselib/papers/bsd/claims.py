"""BSD's claims, by exhibit (Shen et al., ICML 2025)."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from defenselib.papers.kit.claims import Claim, Point, State, Statement
from defenselib.papers.kit.compound import Check, along, both, most, one
from defenselib.papers.kit.gates import ALIVE, DEAD
from defenselib.papers.kit.statements import change, every, leads, low
from defenselib.papers.kit.verdict import ACC_CLOSE, ACC_MARGIN, ASR_FULL, ASR_HIGH, DER_HIGH, WITHIN, blind
from defenselib.papers.kit.view import View, grouped, other_than

BASELINES = ("fp", "nad", "abl", "dbd", "asd")
NEWER = ("vab", "dst", "dbr")
NAMES = {"cifar10": "CIFAR-10", "gtsrb": "GTSRB", "imagenet-30": "the ImageNet subset"}
CLEAN_LABEL = ("clb", "sig", "narcissus")
POISON_LABEL = ("badnets", "blend", "wanet")
ADVANCE = 20.0  # points of DER, Abstract
COMPARABLE = 1.2  # cost: the printed ratios to ASD are 0.65, 1.11 and 0.76
CLEAR = 80.0  # percent of pairs in the right order: a separation that is easily seen
SMALL_LOSS, LARGE_LOSS = 1.0, 5.0  # of a symmetric cross-entropy between 0 and 11
MOST_ASR = 1.7  # the largest that the paper prints for BSD as it is, on CIFAR-10 (Table 4)
CLOSE = (ACC_MARGIN, 0.7)  # points of DER: the printed gaps are 0.7, 0.2 and 0.2
DEFAULT: dict[str, Any] = {"setting": "default"}
ADVISED = {"alpha": (0.3, 0.4, 0.5, 0.6, 0.7), "beta": (0.1, 0.2, 0.3)}  # what Table 7 has of Sec. 5.7's range


def _low(largest: float, source: str) -> Claim:
    """largest: the ASR that the exhibit prints at most."""
    return Claim("low", "Under BSD every ASR is low.", source, every("asr", "<=", low(largest), defense="bsd"))


def _keeps(loss: float, source: str) -> Claim:
    """loss: the points of ACC that BSD costs at most in print."""
    cost = change("acc", "defense", "none", "bsd", ">=", (-ACC_MARGIN, -loss))
    return Claim("keeps-acc", "BSD keeps the ACC of the undefended model.", source, cost)


def _smaller(**where: Any) -> Statement:
    """In a clear majority of pairs the poisoned sample has the smaller value."""
    return every("separation", "<=", 100 - CLEAR, **where)


def _at_paper(statement: Statement) -> Check:
    """Times are compared where schedules are the paper's."""

    def find(view: View) -> list[Point]:
        points = statement.points(view)
        if view.profiles == {"paper"}:
            return points
        return [replace(point, state="absent", value="", why="times count at profile paper") for point in points]

    return Check(f"{statement.rule}, at profile paper", find)


def _ratios(view: View) -> list[Point]:
    """BSD's hours over ASD's on each data set."""
    points, hours = [], {(row["dataset"], row["defense"]): row["reproduced"] for row in view.select("hours")}
    for dataset in dict.fromkeys(dataset for dataset, _ in hours):
        ratio = hours[dataset, "bsd"] / hours[dataset, "asd"]
        state: State = "absent" if math.isnan(ratio) else "true" if ratio <= COMPARABLE else "false"
        points.append(Point(state, "" if state == "absent" else f"{ratio:.2f}", {"dataset": dataset}))
    return points


ASKED = ("reproduced", "false_target", "spread")


def _ranges(view: View) -> list[Point]:
    """By how much the ASR moves over the settings, under each attack; not over all of them, it may still move more."""
    points = []
    for rows in grouped(view.select("asr"), ["attack"]):
        # Neither an attack that did not take nor a model that calls everything the target tells what a setting does.
        told = [row for row in rows if not (row["gate"] or blind(*(row[name] for name in ASKED)))]
        ran = [row["reproduced"] for row in told if not math.isnan(row["reproduced"])]
        span = max(ran) - min(ran) if ran else 0.0
        spread = max(row["spread"] for row in rows)
        state: State = "true" if span >= ADVANCE else "absent" if len(ran) < len(rows) else "false"
        why = WITHIN.format(spread) if ran and abs(span - ADVANCE) < spread else ""
        where = {"attack": rows[0]["attack"]}
        points.append(Point("open" if why else state, f"{span:.1f}" if ran else "", where, why))
    return points


# fmt: off
BEST_CELLS = Claim(
    "best-cells", "BSD's DER is the best, or as good as the best, in every cell.", "Tables 1 to 3",
    leads("der", "bsd", BASELINES))
OVER_20 = Claim(
    "over-20", "BSD is far above the existing defenses in average DER.", "Abstract",
    leads("der", "bsd", BASELINES, margin=ADVANCE, attack="average"))
TABLE_1 = (
    *(Claim(f"leads-{dataset}", f"On {name} BSD has the highest average DER.", "Sec. 5.2",
            leads("der", "bsd", BASELINES, dataset=dataset, attack="average")) for dataset, name in NAMES.items()),
    Claim("over-asd", "BSD surpasses ASD in general: its average DER is not below, on every data set.", "Sec. 5.2",
          leads("der", "bsd", ("asd",), attack="average")),
    BEST_CELLS,
    _low(1.1, "Sec. 5.2"),
    _keeps(0.3, "Sec. 5.2"),
    Claim("dbd", "On CIFAR-10 DBD has a slight edge in ASR, and a lower ACC.", "Sec. 5.2",
          both(change("asr", "defense", "dbd", "bsd", ">=", dataset="cifar10"),
               change("acc", "defense", "dbd", "bsd", ">", dataset="cifar10"))),
    Claim("dbd-average", "On average over attacks and data sets DBD falls behind BSD, in ASR and in ACC.", "Sec. 5.2",
          along("dataset", "mean", along("attack", "mean", both(
              change("asr", "defense", "dbd", "bsd", "<"), change("acc", "defense", "dbd", "bsd", ">"))))),
    Claim("abl", "On CIFAR-10 ABL underfits under WaNet, and not under the other attacks.", "Sec. 5.2",
          both(change("acc", "defense", "none", "abl", "<", -ACC_MARGIN, dataset="cifar10", attack="wanet"),
               change("acc", "defense", "none", "abl", ">=", -ACC_MARGIN, dataset="cifar10",
                      attack=other_than("wanet")))),
    Claim("abl-close", "ABL comes close to BSD on CIFAR-10 under BadNets, on GTSRB under BadNets, Blend.", "Sec. 5.2",
          both(*(change("der", "defense", "abl", "bsd", op, bound, **where)
                 for op, bound in (("<=", CLOSE), (">=", (-CLOSE[0], -CLOSE[1])))
                 for where in ({"dataset": "cifar10", "attack": "badnets"},
                               {"dataset": "gtsrb", "attack": ("badnets", "blend")})))),
    Claim("repairs", "BSD outperforms FP and NAD throughout: higher ACC, no higher ASR.", "Sec. 5.2",
          both(*(change("acc", "defense", name, "bsd", ">") for name in ("fp", "nad")),
               *(change("asr", "defense", name, "bsd", "<=") for name in ("fp", "nad")))),
    OVER_20,
)
TABLE_2 = (
    Claim("leads", "BSD has the best average DER.", "Sec. 5.2", leads("der", "bsd", BASELINES, attack="average")),
    BEST_CELLS,
    _low(1.2, "Sec. 5.2"),
    Claim("dbd-fails", "DBD fails on the three clean-label attacks.", "Sec. 5.2",
          every("asr", ">=", ASR_HIGH, defense="dbd", attack=CLEAN_LABEL)),
    Claim("dbd-worst", "Of all defenses DBD suffers most from the clean-label attacks.", "Sec. 5.2",
          leads("der", "dbd", (*BASELINES, "bsd"), lowest=True, attack=CLEAN_LABEL)),
    OVER_20,
)
TABLE_3 = (
    Claim("leads", "With MobileNet-v2 too BSD has the best average DER.", "Sec. 5.3",
          leads("der", "bsd", BASELINES, attack="average")),
    BEST_CELLS,
    _low(0.6, "Table 3"),
    _keeps(4.0, "Table 3"),
    Claim("asd-fails", "ASD fails with MobileNet-v2.", "Table 3", every("asr", ">=", ASR_HIGH, defense="asd")),
)
TABLE_4 = (
    Claim("every-target", "Whatever the target, BSD's performance is high.", "Sec. 5.5",
          both(every("asr", "<=", low(MOST_ASR)), every("der", ">=", (DER_HIGH, 98.2)))),
)
TABLE_5 = (
    Claim("cost", "BSD's cost is comparable to ASD's or lower.", "Sec. 5.6",
          _at_paper(Check(f"BSD's hours are at most {COMPARABLE:g} times ASD's", _ratios))),
    Claim("dbd-slowest", "DBD is the slowest of the three.", "Table 5",
          _at_paper(leads("hours", "dbd", ("asd", "bsd")))),
)
TABLE_6 = (
    Claim("init", "Without the initialisation by OSS and ALS the backdoor is back.", "Sec. 5.7",
          both(every("asr", "<=", low(0.9), **DEFAULT), every("asr", ">=", ASR_HIGH, without="init"))),
    Claim("comp", "Without class completion the ACC falls.", "Sec. 5.7",
          change("acc", "", DEFAULT, {"without": "comp"}, "<")),
    Claim("drop", "Selective drop lowers the ASR further, and so raises the DER.", "Sec. 5.7",
          both(change("asr", "", DEFAULT, {"without": "drop"}, ">"),
               change("der", "", DEFAULT, {"without": "drop"}, "<"))),
)
TABLE_7 = (
    Claim("robust", "Within the advised range of alpha and beta BSD is robust against all attacks.", "Sec. 5.7",
          both(every("asr", "<=", low(1.8), **ADVISED), every("der", ">=", (DER_HIGH, 97.3), **ADVISED))),
    Claim("large-alpha", "A large alpha costs ACC under every attack.", "Table 7",
          change("acc", "", DEFAULT, {"alpha": 0.9, "beta": 0.2}, "<")),
    Claim("large-beta", "A beta beyond the advised range costs DER under every attack.", "Sec. 5.7, Table 7",
          both(change("der", "", DEFAULT, {"alpha": 0.6, "beta": 0.5}, "<"),
               change("der", "beta", 0.2, 0.7, "<", alpha=0.7))),
)
TABLE_8 = (
    Claim("early", "After 5 epochs there is no poison among the isolated, and the vote is wrong.", "Table 8",
          both(every("count", "<=", 0.0, warmup_epochs=5.0), every("correct", "<", 0.5, warmup_epochs=5.0))),
    Claim("usual", "After 15 and 25 epochs the vote is right.", "App. D.3",
          every("correct", ">", 0.5, warmup_epochs=(15.0, 25.0))),
    Claim("later", "Longer warm-ups isolate less poison than one of 15 epochs.", "Table 8",
          both(*(change("count", "warmup_epochs", 15.0, longer, "<") for longer in (35.0, 45.0)))),
)
TABLE_9 = (
    Claim("leads", "BSD has a better average DER than V&B, D-ST and D-BR.", "App. D.4",
          leads("der", "bsd", NEWER, attack="average")),
    Claim("best-cells", "BSD's DER is above theirs under every attack.", "Table 9", leads("der", "bsd", NEWER)),
    Claim("vab-next", "Of these three V&B is the most competitive against poison-label attacks.", "App. D.4",
          leads("der", "vab", NEWER, attack=POISON_LABEL)),
    Claim("vab-sig", "V&B struggles with SIG.", "App. D.4", every("asr", ">=", ASR_HIGH, defense="vab", attack="sig")),
    Claim("dst-sig", "D-ST fails on SIG.", "Table 9", every("asr", ">=", ASR_HIGH, defense="dst", attack="sig")),
    Claim("fastest", "BSD takes the least time.", "Table 9",
          _at_paper(leads("hours", "bsd", ("vab", "dst"), lowest=True, attack="average"))),
    _low(0.9, "Table 9"),
)
TABLE_10 = tuple(
    Claim(f"clean-{dataset}", f"Nothing poisoned, {NAMES[dataset]}: BSD keeps the ACC, has more than ASD, and fewer "
          "images with the trigger go to the target class than under either.", "App. D.5",
          both(change("acc", "defense", "none", "bsd", ">=", (-ACC_MARGIN, -0.4), dataset=dataset),
               change("acc", "defense", "asd", "bsd", ">", dataset=dataset),
               leads("asr", "bsd", ("none", "asd"), lowest=True, dataset=dataset)))
    for dataset in ("cifar10", "gtsrb")
)
TABLE_11 = (Claim("found", "The target label is found, whichever it is.", "App. D.6", every("correct", ">", 0.5)),)
TABLE_12 = (
    Claim("all-to-all", "BSD brings the ASR down to random prediction, and has a better DER than ASD.", "App. D.8",
          both(every("asr", "<=", (20.0, 10.5), defense="bsd"),
               change("der", "", {"defense": "asd"}, {"defense": "bsd", "stop_at": "T2"}, ">"))),
)
SEARCHES = (
    Claim("sensitive", "The baseline is sensitive to its setting.", "App. D.9",
          one(Check(f"the ASR moves by {ADVANCE:g} points or more over the settings", _ranges))),
)
TEXT_1 = (
    Claim("adaptive", "BSD resists the adaptive attack at both rates.", "App. D.7", every("asr", "<=", low(2.421))),
)

FIGURE_3 = (
    _low(MOST_ASR, "Sec. 5.4"),
    Claim("acc", "Away from the usual rate ASD's ACC is conspicuously below BSD's.", "Sec. 5.4",
          change("acc", "defense", "asd", "bsd", ">", (ACC_MARGIN, ACC_CLOSE), rate=other_than(0.05))),
)
FIGURE_5 = (
    Claim("overfits", "Poison gathers in the pool until the backdoor succeeds (I).", "App. C.3",
          along("epoch", "last", both(change("poison", "without", "nothing", "init", ">"),
                                      every("asr", ">=", (ASR_HIGH, ASR_FULL), without="init")))),
    Claim("underfits", "A hard class drops out of the pool (II).", "App. C.3",
          along("epoch", "last", change("rarest", "without", "nothing", "comp", "<"))),
    Claim("unpredicted", "The model cannot predict a class that dropped out, and with class completion it can (II).",
          "App. C.3, Sec. 5.7", both(every("lowest_class", "<", DEAD, without="comp"),
                                     every("lowest_class", ">=", ALIVE, without="nothing", defense="bsd"))),
    Claim("abl", "Under WaNet ABL collapses: certain classes are close to 0.", "Sec. 5.2",
          every("lowest_class", "<", DEAD, defense="abl")),
)
FIGURE_6 = (
    Claim("fewer", "BSD's clean pool holds less poison than ASD's, in most epochs and summed over training.",
          "App. D.1", both(along("epoch", "last", change("sum", "defense", "asd", "bsd", "<")),
                           most(change("count", "defense", "asd", "bsd", "<")))),
)
FIGURE_7 = (
    Claim("a", "Under g poison has the smaller loss.", "Fig. 7a", _smaller(panel="a")),
    Claim("b", "Poison is nearer to the known classes than clean samples of the target.", "Fig. 7b",
          _smaller(panel="b")),
    Claim("c", "Poison stands out by the discrepancy of the losses.", "Fig. 7c", _smaller(panel="c")),
    Claim("d", "In the end clean samples have low losses, and poison has high ones.", "App. D.1",
          both(every("separation", ">=", CLEAR, panel="d"),
               every("median", "<=", SMALL_LOSS, panel="d", group="clean"),
               every("median", ">=", LARGE_LOSS, panel="d", group="poisoned"))),
)
FIGURE_8 = (
    Claim("usual", "At the usual length all three distances separate.", "App. D.2", _smaller(length=1.0)),
    Claim("short", "A short warm-up separates worse.", "App. D.2",
          both(_smaller(length=1.0, rule="min"), change("separation", "length", 0.25, 1.0, "<", rule="min"))),
    Claim("long", "A warm-up twice as long separates worse by the mean distance.", "App. D.2",
          change("separation", "length", 1.0, 2.0, ">", rule="mean")),
)
FIGURE_9 = (
    Claim("majority", "In the end, and after most epochs, the majority is for the target, under every attack.",
          "App. D.3", both(along("epoch", "last", every("correct", ">", 0.5)), most(every("correct", ">", 0.5)))),
)
FIGURE_10 = (
    Claim("mostly", "Even with a wrong target most models come out clean.", "App. D.6",
          most(every("asr", "<=", low(MOST_ASR), target=other_than(3)))),
    Claim("dog", "With target 5 (dog) taken for 3 (cat) the defense fails.", "App. D.6",
          every("asr", ">=", ASR_HIGH, target=5)),
)
FIGURE_11 = (Claim("separates", "Under all-to-all too clean samples lie farther off.", "App. D.8", _smaller()),)
