"""Claims as expressions: their outcomes by hand, and properties that no rule may break."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defenselib.papers.kit import frame as frames
from defenselib.papers.kit.claims import FAILS, HOLDS, NOT_RUN, SO_FAR, UNDECIDED, Claim, Evidence
from defenselib.papers.kit.compound import along, both, combined, most, one, one_each
from defenselib.papers.kit.statements import change, every, leads, low
from defenselib.papers.kit.view import other_than

ATTACKS = ("badnets", "blend", "wanet")


def made(rows: list[dict[str, Any]], profile: str = "laptop") -> pd.DataFrame:
    """A frame of rows with reproduced numbers; what a row does not say is usual."""
    usual = {"dataset": "cifar10", "n": 1, "verdict": "", "ran_on": "", "reason": ""}
    found = [{**usual, "by_seed": {}, "sd": math.nan, **row} for row in rows]
    return frames.finish(frames.rows_of(found), found, profile)


def table(numbers: dict[tuple[str, str], float], metric: str = "asr", **more: Any) -> pd.DataFrame:
    return made(
        [
            {"attack": attack, "defense": defense, "metric": metric, "reproduced": value, "by_seed": {0: value}, **more}
            for (attack, defense), value in numbers.items()
        ]
    )


def outcome(expression: Any, frame: pd.DataFrame) -> str:
    return str(Claim("key", "A sentence.", "Sec. 1", expression).judge(frame)["outcome"])


LOW = every("asr", "<=", 10.0, defense="asd")


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((1.0, 2.0, 3.0), HOLDS),
        ((1.0, 2.0, 10.1), FAILS),
        ((1.0, math.nan, 3.0), SO_FAR),
        ((math.nan, math.nan, 10.1), FAILS),  # one counter-example is enough
        ((math.nan,) * 3, NOT_RUN),
    ],
)
def test_every_needs_every_cell_and_fails_on_one(numbers: tuple[float, ...], expected: str) -> None:
    cells = zip(ATTACKS, numbers, strict=True)
    frame = table({(attack, "asd"): value for attack, value in cells})
    assert outcome(LOW, frame) == expected


def test_so_far_says_of_how_many() -> None:
    frame = table({("badnets", "asd"): 1.0, ("blend", "asd"): math.nan})
    row = Claim("key", "A sentence.", "Sec. 1", LOW).judge(frame)
    assert (row["true"], row["of"]) == (1, 2)
    assert row["numbers"] == "1 of 2 for: BadNets 1.00; 1 of 2 not run: Blend"
    assert row["rule"] == "ASR <= 10, for defense ASD"


def test_a_bound_may_be_the_papers_own_where_numbers_are_compared() -> None:
    expression = every("asr", "<=", low(1.7), defense="asd")
    frame = table({("badnets", "asd"): 4.0})
    assert outcome(expression, frame) == HOLDS
    assert outcome(expression, frame.assign(profile="gpu")) == FAILS


def test_a_closed_gate_leaves_a_low_asr_open_and_a_high_one_as_it_is() -> None:
    gated = {"gate": "the attack reaches 40 %"}
    assert outcome(LOW, table({("badnets", "asd"): 0.0}, **gated)) == UNDECIDED
    assert outcome(LOW, table({("badnets", "asd"): 40.0}, **gated)) == FAILS
    failing = every("asr", ">=", 50.0, defense="asd")
    assert outcome(failing, table({("badnets", "asd"): 0.0}, **gated)) == UNDECIDED
    assert outcome(failing, table({("badnets", "asd"): 60.0}, **gated)) == HOLDS
    assert outcome(every("der", ">=", 85.0), table({("badnets", "asd"): 90.0}, "der", **gated)) == UNDECIDED


def test_differences_are_taken_over_the_seeds_that_both_have() -> None:
    """Means say 80 to 79; on seed 0, which both have, it falls by 8."""
    rows = [
        {"attack": "badnets", "defense": "none", "metric": "acc", "reproduced": 80.0, "by_seed": {0: 86.0, 1: 74.0}},
        {"attack": "badnets", "defense": "asd", "metric": "acc", "reproduced": 79.0, "by_seed": {0: 78.0, 2: 80.0}},
    ]
    keeps = change("acc", "defense", "none", "asd", ">=", -5.0)
    assert outcome(keeps, made(rows)) == FAILS
    assert outcome(keeps, made([{**row, "by_seed": {}} for row in rows])) == HOLDS


@pytest.mark.parametrize(("after", "expected"), [(84.3, HOLDS), (84.2, UNDECIDED), (75.8, UNDECIDED), (75.7, FAILS)])
def test_a_difference_within_the_spread_neither_holds_nor_fails(after: float, expected: str) -> None:
    """Of single runs: both are moved by chance, which makes the root of two of it."""
    frame = table({("badnets", "none"): 80.0, ("badnets", "asd"): after}, "acc", spread=3.0)
    assert outcome(change("acc", "defense", "none", "asd", ">"), frame) == expected


@pytest.mark.parametrize(("asr", "expected"), [(5.9, HOLDS), (6.1, UNDECIDED), (13.9, UNDECIDED), (14.1, FAILS)])
def test_a_number_within_the_spread_of_its_bound_decides_nothing(asr: float, expected: str) -> None:
    frame = table({("badnets", "asd"): asr}, spread=4.0)
    assert outcome(LOW, frame) == expected
    # Where numbers are compared the bound is the paper's own.
    assert outcome(LOW, frame.assign(profile="gpu")) == (HOLDS if asr <= 10 else FAILS)


def test_a_sentence_does_not_rest_on_cells_in_which_the_paper_prints_its_contrary() -> None:
    fails = every("asr", ">", 50.0, defense="anp")
    frame = table({("badnets", "anp"): 98.9, ("blend", "anp"): 90.0})
    assert outcome(fails, frame) == HOLDS
    assert outcome(fails, frame.assign(published=[10.5, 60.0])) == SO_FAR
    assert outcome(fails, frame.assign(published=[10.5, 0.0])) == UNDECIDED
    assert outcome(fails, table({("badnets", "anp"): 20.0}).assign(published=[10.5])) == FAILS


def test_a_model_that_calls_everything_the_target_proves_no_attack() -> None:
    works = every("asr", ">", 50.0, defense="nad")
    assert outcome(works, table({("refool", "nad"): 99.5}, false_target=99.7)) == UNDECIDED
    assert outcome(works, table({("refool", "nad"): 99.5}, false_target=12.0)) == HOLDS
    assert outcome(works, table({("refool", "nad"): 40.0}, false_target=60.0)) == FAILS


def test_half_a_sentence_is_none() -> None:
    takes = every("asr", ">", 50.0, defense="none")
    frame = table({("badnets", "none"): 100.0, ("badnets", "asd"): math.nan})
    assert outcome(takes, frame) == HOLDS and outcome(both(takes, LOW), frame) == UNDECIDED
    # Nothing of it stands in the way of what contradicts it.
    assert outcome(both(every("asr", "<", 50.0, defense="none"), LOW), frame) == FAILS
    some = table({("badnets", "none"): 100.0, ("badnets", "asd"): 1.0, ("blend", "asd"): math.nan})
    assert outcome(both(takes, LOW), some) == SO_FAR


def test_a_lead_rests_on_the_gate_of_the_better_side_alone() -> None:
    frame = table({("badnets", "bsd"): 86.3, ("badnets", "abl"): 94.7}, "der")
    best = leads("der", "bsd", ("abl",))
    assert outcome(best, frame.assign(gate=["dead", ""])) == FAILS
    assert outcome(best, frame.assign(gate=["", "dead"])) == UNDECIDED


def test_few_cells_do_not_make_a_spread_smaller_than_the_usual_one() -> None:
    still = {"n": 3, "sd": 0.01}
    assert frames.spreads(["asr"], [still])["asr"] == 5.0
    assert math.isclose(frames.spreads(["asr"] * 3, [still] * 3)["asr"], 0.01)
    assert math.isclose(frames.spreads(["asr"], [{"n": 3, "sd": 9.0}])["asr"], 9.0)


def test_in_a_comparison_the_lower_asr_must_be_earned() -> None:
    frame = table({("badnets", "asd"): 1.0, ("badnets", "abl"): 30.0})
    less = change("asr", "defense", "abl", "asd", "<")
    assert outcome(less, frame) == HOLDS
    assert outcome(less, frame.assign(gate=["dead", ""])) == UNDECIDED
    assert outcome(less, frame.assign(gate=["", "dead"])) == HOLDS


def test_change_between_selections_of_several_columns() -> None:
    rows = [
        {"attack": a, "defense": "bsd", "metric": "asr", "reproduced": value, **setting}
        for a, values in (("badnets", (1.0, 99.0)), ("blend", (2.0, 1.0)))
        for value, setting in zip(values, ({"setting": "default"}, {"without": "init"}), strict=True)
    ]
    rises = change("asr", "", {"setting": "default"}, {"without": "init"}, ">")
    assert outcome(rises, made(rows[:2])) == HOLDS
    assert outcome(rises, made(rows)) == FAILS


def test_who_leads_in_every_cell() -> None:
    best = leads("acc", "asd", ("asd", "abl", "fp"))
    numbers = {("badnets", "asd"): 90.0, ("badnets", "abl"): 80.0, ("badnets", "fp"): 70.0}
    assert outcome(best, table(numbers, "acc")) == HOLDS
    assert outcome(best, table({**numbers, ("badnets", "fp"): 91.0}, "acc")) == FAILS
    assert outcome(best, table({**numbers, ("badnets", "fp"): math.nan}, "acc")) == NOT_RUN  # a rival is missing
    assert outcome(best, table({**numbers, ("badnets", "abl"): math.nan, ("badnets", "fp"): 91.0}, "acc")) == FAILS
    assert outcome(best, table({**numbers, ("badnets", "abl"): 89.0}, "acc", spread=2.0)) == UNDECIDED
    assert outcome(leads("acc", "asd", ("abl",), margin=20.0), table(numbers, "acc")) == FAILS


def test_most_one_each_and_both() -> None:
    high = every("asr", ">=", 50.0, defense="dbd")
    numbers = dict.fromkeys([("badnets", "dbd"), ("blend", "dbd")], 90.0) | {("wanet", "dbd"): 1.0}
    assert outcome(most(high), table(numbers)) == HOLDS
    assert outcome(most(high), table(numbers | {("blend", "dbd"): math.nan})) == UNDECIDED
    assert outcome(most(high), table(dict.fromkeys(numbers, 1.0))) == FAILS
    assert outcome(one(high), table(dict.fromkeys(numbers, 1.0) | {("wanet", "dbd"): 60.0})) == HOLDS
    assert outcome(both(most(high), LOW), table(numbers | {("badnets", "asd"): 1.0})) == HOLDS
    assert outcome(both(most(high), LOW), table(numbers | {("badnets", "asd"): 11.0})) == FAILS
    several = {("badnets", "ft"): 99.0, ("blend", "ft"): 1.0, ("badnets", "nad"): 1.0, ("blend", "nad"): 2.0}
    fails_once = one_each("defense", every("asr", ">", 50.0))
    assert outcome(fails_once, table(several)) == FAILS
    assert outcome(fails_once, table(several | {("blend", "nad"): 51.0})) == HOLDS


@pytest.mark.parametrize(("value", "expected"), [(9.0, "true"), (5.0, "false"), (15.0, "false"), (math.nan, "absent")])
def test_a_cell_between_two_bounds_counts_once(value: float, expected: str) -> None:
    between = both(every("acc", ">=", 8.0), every("acc", "<=", 12.0))
    frame = table({("badnets", "asd"): value, ("blend", "asd"): 10.0}, "acc")
    _, points = Claim("key", "", "", between).found(Evidence.of(frame))
    assert [point.state for point in points] == [expected, "true"]
    # Other cells, or another metric of the same ones, stay points of their own.
    apart = both(every("acc", ">=", 8.0, attack="badnets"), every("acc", "<=", 12.0, attack="blend"))
    assert len(Claim("key", "", "", apart).found(Evidence.of(frame))[1]) == 2


def test_the_end_of_a_curve_and_sums_of_metrics() -> None:
    curve = [
        {"attack": "badnets", "defense": "asd", "metric": metric, "reproduced": value, "epoch": float(epoch)}
        for metric, values in (("acc", (10.0, 50.0, 70.0)), ("asr", (90.0, 40.0, 4.0)))
        for epoch, value in enumerate(values)
    ]
    frame = made(curve)
    assert outcome(along("epoch", "last", every("asr", "<=", 10.0)), frame) == HOLDS
    assert outcome(along("epoch", "first", every("asr", "<=", 10.0)), frame) == FAILS
    assert outcome(along("epoch", "span", every("acc", "<=", 10.0)), frame) == FAILS
    gap = combined("gap", {"acc": 1.0, "asr": -1.0}, along("epoch", "last", every("gap", ">=", 66.0)))
    assert outcome(gap, frame) == HOLDS
    assert (
        outcome(combined("gap", {"acc": 1.0, "asr": -1.0}, along("epoch", "last", every("gap", ">", 66.0))), frame)
        == FAILS
    )


def test_a_mean_needs_all_of_its_parts() -> None:
    mean = along("attack", "mean", every("asr", "<=", 10.0))
    assert outcome(mean, table({("badnets", "asd"): 2.0, ("blend", "asd"): 16.0})) == HOLDS
    assert outcome(mean, table({("badnets", "asd"): 2.0, ("blend", "asd"): math.nan})) == NOT_RUN


def test_a_mean_over_attacks_is_over_all_of_them_whatever_rates_and_targets_they_have() -> None:
    rows = [{"attack": attack, "poisoning_rate": rate, "target": target, "defense": "asd", "metric": "acc",
             "reproduced": value}
            for attack, rate, target, value in (("none", math.nan, "", 90.0), ("clb", 5.0, "1", 60.0),
                                                ("badnets", 10.0, "0", 60.0))]  # fmt: skip
    frame = made(rows)
    assert outcome(along("attack", "mean", every("acc", "<=", 75.0)), frame) == HOLDS
    assert outcome(along("attack", "mean", every("acc", ">", 70.0)), frame) == FAILS


def test_a_figures_cell_that_was_not_run_counts_as_one_cell() -> None:
    ran = {"attack": "badnets", "defense": "dbr", "metric": "separation", "reproduced": 99.0, "moment": "after"}
    absent = {"attack": "blend", "defense": "dbr", "reproduced": math.nan}
    assert outcome(every("separation", ">=", 90.0, moment="after"), made([ran, absent])) == SO_FAR


def test_averages_count_only_where_they_are_named_and_other_than_leaves_out() -> None:
    numbers = {("badnets", "asd"): 2.0, ("average", "asd"): 50.0, ("sig", "asd"): 90.0}
    assert outcome(every("asr", "<=", 10.0, attack=other_than("sig")), table(numbers)) == HOLDS
    assert outcome(every("asr", "<=", 10.0, attack="average"), table(numbers)) == FAILS


def test_drawn_images_are_no_evidence() -> None:
    frame = table({("badnets", "asd"): 1.0})
    assert outcome(LOW, frame.assign(profile="smoke")) == NOT_RUN


numbers_ = st.one_of(st.just(math.nan), st.floats(0, 100))
gates_ = st.sampled_from(["", "closed"])
EXPRESSIONS = (
    LOW,
    every("asr", ">=", 50.0),
    every("asr", "<=", low(1.7)),
    change("asr", "defense", "abl", "asd", "<"),
    leads("asr", "asd", ("abl", "dbd"), lowest=True),
    most(every("asr", "<=", 10.0)),
    one(every("asr", ">=", 50.0)),
    one_each("defense", every("asr", ">=", 50.0)),
    both(LOW, change("asr", "defense", "dbd", "asd", "<=", 5.0)),
    along("attack", "mean", LOW),
)


@st.composite
def tables_(draw: st.DrawFn) -> pd.DataFrame:
    spread = draw(st.sampled_from([0.0, 4.0]))
    rows = []
    for attack in ATTACKS:
        for defense in ("asd", "abl", "dbd"):
            value = draw(numbers_)
            row = {"attack": attack, "defense": defense, "metric": "asr", "reproduced": value, "gate": draw(gates_)}
            rows.append({**row, "by_seed": {} if math.isnan(value) else {0: value}, "spread": spread})
    return made(rows)


@settings(max_examples=30)
@given(tables_(), st.sampled_from(EXPRESSIONS), numbers_)
def test_a_row_of_another_profile_changes_nothing(frame: pd.DataFrame, expression: Any, value: float) -> None:
    stray = frame.iloc[[0]].assign(profile="gpu", reproduced=value)
    assert outcome(expression, pd.concat([frame, stray], ignore_index=True)) == outcome(expression, frame)


@settings(max_examples=30)
@given(tables_(), st.sampled_from(EXPRESSIONS), st.integers(0, 8))
def test_a_cell_that_is_taken_away_never_turns_fails_into_holds(
    frame: pd.DataFrame, expression: Any, place: int
) -> None:
    less = frame.copy()
    less.loc[place, "reproduced"] = math.nan
    before, after = outcome(expression, frame), outcome(expression, less)
    assert not (before == FAILS and after == HOLDS)
    assert not (before != HOLDS and after == HOLDS)


@settings(max_examples=30)
@given(tables_(), st.sampled_from(EXPRESSIONS), st.permutations(range(9)))
def test_the_order_of_rows_changes_nothing(frame: pd.DataFrame, expression: Any, order: list[int]) -> None:
    assert outcome(expression, frame.iloc[order].reset_index(drop=True)) == outcome(expression, frame)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=2, max_size=4), st.randoms())
def test_permuting_the_seeds_changes_nothing(pairs: list[tuple[float, float]], random: Any) -> None:
    def frame(order: list[int]) -> pd.DataFrame:
        rows = []
        for side, defense in enumerate(("abl", "asd")):
            found = {seed: pairs[place][side] for seed, place in enumerate(order)}
            mean = math.fsum(found.values()) / len(found)
            rows.append(
                {"attack": "badnets", "defense": defense, "metric": "acc", "reproduced": mean, "by_seed": found}
            )
        return made(rows)

    order = list(range(len(pairs)))
    other = random.sample(order, len(order))
    rises = change("acc", "defense", "abl", "asd", ">", 0.0)
    assert outcome(rises, frame(order)) == outcome(rises, frame(other))


@settings(max_examples=30)
@given(tables_())
def test_with_all_gates_closed_no_low_asr_is_credited(frame: pd.DataFrame) -> None:
    shut = frame.assign(gate="the attack reaches 40.0 % without defense")
    for expression in (
        LOW,
        change("asr", "defense", "abl", "asd", "<"),
        leads("asr", "asd", ("abl", "dbd"), lowest=True),
    ):
        assert outcome(expression, shut) not in (HOLDS, SO_FAR)
