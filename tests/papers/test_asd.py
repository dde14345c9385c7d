"""ASD's exhibits: every one is there, every row finds its training, claims on numbers made by hand."""

from __future__ import annotations

import math

import pytest

from defenselib import papers
from defenselib.papers.asd import cells as asd_cells
from defenselib.papers.asd import text as asd_text
from defenselib.papers.kit import frame, grid, printed, verdict
from defenselib.papers.kit.claims import as_printed

from .asd_results import change, exhibit, outcomes, putter

PAPER = papers.get("asd")
PROFILES = ("smoke", "laptop", "gpu", "paper")


def cells_of(one):
    """Every cell that an exhibit asks for."""
    rows = frame.records(printed.table("asd", one.key)) if one.key in printed.tables("asd") else []
    found = list(getattr(one, "cells", ()))
    for row in rows:
        if hasattr(one, "number"):
            number = one.number(row)
            assert not isinstance(number, str), number
            found += number.cells
        elif hasattr(one, "cell") and row["attack"] != "average":
            found.append(one.cell(row))
    return {repr(cell): cell for cell in found}


@pytest.fixture
def lay(store):
    return putter(store)


def test_every_exhibit_has_code():
    assert [one.key for one in PAPER.exhibits] == list(printed.exhibits("asd").index)
    assert {one.key for one in PAPER.exhibits if one.status != "available"} == {"table-1", "figure-2"}
    assert all(one.status in ("available", "nothing to run") for one in PAPER.exhibits)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_cell_is_a_valid_experiment(profile):
    wanted = {name: cell for one in PAPER.exhibits for name, cell in cells_of(one).items()}
    for cell in wanted.values():
        assert not grid.not_implemented(cell)
        if cell.dataset != "imagenet-subset":
            cell.experiment("asd", profile, 0).resolve()
    assert len(wanted) > 150


@pytest.mark.parametrize("profile", PROFILES)
def test_a_stage_left_out_is_left_out_at_every_profile(profile):
    def ends(stage):
        chosen = asd_cells.without("badnets", stage).experiment("asd", profile, 0).resolve()
        assert chosen.rate == 0.2
        return chosen.defense.stage1_end, chosen.defense.stage2_end, chosen.defense.epochs

    one, two, three = ends("nothing")
    assert ends("stage1") == (0, two, three)
    assert ends("stage2") == (two, two, three)
    assert ends("stage3") == (one, three, three)
    for stage, end in ((1, one), (2, two)):
        cell = asd_cells.UpTo("cifar10", "badnets", "asd", {"stop_after": "asd"}, stage=stage)
        assert cell.experiment("asd", profile, 0).stop_after == f"asd:{end}"


def test_the_training_that_answers_a_row():
    def of(cell, profile="paper"):
        return cell.experiment("asd", profile, 0).resolve()

    row = {"dataset": "cifar10", "attack": "blend", "defense": "asd", "metric": "acc"}
    assert of(asd_cells.learner({**row, "variant": "ssl=uda"})).defense.ssl == "uda"
    usual = of(papers.Cell("cifar10", "blend", "asd"))
    same = (asd_cells.learner({**row, "variant": "ssl=mixmatch"}), asd_cells.seeded("blend", 0))
    assert {of(cell).hash for cell in (*same, asd_cells.faster("blend", 1.0))} == {usual.hash}
    poisoned = asd_cells.poisoned_seeds({**row, "variant": "poisoned_seeds=3"})
    for profile in PROFILES:
        asked = of(poisoned, profile).defense
        assert (asked.poisoned_seeds, asked.seeds_per_class) == (3, 10)
    assert of(asd_cells.transferred("blend")).defense.seed_source == "cifar100"
    assert of(asd_cells.transferred("blend"), "smoke").defense.seed_source == "shapes"
    assert of(asd_cells.faster("blend", 5.0)).defense.growth_per_class == 50
    assert asd_cells.without("clb", "stage2").options == {}


def test_smoke_trains_a_handful_and_laptop_badnets():
    counts = {}
    for profile in ("smoke", "laptop"):
        wanted = set()
        for one in PAPER.exhibits:
            thin = one.setting.thin.get(profile)
            wanted |= {name for name, cell in cells_of(one).items() if not thin.excludes(cell)}
        counts[profile] = wanted
    assert 4 < len(counts["smoke"]) <= 12
    variants = {name for name in counts["laptop"] if "options={}" not in name or "times={}" not in name}
    assert variants and all("badnets" in name or "wanet" in name for name in variants)


@pytest.mark.parametrize("key", ["table-3", "table-4", "table-5", "table-6", "text-1"])
def test_the_printed_numbers_support_every_claim(key, store):
    found = as_printed(exhibit(key).reproduce("paper", store=store))
    assert set(outcomes(key, found).values()) == {"holds"}
    assert set(outcomes(key, found.assign(reproduced=math.nan)).values()) == {"not run"}


CIFAR = {"dataset": "cifar10", "defense": "asd"}


@pytest.mark.parametrize(
    ("key", "claim", "value", "where"),
    [
        ("table-3", "order-cifar10", 1.0, {"dataset": "cifar10", "defense": "dbd", "variant": "stage=total"}),
        ("table-3", "ratio-gtsrb", 1e5, {"dataset": "gtsrb", "defense": "asd", "variant": "stage=total"}),
        ("table-3", "stage-3-cifar10", 3000.0, {**CIFAR, "variant": "stage=3"}),
        ("table-4", "low", 11.0, {"attack": "clb", "variant": "ssl=uda", "metric": "asr"}),
        ("table-4", "acc", 80.0, {"attack": "wanet", "variant": "ssl=remixmatch", "metric": "acc"}),
        ("table-5", "three-harmless", 60.0, {"attack": "badnets", "variant": "poisoned_seeds=2", "metric": "asr"}),
        ("table-5", "four-break", 5.0, {"attack": "clb", "variant": "poisoned_seeds=4", "metric": "asr"}),
        ("table-5", "four-hold", 50.0, {"attack": "wanet", "variant": "poisoned_seeds=4", "metric": "asr"}),
        ("table-5", "acc", 80.0, {"attack": "blend", "variant": "poisoned_seeds=1", "metric": "acc"}),
        ("table-6", "only-a-start", 90.0, {"variant": "seeds=imagenet-transfer;phase=pretraining", "metric": "acc"}),
        ("table-6", "works", 90.0, {"variant": "seeds=imagenet-transfer;phase=asd", "metric": "asr"}),
        ("text-1", "adaptive", 60.0, {"attack": "adaptive", "defense": "asd", "metric": "asr"}),
        ("text-1", "adaptive-acc", 60.0, {"attack": "adaptive", "defense": "asd", "metric": "acc"}),
    ],
)
def test_a_number_that_contradicts_makes_the_claim_fail(key, claim, value, where, store):
    found = as_printed(exhibit(key).reproduce("paper", store=store))
    assert outcomes(key, change(found, value, **where))[claim] == "fails"


def test_times_of_other_profiles_judge_nothing(store):
    found = as_printed(exhibit("table-3").reproduce("paper", store=store)).assign(profile="gpu")
    assert set(outcomes("table-3", found).values()) == {"not run"}


def test_seconds_of_a_stage_are_taken_between_two_runs(lay, store):
    one, two = (asd_cells.UpTo("cifar10", "badnets", "asd", {"stop_after": "asd"}, stage=place) for place in (1, 2))
    whole = papers.Cell("cifar10", "badnets", "asd")
    for cell, cost in ((one, 60.0), (two, 95.0), (whole, 140.0)):
        lay(cell, stages={"poison": 7.0, "asd": cost, "rest": 3.0})
    lay(papers.Cell("cifar10", "badnets", "dbd"), stages={"simclr (shared)": 500.0, "linear": 8.0, "dbd": 200.0})
    found = exhibit("table-3").reproduce("gpu", store=store)
    found = found[found["dataset"] == "cifar10"].set_index(["defense", "variant"])["reproduced"]
    stages = [f"stage={stage}" for stage in (1, 2, 3, "total")]
    assert found["asd"][stages].tolist() == [60.0, 35.0, 45.0, 140.0]
    assert found["dbd"][stages].tolist() == [500.0, 8.0, 200.0, 708.0]
    assert found["abl"].isna().all()


def test_printed_seconds_are_whole_seconds_an_epoch():
    found = asd_text.per_epoch()
    assert len(found) == 27
    asd = found[found["defense"] == "asd"].pivot(index="dataset", columns="stage", values="seconds an epoch")
    assert asd.to_dict("index") == {
        "cifar10": {1: 83.0, 2: 83.0, 3: 84.0},
        "gtsrb": {1: 82.0, 2: 82.0, 3: 83.0},
        "imagenet-subset": {1: 225.0, 2: 225.0, 3: 226.0},
    }


def test_bounds_are_judged_as_bounds(lay, store):
    for attack in asd_cells.ATTACKS:
        for count in (1, 2, 3):
            lay(asd_cells.seeded(attack, count), acc=95.0 if (attack, count) != ("clb", 2) else 90.5)
    row = {"variant": "poisoned_seeds=1-3", "metric": "acc"}

    def judged(profile):
        found = exhibit("text-1").reproduce(profile, store=store)
        for column, value in row.items():
            found = found[found[column] == value]
        return found.iloc[0]

    # Within two points, and yet below what the paper calls the least.
    assert (judged("gpu")["reproduced"], judged("gpu")["verdict"]) == (90.5, "differs")
    lay(asd_cells.seeded("clb", 2), acc=94.0)
    assert (judged("gpu")["reproduced"], judged("gpu")["verdict"]) == (94.0, "agrees")
    assert judged("gpu")["reason"] == "over 12 cells"
    assert judged("laptop")["reason"].startswith("needs 12 cells, 12 missing")
    assert judged("laptop")["verdict"] == verdict.NOT_RUN


def test_counts_of_the_text(lay, store):
    lay(papers.Cell("cifar10", "badnets", "asd"), clean_given=100)
    for name in ("dbd", "dbd-meta-split"):
        lay(papers.Cell("cifar10", "badnets", name), acc=91.5, asr=3.0)
    found = exhibit("text-1").reproduce("gpu", store=store).set_index("variant")["reproduced"]
    assert (found["item=clean_seed_samples"], found["item=clean_hard_samples"]) == (100.0, 5000.0)
    assert (found["item=stage3_epochs;split=original"], found["item=stage3_epochs;split=meta-split"]) == (24.0, 8.0)
    assert found["split=meta-split;stage3_epochs=25"].tolist() == [91.5, 3.0]


def test_table_6_reads_both_phases_from_one_run(lay, store):
    history = [
        {"stage": stage, "epoch": 0, "acc": acc, "asr": 9.0} for stage, acc in (("transfer", 40), ("linear", 52))
    ]
    lay(asd_cells.transferred("wanet"), 92.5, 3.0, history=[*history, {"stage": "asd", "epoch": 0, "acc": 1, "asr": 1}])
    found = exhibit("table-6").reproduce("gpu", store=store)
    mine = found[found["attack"] == "wanet"]
    assert mine["reproduced"].tolist() == [52.0, 9.0, 92.5, 3.0]
    assert mine["reason"].str.contains("clean samples from CIFAR-100 in place of ImageNet").all()
    assert set(outcomes("table-6", found).values()) == {"holds"}
    assert exhibit("table-6").draw(found).axes
