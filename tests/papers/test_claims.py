"""Claims on frames made by hand: they hold on the paper's own numbers, fail on others, and are not run on none."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from defenselib import papers
from defenselib.papers.asd import claims as asd_claims
from defenselib.papers.kit import claims, frame, measures, printed

TABLE = papers.get("asd").exhibit("table-2")
KEYS = [claim.key for claim in asd_claims.TABLE_2]


def printed_frame(profile: str = "paper") -> pd.DataFrame:
    """Table 2 as if every number had been reproduced exactly."""
    rows = printed.table("asd", "table-2")
    found = [{**frame.entry([value], ["here"]), "verdict": "agrees"} for value in rows["published"]]
    return frame.finish(rows, found, profile)


def outcome(found: pd.DataFrame, key: str) -> str:
    return TABLE.claims(found).set_index("claim").loc[key, "outcome"]


@pytest.mark.parametrize("key", KEYS)
def test_the_printed_numbers_support_every_claim(key):
    assert outcome(printed_frame(), key) == "holds"


@pytest.mark.parametrize("key", KEYS)
def test_no_number_no_claim(key):
    nothing = printed_frame().assign(reproduced=math.nan)
    assert outcome(nothing, key) == "not run"


def test_smoke_supports_no_claim():
    assert set(TABLE.claims(printed_frame("smoke"))["outcome"]) == {"not run"}


def change(found: pd.DataFrame, value: float, **where: str) -> pd.DataFrame:
    mask = pd.Series(True, found.index)
    for column, name in where.items():
        mask &= found[column] == name
    assert mask.any()
    found.loc[mask, "reproduced"] = value
    return found


CIFAR = {"dataset": "cifar10"}
BREAKS = [
    ("attacks-work", 20.0, {**CIFAR, "attack": "blend", "defense": "none", "metric": "asr"}),
    ("asd-low", 10.1, {**CIFAR, "attack": "blend", "defense": "asd", "metric": "asr"}),
    ("asd-acc", 80.0, {**CIFAR, "attack": "blend", "defense": "asd", "metric": "acc"}),
    ("asd-acc-cifar10", 80.0, {**CIFAR, "attack": "average", "defense": "asd", "metric": "acc"}),
    ("asd-asr-gtsrb", 30.0, {"dataset": "gtsrb", "attack": "average", "defense": "asd", "metric": "asr"}),
    ("asd-imagenet", 70.0, {"dataset": "imagenet-subset", "attack": "average", "defense": "asd", "metric": "acc"}),
    ("dbd-fails", 1.0, {**CIFAR, "attack": "iab", "defense": "dbd", "metric": "asr"}),
    ("abl-cifar10", 95.0, {**CIFAR, "attack": "wanet", "defense": "abl", "metric": "acc"}),
    ("fp-leaves", 1.0, {"defense": "fp", "metric": "asr"}),
    ("nad-cifar10", 93.0, {**CIFAR, "attack": "average", "defense": "nad", "metric": "acc"}),
]


@pytest.mark.parametrize(("key", "value", "where"), BREAKS)
def test_a_number_that_contradicts_makes_the_claim_fail(key, value, where):
    assert outcome(change(printed_frame(), value, **where), key) == "fails"


def test_a_claim_on_all_cells_says_how_many_it_saw():
    found = printed_frame("laptop")
    found.loc[found["attack"] != "badnets", "reproduced"] = math.nan
    row = TABLE.claims(found).set_index("claim").loc["asd-low"]
    assert row["outcome"] == "holds"
    assert row["numbers"].startswith("3 of 18 cells")
    assert row["profile"] == "laptop"
    assert outcome(found, "asd-acc-cifar10") == "not run"


def test_a_claim_is_decided_within_one_profile():
    found = printed_frame("paper")
    found.loc[found["defense"] != "asd", "profile"] = "laptop"
    assert outcome(found, "asd-low") == "holds"
    assert outcome(found, "asd-acc") == "not run"


def test_a_missing_number_is_named():
    claim = claims.Claim("x", "x", "x", lambda numbers: (numbers.one(dataset="mnist") > 0, ""))
    assert claim.judge(printed_frame()).numbers == "paper: needs mnist"


def test_figure_3_claims(put, store):
    put(60.0, 1.0, attack="badnets", defense="asd", seed=0)
    figure = papers.get("asd").exhibit("figure-3")
    found = figure.reproduce("laptop", store=store)
    assert list(figure.claims(found)["outcome"]) == ["holds"] * 3
    counts = found[found["metric"] == "count"]
    for panel in "abcd":
        for group, size in (("clean", 190), ("poisoned", 10)):
            mine = counts["variant"].str.startswith(f"panel={panel};group={group};")
            assert counts.loc[mine, "reproduced"].sum() == size
    slow = found.copy()
    slow.loc[slow["variant"] == "panel=b;group=poisoned", "reproduced"] = 5.0
    slow.loc[slow["variant"] == "panel=c;group=poisoned", "reproduced"] = -1.0
    slow.loc[slow["variant"] == "panel=d;group=hard", "reproduced"] = 0.0
    assert list(figure.claims(slow)["outcome"]) == ["fails"] * 3


def test_figure_4_claims(put, store):
    put(60.0, 1.0, attack="badnets", defense="asd", seed=0)
    put(80.0, 1.0, attack="badnets", defense="none", seed=0)
    figure = papers.get("asd").exhibit("figure-4")
    found = figure.reproduce("laptop", store=store)
    assert list(figure.claims(found)["outcome"]) == ["holds"] * 3
    stages = found.loc[found["defense"] == "asd", "variant"]
    assert list(stages) == [f"epoch={e};stage={s}" for e, s in enumerate((1, 1, 2, 2, 3, 3))]
    flat = found.assign(reproduced=50.0)
    assert list(figure.claims(flat)["outcome"]) == ["fails"] * 3
    alone = figure.reproduce("laptop", store=store, defenses=["none"])
    assert list(figure.claims(alone)["outcome"]) == ["not run"] * 3
    assert alone.loc[alone["defense"] == "asd", "reason"].tolist() == ["left out by request: defense asd"]


def test_a_figure_without_results_keeps_a_row_for_each_cell(store):
    found = papers.get("asd").exhibit("figure-4").reproduce("best", store=store)
    assert list(found["defense"]) == ["none", "asd"]
    assert (found["reason"] == "no result in the store at paper, gpu, laptop").all()


def test_separation_by_hand():
    import numpy as np

    assert measures.separation(np.array([3.0, 4.0]), np.array([1.0, 2.0])) == 1.0
    assert measures.separation(np.array([1.0, 3.0]), np.array([2.0])) == 0.5
    assert measures.separation(np.array([2.0]), np.array([2.0])) == 0.5
    assert math.isnan(measures.separation(np.array([]), np.array([2.0])))
