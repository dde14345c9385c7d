"""What a reproduced number says about a printed one. Every rule on numbers stands in this module.

`agrees`, `differs`; `undecided`: it was run, but what would decide is missing, closed (see `gates`) or within the
spread of the seeds; `not comparable`: no rule can compare them; `not run`.

The profile says how strict the comparison can be (`verdict` in its TOML file):

- `none` (smoke, demo): nothing is compared. Toy images say nothing about a paper.
- `order` (laptop): smaller data, model and schedule move every decimal, so only thresholds and orderings count.
    - ASR: printed low (<= 10) agrees with reproduced low, printed high (>= 50) with reproduced high; a printed
      value in between agrees within 20 points; undecided within the seeds' spread of the bound. Without a defense,
      where at least 85 is printed, at least 85 agrees and less than 50 differs.
    - ACC of a defense: the drop against the undefended model under the same attack, seed by seed, is of the same size
      as the printed drop: up to a margin of 5 points, up to half of the ACC, or more (a model that names few classes);
      undecided where it lies within the seeds' spread of one of these bounds.
    - ACC of an undefended model: it lies within 5 points of the undefended model trained without attack at the
      same profile (the printed number takes no part: its level belongs to the full model and data); that model itself
      is compared with nothing.
    - DER: printed high (>= 85) agrees with reproduced high, printed low (<= 75) with reproduced low; a printed value in
      between agrees within 10 points; undecided within the seeds' spread of the bound. The bounds follow from those of
      its parts: an attack of 85 % that falls to 10 % and costs 5 points of ACC leaves 85; an attack of 100 % that stays
      at 50 % leaves 75.
    - RA: the share of the ACC that survives the perturbation, within 10 percent of the ACC.
    - gamma, the share of the training set that is kept: within 10 points.
    - rho_vul, the share of poison in what is kept: on the same side of 1 %, where a backdoor begins.
    - clean_precision: on the same side of 99 %; poison_precision: on the same side of 50 %.
    - counts (they grow with the training set, or are settings) and times are not comparable.
- `numbers` (gpu, paper): ACC within 2 points; ASR within 5 points, or both <= 5, or both >= 95; DER within 3.5 points,
  half of what its two parts may differ together; RA within 5 points; gamma within 10 points; rho_vul within 1 point;
  clean_precision within 0.5 points; poison_precision within 5 points; counts within a factor of 2, or both <= 10; times
  within a factor of 2.
- `correct` (was the target label found: 1 or 0) agrees, in both modes, if most seeds say what is printed.

In both modes a defended ASR that is not high, and every DER, is undecided while its gate is closed, and so is what a
method found of the poison (`OF_POISON`) where the attack did not take; an ASR that is not low counts only where it
exceeds, by more than the spread, the share of clean images of other classes that are called the target.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from defenselib.errors import check_choice
from defenselib.plots import words

AGREES, DIFFERS, UNDECIDED = "agrees", "differs", "undecided"
NOT_COMPARABLE, NOT_RUN = "not comparable", "not run"
VERDICTS = (AGREES, DIFFERS, UNDECIDED, NOT_COMPARABLE, NOT_RUN)
MODES = ("none", "order", "numbers")

ASR_LOW, ASR_HIGH, ASR_MIDDLE = 10.0, 50.0, 20.0  # order: thresholds, and the tolerance between them (points)
TOOK = 85.0  # order: the undefended ASR from which an attack took (percent)
ACC_MARGIN = 5.0  # order: margin of the drop, and of the undefended model against no attack (points)
ACC_HALF = 0.5  # order: of the undefended model's, a drop beyond which is another matter than a price
ACC_CLOSE, ASR_CLOSE = 2.0, 5.0  # numbers: points
ASR_GONE, ASR_FULL = 5.0, 95.0  # numbers: both below, or both above, agree
DER_HIGH, DER_LOW, DER_MIDDLE = 85.0, 75.0, 10.0  # order: see above (points)
DER_CLOSE = (ACC_CLOSE + ASR_CLOSE) / 2  # numbers
# What a method found of the poison; nothing can be said of it where the attack never took. That it names the right
# target is none of these: who names it has found it, however weak the attack.
OF_POISON = {"rho_vul", "poison_precision", "poison", "hard", "resists", "caught", "separation", "apart"}
OF_POISON |= {"gathered", "between", "below", "below_cut", "entropy"}
RA_SHARE, RA_CLOSE = 10.0, 5.0  # order: percent of the ACC; numbers: points
GAMMA_NEAR, GAMMA_CLOSE = 10.0, 10.0  # order, numbers: points
POISON_LEFT, POISON_CLOSE = 1.0, 1.0  # rho_vul. order: threshold in percent; numbers: points
CLEAN_PURE, CLEAN_CLOSE = 99.0, 0.5  # clean_precision, the same
MOSTLY_POISON, SUSPECT_CLOSE = 50.0, 5.0  # poison_precision, the same
COUNT_FACTOR, COUNT_FEW = 2.0, 10.0  # numbers
TIME_FACTOR = 2.0
TIMES = ("seconds", "hours")
WITHIN = "within the spread of {:.1f} points"
# By how much chance alone moves a number where no cell of the profile has three seeds to tell (points).
ASSUMED_SPREAD = {"acc": ACC_CLOSE, "asr": ASR_CLOSE, "ra": RA_CLOSE, "der": DER_CLOSE}


@dataclass(frozen=True)
class Comparison:
    """One printed number, one reproduced number, and what the rules may need beside them (percent; NaN: missing).

    attack: "none" where nothing was poisoned. printed_undefended: ACC of the undefended model under the same attack as
    printed; drop: ACC that the defense costs,
    over the seeds that both have. no_attack: reproduced ACC of the undefended model that was trained without attack.
    acc, printed_acc: of the same cell, beside an RA. gate: why a low ASR or a DER does not count. false_target: share
    of clean images of other classes that are called the target. spread: what chance alone moves.
    """

    metric: str
    defense: str
    published: float
    reproduced: float
    attack: str = ""
    printed_undefended: float = math.nan
    drop: float = math.nan
    no_attack: float = math.nan
    acc: float = math.nan
    printed_acc: float = math.nan
    gate: str = ""
    false_target: float = math.nan
    spread: float = 0.0


Judgement = tuple[str, str]  # verdict, and why it is neither `agrees` nor `differs`
Rule = Callable[[Comparison], Judgement]


def judge(case: Comparison, mode: str) -> Judgement:
    """The verdict, with its reason where it is neither `agrees` nor `differs`."""
    check_choice("verdict mode", mode, MODES)
    if math.isnan(case.reproduced):
        return NOT_RUN, "no number to compare"
    if mode == "none":
        return NOT_COMPARABLE, "drawn images and a small network say nothing about a paper"
    if math.isnan(case.published):
        return NOT_COMPARABLE, "the paper prints no number here"
    rule = RULES[mode].get(case.metric)
    if rule is None:
        named = "times are" if case.metric in TIMES else f"{words.value(case.metric, 'metric')} is"
        return NOT_COMPARABLE, f"{named} not comparable at this profile"
    if case.gate and (case.metric in ("der", *OF_POISON) or (case.metric == "asr" and case.reproduced < ASR_HIGH)):
        return UNDECIDED, case.gate
    why = blind(case.reproduced, case.false_target, case.spread) if case.metric == "asr" else ""
    return (UNDECIDED, why) if why else rule(case)


def blind(asr: float, false_target: float, spread: float) -> str:
    """Why an ASR that is not low tells nothing of the trigger: as many clean images of other classes are called the
    target, within the spread. Empty if it does."""
    alike = ASR_LOW < asr <= false_target + spread
    return f"{false_target:.1f} % of clean images of other classes are called the target as well" if alike else ""


def standing(asr: float, gate: str, false_target: float, spread: float) -> tuple[str, str]:
    """What a defended ASR says by itself, as claims that every ASR is low take it: `asr_class`, or `open` with the
    reason. A low one counts with an open gate alone."""
    why = gate if asr <= ASR_LOW else blind(asr, false_target, spread)
    why = why or near(asr, ASR_LOW, spread)
    return ("open", why) if why else (asr_class(asr), "")


def asr_class(value: float) -> str:
    """`low` (<= 10 %), `high` (>= 50 %) or `middle`."""
    return "low" if value <= ASR_LOW else "high" if value >= ASR_HIGH else "middle"


def _said(agreed: bool) -> Judgement:
    return (AGREES if agreed else DIFFERS), ""


def _gap(a: float, b: float) -> float:
    # Rounded, so that a printed 94.2 against 89.2 is 5 points and not a little more.
    return round(a - b, 6)


def _asr_order(case: Comparison) -> Judgement:
    printed, found = case.published, case.reproduced
    if case.defense == "none" and printed >= TOOK:
        if ASR_HIGH <= found < TOOK:
            return UNDECIDED, f"it reaches {found:.1f} %, not the {TOOK:g} from which an attack took"
        return _said(found >= TOOK)
    if asr_class(printed) == "middle":
        return _beyond(case, abs(_gap(printed, found)) <= ASR_MIDDLE, printed - ASR_MIDDLE, printed + ASR_MIDDLE)
    return _beyond(case, asr_class(printed) == asr_class(found), ASR_LOW if printed <= ASR_LOW else ASR_HIGH)


def _beyond(case: Comparison, agreed: bool, *bounds: float) -> Judgement:
    """What a number says by the side of a bound on which it lies, unless that is within the seeds' spread of it."""
    for bound in bounds:
        if why := near(case.reproduced, bound, case.spread):
            return UNDECIDED, f"it lies {why}"
    return _said(agreed)


def near(value: float, bound: float, spread: float) -> str:
    """In words, that a number in percent lies within the spread of a bound (see `within`); empty if it does not."""
    spread = within(value, bound, spread)
    return f"{WITHIN.format(spread)} of {bound:g}" if spread else ""


def within(value: float, bound: float, spread: float) -> float:
    """The spread within which a number in percent lies of a bound, 0 if it does not. Towards 0 and 100 chance moves a
    number less: at most halfway from the bound to there counts."""
    spread = min(spread, (100.0 - bound if value > bound else bound) / 2)
    return spread if 0 < abs(_gap(value, bound)) < spread else 0.0


def _acc_order(case: Comparison) -> Judgement:
    if case.defense == "none":
        if case.attack == "none":
            return NOT_COMPARABLE, "the model that the others are compared with"
        if math.isnan(case.no_attack):
            return UNDECIDED, "needs the undefended model without attack, which was not run"
        return _said(abs(_gap(case.reproduced, case.no_attack)) <= ACC_MARGIN)
    if math.isnan(case.drop):
        return UNDECIDED, "needs the undefended model under the same attack and with the same seed, which was not run"
    if math.isnan(case.printed_undefended):
        return NOT_COMPARABLE, "the paper prints no undefended model to compare the drop with"
    half = ACC_HALF * (case.reproduced + case.drop)
    for bound, named in ((ACC_MARGIN, f"the margin of {ACC_MARGIN:g}"), (half, f"half of it, {half:.1f}")):
        if abs(_gap(case.drop, bound)) < case.spread:
            return UNDECIDED, f"it costs {case.drop:.1f} points of ACC, within the spread of {named}"
    printed = _size(_gap(case.printed_undefended, case.published), ACC_HALF * case.printed_undefended)
    return _said(printed == _size(case.drop, half))


def _size(drop: float, half: float) -> int:
    """Of a drop of the ACC: 0 up to the margin, 1 up to half of it, 2 beyond."""
    return sum(_gap(drop, bound) > 0 for bound in (ACC_MARGIN, half))


def _asr_numbers(case: Comparison) -> Judgement:
    low, high = sorted((case.published, case.reproduced))
    return _said(_gap(high, low) <= ASR_CLOSE or high <= ASR_GONE or low >= ASR_FULL)


def _der_order(case: Comparison) -> Judgement:
    printed, found = case.published, case.reproduced
    if DER_LOW < printed < DER_HIGH:
        return _beyond(case, abs(_gap(printed, found)) <= DER_MIDDLE, printed - DER_MIDDLE, printed + DER_MIDDLE)
    if printed >= DER_HIGH:
        return _beyond(case, found >= DER_HIGH, DER_HIGH)
    return _beyond(case, found <= DER_LOW, DER_LOW)


def _ra_order(case: Comparison) -> Judgement:
    if math.isnan(case.acc) or math.isnan(case.printed_acc):
        return NOT_COMPARABLE, "needs the ACC beside it, printed and reproduced"
    shares = 100 * case.published / case.printed_acc, 100 * case.reproduced / case.acc
    return _said(abs(_gap(*shares)) <= RA_SHARE)


def _within(points: float) -> Rule:
    return lambda case: _said(abs(_gap(case.published, case.reproduced)) <= points)


def _both_reach(threshold: float) -> Rule:
    return lambda case: _said((case.published >= threshold) == (case.reproduced >= threshold))


def _both_exceed(threshold: float) -> Rule:
    return lambda case: _said((case.published > threshold) == (case.reproduced > threshold))


def _within_factor(factor: float) -> Rule:
    def rule(case: Comparison) -> Judgement:
        low, high = sorted((case.published, case.reproduced))
        return _said(high == low or (low > 0 and high / low <= factor))

    return rule


def _count_numbers(case: Comparison) -> Judgement:
    if max(case.published, case.reproduced) <= COUNT_FEW:
        return _said(True)
    return _within_factor(COUNT_FACTOR)(case)


RULES: dict[str, dict[str, Rule]] = {
    "none": {},
    "order": {
        "acc": _acc_order,
        "asr": _asr_order,
        "der": _der_order,
        "ra": _ra_order,
        "gamma": _within(GAMMA_NEAR),
        "rho_vul": _both_exceed(POISON_LEFT),
        "clean_precision": _both_reach(CLEAN_PURE),
        "poison_precision": _both_reach(MOSTLY_POISON),
        "correct": _both_exceed(0.5),
    },
    "numbers": {
        "acc": _within(ACC_CLOSE),
        "asr": _asr_numbers,
        "der": _within(DER_CLOSE),
        "ra": _within(RA_CLOSE),
        "gamma": _within(GAMMA_CLOSE),
        "rho_vul": _within(POISON_CLOSE),
        "clean_precision": _within(CLEAN_CLOSE),
        "poison_precision": _within(SUSPECT_CLOSE),
        "count": _count_numbers,
        "correct": _both_exceed(0.5),
        **dict.fromkeys(TIMES, _within_factor(TIME_FACTOR)),
    },
}
