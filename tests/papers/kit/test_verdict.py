"""The rules of agreement, case by case by hand."""

from __future__ import annotations

import math

import pytest

from defenselib.errors import UnknownNameError
from defenselib.learning.evaluation import der
from defenselib.papers.kit import verdict
from defenselib.papers.kit.verdict import Comparison, asr_class, judge

NAN = math.nan


def asr(published: float, reproduced: float, mode: str = "order", defense: str = "asd") -> str:
    return judge(Comparison("asr", defense, published, reproduced), mode)[0]


@pytest.mark.parametrize(
    ("published", "reproduced", "verdict"),
    [
        (1.2, 0.0, "agrees"),
        (1.2, 10.0, "agrees"),
        (1.2, 10.1, "differs"),
        (10.0, 9.0, "agrees"),
        (100.0, 50.0, "agrees"),
        (100.0, 49.9, "differs"),
        (77.1, 99.0, "agrees"),
        (1.2, 99.0, "differs"),
        (31.5, 51.5, "agrees"),  # a printed value in between: within 20 points
        (31.5, 11.5, "agrees"),
        (31.5, 51.6, "differs"),
        (31.5, 5.0, "differs"),
    ],
)
def test_asr_by_thresholds(published, reproduced, verdict):
    assert asr(published, reproduced) == verdict


def test_asr_classes():
    assert [asr_class(value) for value in (0, 10, 10.1, 49.9, 50, 100)] == [
        "low",
        "low",
        "middle",
        "middle",
        "high",
        "high",
    ]


@pytest.mark.parametrize(
    ("printed_acc", "acc", "verdict"),
    [
        (93.4, 76.0, "agrees"),  # printed drop 1.5, reproduced drop 4
        (93.4, 75.0, "agrees"),  # exactly the margin
        (93.4, 74.9, "differs"),
        (88.2, 60.0, "agrees"),  # printed drop 6.7, reproduced drop 20
        (84.5, 14.2, "differs"),  # a price of ten points; a model that is left with two classes
        (40.0, 14.2, "agrees"),  # both lose more than half
        (40.0, 60.0, "differs"),
        (88.2, 79.0, "differs"),
        (93.4, 82.0, "agrees"),  # better than undefended
    ],
)
def test_acc_of_a_defense_by_its_drop(printed_acc, acc, verdict):
    case = Comparison("acc", "asd", printed_acc, acc, printed_undefended=94.9, drop=80.0 - acc)
    assert judge(case, "order") == (verdict, "")


@pytest.mark.parametrize(
    ("metric", "defense", "printed", "found", "more", "verdict", "why"),
    [
        ("asr", "vab", 0.6, 9.0, {"spread": 4.0}, "undecided", "within the spread of 4.0 points of 10"),
        ("asr", "vab", 0.6, 12.0, {"spread": 4.0}, "undecided", "of 10"),
        ("asr", "vab", 0.6, 5.9, {"spread": 4.0}, "agrees", ""),
        ("asr", "vab", 0.6, 14.1, {"spread": 4.0}, "differs", ""),
        ("asr", "ft", 97.0, 47.0, {"spread": 4.0}, "undecided", "of 50"),
        ("asr", "ft", 30.0, 12.0, {"spread": 4.0}, "undecided", "of 10"),  # 20 points from what is printed
        ("asr", "vab", 0.6, 4.9, {"spread": 20.0}, "agrees", ""),  # 0 is near: half of the way to it is enough
        ("asr", "vab", 0.6, 29.0, {"spread": 20.0}, "undecided", "of 10"),
        ("asr", "none", 98.3, 74.0, {}, "undecided", "not the 85 from which an attack took"),
        ("asr", "none", 98.3, 86.0, {}, "agrees", ""),
        ("asr", "none", 98.3, 36.0, {}, "differs", ""),
        ("asr", "none", 70.0, 74.0, {}, "agrees", ""),
        ("asr", "aabl", 1.3, 10.8, {"false_target": 10.8}, "undecided", "called the target as well"),
        ("asr", "aabl", 1.3, 19.0, {"false_target": 10.8, "spread": 2.0}, "differs", ""),
        ("der", "vab", 98.9, 84.3, {"spread": 3.5}, "undecided", "of 85"),
        ("der", "vab", 98.9, 81.0, {"spread": 3.5}, "differs", ""),
        ("acc", "none", 95.3, 80.7, {"attack": "none", "no_attack": 80.7}, "not comparable", "compared with"),
        ("count", "none", 50000.0, 20000.0, {}, "not comparable", "not comparable at this profile"),
    ],
)
def test_what_lies_near_a_bound_or_cannot_fail_decides_nothing(metric, defense, printed, found, more, verdict, why):
    said, reason = judge(Comparison(metric, defense, printed, found, **more), "order")
    assert said == verdict and why in reason


def test_a_margin_is_not_missed_by_rounding():
    # 94.2 - 89.2 is a little more than 5 in binary.
    case = Comparison("acc", "asd", 89.2, 75.1, printed_undefended=94.2, drop=80.1 - 75.1)
    assert judge(case, "order")[0] == "agrees"


@pytest.mark.parametrize(("acc", "verdict"), [(75.0, "agrees"), (85.0, "agrees"), (74.9, "differs")])
def test_acc_of_the_undefended_model_against_no_attack(acc, verdict):
    assert judge(Comparison("acc", "none", 94.9, acc, no_attack=80.0), "order")[0] == verdict


@pytest.mark.parametrize(
    ("case", "said", "reason"),
    [
        (Comparison("acc", "none", 94.9, 80.0), "undecided", "needs the undefended model without attack"),
        (Comparison("acc", "asd", 93.4, 80.0), "undecided", "needs the undefended model under the same attack"),
        (Comparison("acc", "asd", 93.4, 80.0, drop=0.0), "not comparable", "prints no undefended model"),
        (Comparison("asr", "asd", NAN, 1.0), "not comparable", "prints no number"),
        (Comparison("asr", "asd", 1.0, NAN), "not run", "no number to compare"),
        (Comparison("seconds", "asd", 4980.0, 500.0), "not comparable", "times are not comparable"),
        (Comparison("property", "asd", 1.0, 1.0), "not comparable", "property is not comparable"),
        (Comparison("ra", "aabl", 45.0, 30.0), "not comparable", "needs the ACC beside it"),
        (Comparison("ra", "aabl", 45.0, 30.0, acc=80.0), "not comparable", "needs the ACC beside it"),
        (Comparison("ra", "aabl", 45.0, 30.0, printed_acc=80.0), "not comparable", "needs the ACC beside it"),
    ],
)
def test_what_is_missing_is_not_guessed(case, said, reason):
    verdict, why = judge(case, "order")
    assert verdict == said
    assert reason in why


@pytest.mark.parametrize(("drop", "said"), [(2.9, "agrees"), (3.1, "undecided"), (6.9, "undecided"), (7.1, "differs")])
def test_a_drop_within_the_spread_of_the_margin_decides_nothing(drop, said):
    case = Comparison("acc", "asd", 93.4, 80.0 - drop, printed_undefended=94.9, drop=drop, spread=2.0)
    assert judge(case, "order")[0] == said


@pytest.mark.parametrize("mode", ["order", "numbers"])
def test_a_closed_gate_credits_no_low_asr_and_no_der(mode):
    closed = {"gate": "the attack reaches 40.0 % without defense"}
    assert judge(Comparison("asr", "asd", 1.0, 1.0, **closed), mode) == ("undecided", closed["gate"])
    assert judge(Comparison("der", "asd", 98.0, 98.0, **closed), mode)[0] == "undecided"
    # What is high in spite of it is high.
    assert judge(Comparison("asr", "asd", 1.0, 80.0, **closed), mode)[0] == "differs"
    assert judge(Comparison("asr", "dbd", 99.0, 98.0, **closed), mode)[0] == "agrees"


def test_a_high_asr_counts_only_above_what_clean_images_reach():
    assert judge(Comparison("asr", "dbd", 99.0, 60.0, false_target=70.0), "order")[0] == "undecided"
    assert judge(Comparison("asr", "dbd", 99.0, 60.0, false_target=10.0), "order")[0] == "agrees"


def test_ra_is_compared_as_a_share_of_the_accuracy():
    """Printed 45 of 80, 56.25 %: 30 of 50 is 60 %, 20 of 50 is 40 %; 37 of 80 is 46.25 %, just within ten."""
    case = {"acc": 50.0, "printed_acc": 80.0}
    assert judge(Comparison("ra", "aabl", 45.0, 30.0, **case), "order")[0] == "agrees"
    assert judge(Comparison("ra", "aabl", 45.0, 20.0, **case), "order")[0] == "differs"
    same = {"acc": 80.0, "printed_acc": 80.0}
    found = [judge(Comparison("ra", "aabl", 45.0, ra, **same), "order")[0] for ra in (37.0, 36.9, 53.0, 53.1)]
    assert found == ["agrees", "differs", "agrees", "differs"]


@pytest.mark.parametrize(
    ("metric", "published", "reproduced", "verdict"),
    [
        ("acc", 93.4, 91.4, "agrees"),
        ("acc", 93.4, 95.4, "agrees"),
        ("acc", 93.4, 91.3, "differs"),
        ("asr", 17.0, 22.0, "agrees"),
        ("asr", 17.0, 22.1, "differs"),
        ("asr", 0.0, 5.0, "agrees"),
        ("asr", 0.0, 5.1, "differs"),
        ("asr", 100.0, 95.0, "agrees"),
        ("asr", 100.0, 94.9, "differs"),
        ("seconds", 100.0, 200.0, "agrees"),
        ("seconds", 100.0, 49.0, "differs"),
        ("hours", 2.0, 4.1, "differs"),
    ],
)
def test_numbers(metric, published, reproduced, verdict):
    assert judge(Comparison(metric, "asd", published, reproduced), "numbers")[0] == verdict


@pytest.mark.parametrize(
    ("metric", "published", "agreeing", "differing"),
    [
        ("der", 99.6, (85.0, 100.0), (84.9, 60.0)),
        ("der", 49.9, (75.0, 0.0), (75.1, 99.0)),
        ("der", 81.4, (91.4, 71.4), (91.5, 71.3)),  # printed in between
        ("gamma", 76.0, (66.0, 86.0), (65.9, 86.1)),
        ("rho_vul", 0.3, (0.0, 1.0), (1.1, 8.0)),
        ("rho_vul", 7.8, (1.1, 20.0), (1.0, 0.0)),
        ("clean_precision", 99.93, (99.0, 100.0), (98.9,)),
        ("poison_precision", 100.0, (50.0,), (49.9,)),
        ("poison_precision", 9.0, (49.9,), (50.0,)),
        ("correct", 1.0, (1.0, 0.67), (0.5, 0.0)),
        ("correct", 0.0, (0.0, 0.5), (0.67,)),
    ],
)
def test_orderings_of_the_other_metrics(metric, published, agreeing, differing):
    said = [judge(Comparison(metric, "asd", published, value), "order")[0] for value in (*agreeing, *differing)]
    assert said == ["agrees"] * len(agreeing) + ["differs"] * len(differing)


@pytest.mark.parametrize(
    ("metric", "published", "agreeing", "differing"),
    [
        ("der", 98.7, (95.2, 100.0), (95.1, 50.0)),
        ("ra", 45.3, (40.3, 50.3), (40.2,)),
        ("gamma", 76.0, (66.0, 86.0), (65.9,)),
        ("rho_vul", 0.3, (0.0, 1.3), (1.4,)),
        ("clean_precision", 99.93, (99.43, 100.0), (99.4,)),
        ("poison_precision", 100.0, (95.0,), (94.9,)),
        ("count", 461.0, (231.0, 922.0), (230.0, 923.0, 0.0)),
        ("count", 0.0, (0.0, 10.0), (11.0,)),
        ("correct", 1.0, (1.0,), (0.0,)),
    ],
)
def test_numbers_of_the_other_metrics(metric, published, agreeing, differing):
    said = [judge(Comparison(metric, "asd", published, value), "numbers")[0] for value in (*agreeing, *differing)]
    assert said == ["agrees"] * len(agreeing) + ["differs"] * len(differing)


def test_the_bounds_of_der_follow_from_those_of_its_parts():
    assert der(80.0, 85.0, 80.0 - verdict.ACC_MARGIN, verdict.ASR_LOW) == verdict.DER_HIGH
    assert der(80.0, 100.0, 80.0, verdict.ASR_HIGH) == verdict.DER_LOW


def test_smoke_never_judges():
    assert judge(Comparison("asr", "asd", 1.0, 1.0), "none")[0] == "not comparable"


def test_unknown_mode():
    with pytest.raises(UnknownNameError, match="did you mean 'order'"):
        judge(Comparison("asr", "asd", 1.0, 1.0), "orders")
