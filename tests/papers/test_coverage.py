"""Coverage: every printed number is counted once, whatever became of it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from types import SimpleNamespace

import pandas as pd
import pytest

from defenselib import papers
from defenselib.experiments import Result, Store
from defenselib.papers import coverage
from defenselib.papers.kit import printed
from defenselib.papers.kit.claims import RANK


def rows_of(paper: str, exhibit: str) -> int:
    with (printed.FOLDER / paper / f"{exhibit}.csv").open(encoding="utf-8", newline="") as file:
        return sum(row["value"] != "" for row in csv.DictReader(file))


@pytest.fixture
def some(put: Callable[..., Result], store: Store) -> Store:
    """Cells of ASD's Table 2 at `laptop`: under an attack that works and under one that does not, and no model without
    attack, so that the ACC of the undefended ones cannot be compared."""
    put(80.0, 99.0, attack="badnets")
    put(79.0, 2.0, attack="badnets", defense="asd")
    put(80.0, 20.0, attack="blend")
    put(79.0, 2.0, attack="blend", defense="asd")
    return store


@pytest.mark.slow
def test_every_printed_number_is_counted_once(some: Store) -> None:
    found = coverage.collect(papers.get("asd"), store=some)
    numbers = coverage.numbers(found)
    tables = printed.tables("asd")
    for profile in RANK:
        mine = numbers[numbers["profile"] == profile].set_index("exhibit")
        assert tuple(mine.index) == tables
        for key in tables:
            assert mine.loc[key, "printed"] == rows_of("asd", key)
            assert mine.loc[key, list(coverage.VERDICTS)].sum() == mine.loc[key, "printed"]
    table_2 = numbers[(numbers["exhibit"] == "table-2") & (numbers["profile"] == "laptop")].iloc[0]
    # Agrees: ASR and ACC of ASD under BadNets, its ACC under Blend, the ASR of BadNets. Differs: the ASR of Blend.
    # Undecided: both ACC without defense (there is no model without attack), the ASR of ASD under a Blend that fails.
    assert (table_2["differs"], table_2["undecided"], table_2["not comparable"]) == (1, 3, 0)
    assert table_2["agrees"] == 4
    at_laptop = numbers.loc[numbers["profile"] == "laptop", "run"].sum()
    assert coverage.reached(found) == coverage.reached(found, "laptop") == at_laptop
    assert coverage.reached(found) >= 8 and coverage.distinct(found, "laptop") < coverage.reached(found)
    none = numbers[numbers["profile"].isin(["gpu", "paper"])]
    assert (none["not run"] == none["printed"]).all()
    assert {one.best for one in found if one.exhibit.key == "table-2"} == {"laptop"}


@pytest.mark.slow
def test_totals_add_up_over_exhibits_and_papers(store: Store) -> None:
    found = [one for key in ("asd", "dst_dbr") for one in coverage.collect(papers.get(key), "laptop", store)]
    totals = coverage.totals(coverage.numbers(found)).set_index("paper")
    for key in ("asd", "dst_dbr"):
        assert totals.loc[key, "printed"] == sum(rows_of(key, name) for name in printed.tables(key))
    assert totals.loc["all", "printed"] == totals.loc["asd", "printed"] + totals.loc["dst_dbr", "printed"]
    assert totals.loc["all", "not run"] == totals.loc["all", "printed"]
    claims = coverage.totals(coverage.claims(found)).set_index("paper")
    for key in ("asd", "dst_dbr"):
        assert claims.loc[key, "claims"] == sum(len(exhibit.checks) for exhibit in papers.get(key).exhibits)
    assert (claims["not run"] == claims["claims"]).all() and claims.loc["all", "claims"] > 0


@pytest.mark.parametrize("paper", papers.available())
def test_evidence_is_what_reproduce_gives(paper: str, some: Store) -> None:
    chosen = next(
        one for one in papers.get(paper).exhibits if one.key.startswith("figure") and one.status == "available"
    )
    for exhibit in (papers.get(paper).exhibit("table-2"), chosen):
        frames = exhibit.evidence(some)
        assert tuple(frames) == RANK
        for profile, frame in frames.items():
            assert frame.equals(exhibit.reproduce(profile=profile, store=some)), (exhibit.key, profile)
            assert set(frame["profile"]) == {profile}


def test_numbers_are_counted_by_verdict_and_a_measurement_once() -> None:
    """Two tables of three numbers, of which one measurement stands in both, and a figure, which prints none."""

    def found(key: str, run: list[float], verdicts: list[str]) -> coverage.Found:
        frame = pd.DataFrame({
            "dataset": "cifar10", "attack": ["badnets", "blend", "wanet", "sig"], "defense": "asd", "metric": "asr",
            "published": [1.0, 2.0, 3.0, float("nan")], "reproduced": [*run, 5.0], "verdict": [*verdicts, "agrees"],
        })  # fmt: skip
        none = frame.assign(reproduced=float("nan"), verdict="not run")
        claims = pd.DataFrame({"outcome": ["holds", "fails", "holds"]})
        return coverage.Found(SimpleNamespace(paper="asd", key=key), {"gpu": none, "laptop": frame}, {"laptop": claims})

    gone = float("nan")
    listed = [found("table-2", [1.5, gone, 90.0], ["agrees", "not run", "differs"]),
              found("table-3", [1.5, 7.0, gone], ["agrees", "undecided", "not run"]),
              found("figure-1", [1.0, 1.0, 1.0], ["agrees"] * 3)]  # fmt: skip
    assert [one.prints for one in listed] == [True, True, False]
    totals = coverage.totals(coverage.numbers(listed)).set_index(["paper", "profile"])
    assert dict(totals.loc[("all", "laptop")]) == {
        "printed": 6, "run": 4, "agrees": 2, "differs": 1, "undecided": 1, "not comparable": 0, "not run": 2,
    }  # fmt: skip
    assert totals.loc[("asd", "gpu"), "run"] == 0 and totals.loc[("asd", "gpu"), "not run"] == 6
    assert coverage.distinct(listed, "laptop") == 3 and coverage.distinct([], "laptop") == 0
    assert (coverage.reached(listed), coverage.reached(listed, "laptop"), coverage.reached(listed, "gpu")) == (4, 4, 0)
    judged = coverage.totals(coverage.claims(listed)).set_index("paper")
    assert dict(judged.loc["all"].drop("profile")) == {
        "claims": 9, "holds": 6, "holds so far": 0, "fails": 3, "undecided": 0, "not run": 0,
    }  # fmt: skip
