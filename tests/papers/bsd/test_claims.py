"""BSD's claims hold on the paper's own numbers, fail on others, and are not run on none."""

from __future__ import annotations

import math

import pytest

from defenselib.papers.bsd import exhibits as bsd
from defenselib.papers.kit import printed
from defenselib.papers.kit.view import View

from .results import as_printed, change, contradictions, with_numbers

TABLES = [key for key in printed.tables("bsd") if bsd.PAPER.exhibit(key).checks]
# The paper's own numbers contradict what its abstract says of all of them.
CONTRADICTED = {("table-1", "over-20")}
CLAIMS = [(key, claim.key) for key in TABLES for claim in bsd.PAPER.exhibit(key).checks]


@pytest.mark.parametrize("key", TABLES)
def test_the_printed_numbers_support_every_claim_but_one(key):
    outcomes = bsd.PAPER.exhibit(key).claims(as_printed(key)).set_index("claim")
    assert not outcomes.index.duplicated().any()
    for name, one in outcomes.iterrows():
        assert one["of"] > 0, (key, name)
        assert one["outcome"] == ("fails" if (key, name) in CONTRADICTED else "holds"), (key, name, one["numbers"])


@pytest.mark.parametrize("key", TABLES)
def test_every_part_of_a_claim_speaks_of_some_cell(key):
    seen = View(as_printed(key), "numbers")
    for claim in bsd.PAPER.exhibit(key).checks:
        for part in getattr(claim.expression, "parts", (claim.expression,)):
            assert part.points(seen), (claim.key, part.rule)


@pytest.mark.parametrize("key", TABLES)
def test_no_number_no_claim(key):
    exhibit = bsd.PAPER.exhibit(key)
    nothing = as_printed(key)
    assert set(exhibit.claims(with_numbers(nothing, nothing["reproduced"] * math.nan))["outcome"]) == {"not run"}
    assert set(exhibit.claims(as_printed(key, "smoke"))["outcome"]) == {"not run"}


@pytest.mark.slow
@pytest.mark.parametrize("key", TABLES)
def test_every_claim_can_be_contradicted(key):
    exhibit = bsd.PAPER.exhibit(key)
    assert contradictions(exhibit, as_printed(key)) == {claim.key for claim in exhibit.checks}


# What each table would show if BSD did nothing and all settings were alike.
FLAT = {"acc": 80.0, "asr": 100.0, "der": 50.0, "hours": 1.0, "count": 9.0, "correct": 0.0}
# Ties count as the first place, and where everything fails so do the others.
SHARED = ("leads", "best-cells", "keeps-acc", "dbd-fails", "dbd-worst", "asd-fails", "vab-sig", "dst-sig", "vab-next")


@pytest.mark.parametrize(("key", "claim"), [pair for pair in CLAIMS if pair[0] not in ("table-5", "table-1")])
def test_numbers_without_any_effect_contradict_the_claims(key, claim):
    found = as_printed(key)
    found = with_numbers(found, found["metric"].map(FLAT).astype(float))
    outcome = bsd.PAPER.exhibit(key).claims(found).set_index("claim").loc[claim, "outcome"]
    assert outcome == ("holds" if claim in (*SHARED, "fastest") else "fails")


BREAKS = [
    ("table-1", "leads-gtsrb", 99.9, {"dataset": "gtsrb", "attack": "average", "defense": "abl", "metric": "der"}),
    ("table-1", "over-asd", 99.0, {"dataset": "imagenet-30", "attack": "average", "defense": "asd", "metric": "der"}),
    ("table-1", "best-cells", 99.9, {"dataset": "cifar10", "attack": "wanet", "defense": "nad", "metric": "der"}),
    ("table-1", "low", 10.1, {"dataset": "gtsrb", "attack": "wanet", "defense": "bsd", "metric": "asr"}),
    ("table-1", "keeps-acc", 80.0, {"dataset": "gtsrb", "attack": "wanet", "defense": "bsd", "metric": "acc"}),
    ("table-1", "dbd", 99.0, {"dataset": "cifar10", "attack": "blend", "defense": "dbd", "metric": "acc"}),
    ("table-1", "abl", 93.0, {"dataset": "cifar10", "attack": "wanet", "defense": "abl", "metric": "acc"}),
    ("table-1", "repairs", 99.0, {"dataset": "cifar10", "attack": "blend", "defense": "nad", "metric": "acc"}),
    ("table-3", "leads", 99.0, {"attack": "average", "defense": "fp", "metric": "der"}),
    ("table-3", "asd-fails", 1.0, {"attack": "wanet", "defense": "asd", "metric": "asr"}),
    ("table-5", "cost", 9.0, {"dataset": "cifar10", "defense": "bsd"}),
    ("table-5", "dbd-slowest", 1.0, {"dataset": "gtsrb", "defense": "dbd"}),
]


@pytest.mark.parametrize(("key", "claim", "value", "where"), BREAKS)
def test_a_number_that_contradicts_makes_the_claim_fail(key, claim, value, where):
    found = change(as_printed(key), value, **where)
    assert bsd.PAPER.exhibit(key).claims(found).set_index("claim").loc[claim, "outcome"] == "fails"


def test_a_part_of_the_cells_holds_no_more_than_so_far():
    found = as_printed("table-1", "laptop")
    found = with_numbers(found, found["reproduced"].where(found["dataset"] == "cifar10"))
    table = bsd.PAPER.exhibit("table-1")
    outcomes = table.claims(found).set_index("claim")["outcome"]
    assert set(outcomes[["over-asd", "best-cells", "low", "keeps-acc", "repairs"]]) == {"holds so far"}
    assert set(outcomes[["leads-cifar10", "dbd", "abl"]]) == {"holds"} and outcomes["over-20"] == "fails"
    assert set(outcomes[["leads-gtsrb", "leads-imagenet-30", "dbd-average"]]) == {"not run"}
    worse = change(found, 60.0, dataset="cifar10", attack="wanet", defense="bsd", metric="asr")
    assert table.claims(worse).set_index("claim").loc["low", "outcome"] == "fails"


def test_the_ablation_is_decided_by_the_attacks_that_were_run():
    found = as_printed("table-6", "laptop")
    found = with_numbers(found, found["reproduced"].where(found["attack"] == "badnets"))
    outcomes = bsd.PAPER.exhibit("table-6").claims(found).set_index("claim")
    assert set(outcomes["outcome"]) == {"holds so far"}
    assert outcomes.loc["comp", "numbers"].startswith("1 of 3 for: BadNets 95.10 to 90.70")


@pytest.mark.parametrize(("key", "claim"), [("table-5", "cost"), ("table-5", "dbd-slowest"), ("table-9", "fastest")])
def test_times_count_at_the_papers_schedules_alone(key, claim):
    for profile, wanted in (("paper", "holds"), ("gpu", "not run"), ("laptop", "not run")):
        outcomes = bsd.PAPER.exhibit(key).claims(as_printed(key, profile)).set_index("claim")
        assert outcomes.loc[claim, "outcome"] == wanted


@pytest.mark.slow
@pytest.mark.parametrize("key", [*printed.tables("bsd"), "figure-1", "figure-2"])
def test_every_table_and_diagram_can_be_drawn(key):
    exhibit = bsd.PAPER.exhibit(key)
    found = as_printed(key) if key in printed.tables("bsd") else exhibit.reproduce("laptop")
    assert exhibit.draw(found).axes
    assert exhibit.draw(exhibit.reproduce("laptop")).axes
