"""The rules of verdicts a second time, as the text above them states them, in exact numbers; on many drawn cases both
must say the same. What the bounds are stands in `test_verdict`, case by case."""

from __future__ import annotations

import math
from fractions import Fraction
from random import Random

import pytest

from defenselib.papers.kit import verdict as rules
from defenselib.papers.kit.verdict import Comparison, judge, standing

AT = (0.0, 5.0, 10.0, 20.0, 50.0, 75.0, 85.0, 95.0, 100.0)
OFF = (-12.0, -5.0, -3.5, -2.0, -0.1, 0.0, 0.1, 2.0, 3.5, 5.0, 12.0)
SHUT = "the target class is gone"
NAN = math.nan


def exact(value: float) -> Fraction | None:
    return None if math.isnan(value) else Fraction(str(value))


def beside(value: Fraction, bound: Fraction | float, spread: Fraction) -> bool:
    """Not on the bound, and no further from it than chance reaches, which on neither side passes the middle between
    the bound and the end of the scale."""
    bound = Fraction(str(bound)) if isinstance(bound, float) else bound
    end = Fraction(100) if value > bound else Fraction(0)
    return value != bound and abs(value - bound) < spread and abs(value - bound) < abs(end - bound) / 2


def blind(asr: Fraction, false_target: Fraction | None, spread: Fraction) -> bool:
    return asr > rules.ASR_LOW and false_target is not None and asr - false_target <= spread


def side(value: Fraction, low: float, high: float) -> str:
    return "low" if value <= low else "high" if value >= high else "between"


def by_sides(printed: Fraction, found: Fraction, low: float, high: float, apart: float, spread: Fraction) -> str:
    """Printed low with low, high with high, a value between within so many points."""
    kind = side(printed, low, high)
    if kind == "between":
        bounds, same = (printed - Fraction(apart), printed + Fraction(apart)), abs(printed - found) <= apart
    else:
        bounds, same = (Fraction(low if kind == "low" else high),), side(found, low, high) == kind
    if any(beside(found, bound, spread) for bound in bounds):
        return "undecided"
    return "agrees" if same else "differs"


def by_order(case: Comparison) -> str:
    printed, found, spread = exact(case.published), exact(case.reproduced), Fraction(str(case.spread))
    assert printed is not None and found is not None
    counts = case.metric == "der" or (case.metric == "asr" and found < rules.ASR_HIGH)
    if case.gate and counts:
        return "undecided"
    if case.metric == "asr":
        if blind(found, exact(case.false_target), spread):
            return "undecided"
        if case.defense == "none" and printed >= rules.TOOK:
            return "agrees" if found >= rules.TOOK else "differs" if found < rules.ASR_HIGH else "undecided"
        return by_sides(printed, found, rules.ASR_LOW, rules.ASR_HIGH, rules.ASR_MIDDLE, spread)
    if case.metric == "der":
        return by_sides(printed, found, rules.DER_LOW, rules.DER_HIGH, rules.DER_MIDDLE, spread)
    drop, before = exact(case.drop), exact(case.printed_undefended)
    if drop is None:
        return "undecided"
    if before is None:
        return "not comparable"
    # Up to the margin, up to half of the ACC, or more.
    whole = found + drop
    if any(abs(drop - bound) < spread for bound in (Fraction(rules.ACC_MARGIN), whole / 2)):
        return "undecided"
    lost = [sum(step > bound for bound in (rules.ACC_MARGIN, all_ / 2)) for step, all_ in
            ((before - printed, before), (drop, whole))]  # fmt: skip
    return "agrees" if lost[0] == lost[1] else "differs"


def by_numbers(case: Comparison) -> str:
    printed, found, spread = exact(case.published), exact(case.reproduced), Fraction(str(case.spread))
    assert printed is not None and found is not None
    if case.gate and (case.metric == "der" or (case.metric == "asr" and found < rules.ASR_HIGH)):
        return "undecided"
    if case.metric == "asr" and blind(found, exact(case.false_target), spread):
        return "undecided"
    points = {"acc": rules.ACC_CLOSE, "asr": rules.ASR_CLOSE, "der": rules.DER_CLOSE}[case.metric]
    both = {printed, found}
    alike = case.metric == "asr" and (max(both) <= rules.ASR_GONE or min(both) >= rules.ASR_FULL)
    return "agrees" if alike or abs(printed - found) <= points else "differs"


def cases(metric: str, n: int = 1500) -> list[Comparison]:
    """Numbers on and around the bounds, with every circumstance that a rule may ask for."""
    draw = Random(metric)

    def number() -> float:
        return round(min(100.0, max(0.0, draw.choice(AT) + draw.choice(OFF))), 1)

    def drop() -> float:
        return draw.choice((NAN, round(draw.choice((0.0, 5.0, 30.0, 40.0)) + draw.choice(OFF), 1)))

    return [
        Comparison(
            metric,
            draw.choice(("none", "asd")) if metric == "asr" else "asd",
            number(),
            number(),
            printed_undefended=draw.choice((NAN, number())),
            drop=drop() if metric == "acc" else NAN,
            gate=draw.choice(("", "", SHUT)),
            false_target=draw.choice((NAN, float(round(number())))),
            spread=draw.choice((0.0, 2.0, 5.0, 20.0)),
        )
        for _ in range(n)
    ]


@pytest.mark.parametrize("metric", ["asr", "acc", "der"])
@pytest.mark.parametrize(("mode", "again"), [("order", by_order), ("numbers", by_numbers)])
def test_a_second_reading_of_the_rules_comes_to_the_same_verdicts(metric: str, mode: str, again) -> None:
    drawn = cases(metric)
    other = [(case, said, again(case)) for case in drawn if (said := judge(case, mode)[0]) != again(case)]
    assert not other, other[0]
    assert {again(case) for case in drawn} >= {"agrees", "differs"}


def test_a_reason_is_given_where_nothing_is_decided_and_there_alone() -> None:
    for metric in ("asr", "acc", "der"):
        for case in cases(metric, 300):
            for mode in ("order", "numbers"):
                said, why = judge(case, mode)
                assert bool(why) == (said not in ("agrees", "differs")), case


def test_what_an_asr_says_by_itself() -> None:
    seen = set()
    for case in cases("asr"):
        asr, spread = exact(case.reproduced), Fraction(str(case.spread))
        assert asr is not None
        closed = case.gate if asr <= rules.ASR_LOW else blind(asr, exact(case.false_target), spread)
        open_ = closed or beside(asr, rules.ASR_LOW, spread)
        state = "open" if open_ else {"between": "middle"}.get(kind := side(asr, 10.0, 50.0), kind)
        said, why = standing(case.reproduced, case.gate, case.false_target, case.spread)
        assert (said, bool(why)) == (state, said == "open"), case
        seen.add(said)
    assert seen == {"open", "low", "middle", "high"}
