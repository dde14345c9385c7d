"""What must hold before a low ASR is anybody's merit."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from defenselib import papers
from defenselib.papers.kit.gates import examine, took
from defenselib.papers.kit.verdict import OF_POISON, UNDECIDED, Comparison, judge


def result(asr: float, *per_class: float, target: int | None = 0) -> Any:
    return SimpleNamespace(asr=asr, per_class=per_class, experiment={"target": target})


def never() -> float:
    raise AssertionError("the clean model decides nothing here")


def gate(defended: Any, undefended: Any, printed: float = 99.0, clean_label: bool = False) -> Any:
    return examine([defended], [undefended], printed, clean_label, never)


@pytest.mark.parametrize(
    ("asr", "printed", "clean_label", "clean", "open_"),
    [
        (85.0, 99.0, False, math.nan, True),
        (84.9, 99.0, False, 1.0, False),
        (40.0, 99.0, False, 1.0, False),
        (60.0, 99.0, True, 10.0, True),  # labels are kept: 50, and 30 above the clean model
        (60.0, 99.0, True, 31.0, False),
        (60.0, 99.0, True, math.nan, False),
        (48.0, 99.0, True, 1.0, False),  # less than 50
        (49.9, 60.0, False, 1.0, False),  # an attack at 40 or 50 % never credits a defense
        (55.0, 60.0, False, 1.0, True),  # the paper itself prints less than 85
        (70.0, math.nan, True, 1.0, False),
    ],
)
def test_an_attack_took(asr: float, printed: float, clean_label: bool, clean: float, open_: bool) -> None:
    assert (took(asr, printed, clean_label, lambda: clean) == "") is open_


def test_a_target_class_that_died_closes_the_gate_and_is_named() -> None:
    found = gate(result(0.0, 2.0, 90.0), result(99.0, 61.5, 90.0))
    assert found.closed == "the target class is right in 2.0 % (undefended 61.5 %)"
    assert found.dead == (0,) and found.words == "1 class below 5 %: 0"


@pytest.mark.parametrize(("recall", "open_"), [(31.0, True), (29.9, False), (30.0, True)])
def test_it_lives_from_thirty_percent_and_half_of_the_undefended_on(recall: float, open_: bool) -> None:
    assert (gate(result(1.0, recall, 90.0), result(99.0, 60.0, 90.0)).closed == "") is open_
    assert gate(result(1.0, recall, 90.0), result(99.0, 90.0, 90.0)).closed  # less than half of 90


def test_another_dead_class_is_said_and_closes_nothing_unless_there_is_no_single_target() -> None:
    found = gate(result(1.0, 80.0, 0.0), result(99.0, 80.0, 80.0))
    assert found.closed == "" and found.dead == (1,)
    everywhere = gate(result(1.0, 80.0, 0.0, target=None), result(99.0, 80.0, 80.0, target=None))
    assert everywhere.closed == "classes 1 are below 5 %"


def test_a_class_that_nobody_learns_is_not_dead_by_defense() -> None:
    assert gate(result(1.0, 80.0, 0.0), result(99.0, 80.0, 30.0)).dead == ()


def test_without_the_undefended_model_nothing_is_known() -> None:
    assert "was not run" in examine([result(1.0, 80.0)], [], 99.0, False, never).closed


POISON = sorted(OF_POISON)


@pytest.mark.parametrize("metric", ["asr", "der", *POISON])
def test_of_an_attack_that_never_took_nothing_counts(metric: str) -> None:
    missed = gate(result(1.0, 80.0, 90.0), result(60.0, 80.0, 90.0))
    assert missed.of(metric) == "the attack reaches 60.0 % without defense"
    case = Comparison(metric, "aabl", 0.0, 0.0, gate=missed.of(metric))
    assert judge(case, "order")[0] == UNDECIDED or judge(case, "order")[1].endswith("not comparable at this profile")


def test_where_the_target_class_died_what_was_found_of_the_poison_counts_all_the_same() -> None:
    died = gate(result(0.0, 2.0, 90.0), result(99.0, 61.5, 90.0))
    assert died.of("asr") and died.of("der") and not any(map(died.of, POISON))


def test_accuracies_and_pictures_need_no_attack_that_took() -> None:
    missed = gate(result(1.0, 80.0, 90.0), result(60.0, 80.0, 90.0))
    assert not any(map(missed.of, ("acc", "ra", "gamma", "clean_precision", "psnr", "seconds", "count")))


def metrics_of(part: Any) -> set[str]:
    """Every metric that an expression names, however deep."""
    if not is_dataclass(part):
        return set().union(*map(metrics_of, part)) if isinstance(part, tuple) else set()
    named = {getattr(part, "metric", "")} - {""}
    return named.union(*(metrics_of(getattr(part, name.name)) for name in fields(part)))


# What claims speak of beside the poison that was found. ACC, ASR and DER have gates of their own.
OTHER = {
    "acc",
    "asr",
    "der",
    "ACC minus ASR",
    "acc - asr",
    "asr - acc",
    "ra",
    "gamma",
    "benign_kept",
    "clean_precision",
}
OTHER |= {"correct", "count", "sum", "threshold", "median", "rarest", "lowest_class"}


@pytest.mark.parametrize("key", papers.available())
def test_whoever_claims_something_of_a_new_metric_says_whether_it_is_of_the_poison(key: str) -> None:
    claims = [claim for exhibit in papers.get(key).exhibits for claim in exhibit.checks]
    assert set().union(*(metrics_of(claim.expression) for claim in claims)) <= OF_POISON | OTHER
