"""BSD's exhibits: which training answers a number, DERs, averages, times, on numbers made by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from defenselib.papers.bsd import exhibits as bsd
from defenselib.papers.kit import frame, grid, printed
from defenselib.papers.kit.request import Cell, Thin

from .results import POISONED, putter, row


@pytest.fixture
def put(store):
    return putter(store)


def test_every_exhibit_has_code():
    listed = bsd.PAPER.overview().set_index("exhibit")["status"]
    assert set(listed[listed != "available"].index) == {"figure-1", "figure-2"}
    assert set(listed) == {"available", "nothing to run"}


def test_der_is_taken_seed_by_seed(put, store):
    for seed, (before, after) in enumerate((((80, 100), (78, 2)), ((80, 90), (81, 0)))):
        put(*before, defense="none", seed=seed)
        put(*after, seed=seed)
    put(50, 0, seed=2)  # no undefended model of this seed: it cannot take part
    found = bsd.PAPER.exhibit("table-1").reproduce("laptop", store=store)
    cell = {"dataset": "cifar10", "attack": "badnets", "defense": "bsd"}
    rated = row(found, **cell, metric="der")
    # (98 - 2 + 100) / 2 = 98 and (90 - 0 + 100) / 2 = 95.
    assert (rated["reproduced"], rated["n"], rated["verdict"]) == (96.5, 2, "agrees")
    assert row(found, **cell, metric="acc")["n"] == 3
    assert row(found, **{**cell, "defense": "none"}, metric="der")["reason"] == "an undefended model has no DER"
    mean = row(found, **{**cell, "attack": "average"}, metric="der")
    assert math.isnan(mean["reproduced"]) and mean["reason"] == "average of 3 attacks, missing: Blend, WaNet"


def test_der_without_the_undefended_model_is_not_guessed(put, store):
    put(78, 2)
    found = bsd.PAPER.exhibit("table-6").reproduce("laptop", store=store)
    rated = row(found, attack="badnets", variant="setting=default", metric="der")
    assert math.isnan(rated["reproduced"]) and rated["reason"].startswith("needs the undefended model")


def test_averages_over_attacks_targets_and_data_sets(put, store):
    for attack, asr in (("badnets", 0), ("blend", 10), ("wanet", 20)):
        put(80, 100, attack=attack, defense="none")
        put(80, asr, attack=attack)
    found = bsd.PAPER.exhibit("table-1").reproduce("laptop", seeds=[0], store=store)
    mean = row(found, dataset="cifar10", attack="average", defense="bsd", metric="der")
    assert mean["reproduced"] == pytest.approx(95.0) and mean["n"] == 1
    for target in range(10):
        if target != 3:
            put(80, target, target=target)
    found = bsd.PAPER.exhibit("table-4").reproduce("laptop", seeds=[0], store=store)
    # Nine targets with ASR 0, 1, 2, 4, ..., 9 and target 3 with 0; every DER against the undefended model of target 3.
    assert row(found, attack="badnets", target="average", metric="asr")["reproduced"] == pytest.approx(4.2)
    assert row(found, attack="badnets", target=9, metric="der")["reproduced"] == pytest.approx(95.5)
    put(80, 0, dataset="gtsrb")
    hours = bsd.PAPER.exhibit("table-5").reproduce("laptop", seeds=[0], store=store)
    assert row(hours, dataset="gtsrb", defense="bsd")["reproduced"] == 1.0
    assert (
        row(hours, dataset="average", defense="bsd")["reason"]
        == "average of 3 data sets, missing: ImageNet (30 classes)"
    )
    # The time of Table 9 stands in its average rows, but is a single number.
    costs = bsd.PAPER.exhibit("table-9").reproduce("laptop", seeds=[0], store=store)
    assert row(costs, attack="average", defense="bsd", metric="hours")["reproduced"] == 1.0


def test_hours_of_a_gpu_do_not_stand_beside_those_of_processors(put, store):
    put(80, 2)
    put(80, 2, defense="asd", machine={"gpu": "NVIDIA H200", "cores": 16})
    exhibit = bsd.PAPER.exhibit("table-5")
    found = exhibit.reproduce("laptop", seeds=[0], store=store)
    assert row(found, dataset="cifar10", defense="bsd")["reproduced"] == 1.0
    left = row(found, dataset="cifar10", defense="asd")
    assert math.isnan(left["reproduced"]) and "processor" in left["reason"] and "NVIDIA H200" in left["reason"]
    assert set(exhibit.claims(found)["outcome"]) == {"not run"}
    # Accuracies count wherever they were made, and at gpu so do the times.
    assert (
        row(
            bsd.PAPER.exhibit("table-1").reproduce("laptop", store=store),
            dataset="cifar10",
            attack="badnets",
            defense="asd",
            metric="acc",
        )["n"]
        == 1
    )
    put(80, 2, profile="gpu", machine={"gpu": "NVIDIA H200", "cores": 16})
    assert row(exhibit.reproduce("gpu", store=store), dataset="cifar10", defense="bsd")["reproduced"] == 1.0


WHERE = {"dataset": "cifar10", "attack": "badnets", "defense": "bsd", "model": "resnet18", "poisoning_rate": 0.05}
ROW = {**WHERE, "target": None, "variant": None, "metric": "acc"}


@pytest.mark.parametrize(
    ("answer", "more", "options"),
    [
        (bsd.usual, {}, {}),
        (bsd.usual, {"target": "3", "poisoning_rate": 0.05}, {}),
        (bsd.usual, {"target": "7"}, {"target": 7}),
        (bsd.usual, {"attack": "adaptive", "poisoning_rate": 0.2}, {"rate": 0.2}),
        (bsd.usual, {"model": "mobilenet_v2"}, {"model": "mobilenet_v2"}),
        (bsd.ablated, {"without": "comp"}, {"defense_args": {"completion": False}}),
        (bsd.ablated, {"without": None, "setting": "default"}, {}),
        (bsd.ablated, {"alpha": 0.7, "beta": 0.2}, {"defense_args": {"alpha": 0.7, "beta": 0.2}}),
        (bsd.search, {"defense": "fp", "prune_ratio": 0.3}, {"defense_args": {"ratio": 0.3}}),
        (bsd.search, {"defense": "nad", "beta": "1e7"}, {"defense_args": {"beta": (1e7, 1e7)}}),
        (bsd.search, {"defense": "nad", "beta": "default"}, {}),
        (bsd.search, {"defense": "abl", "gamma": 0.4}, {"defense_args": {"gamma": 0.4}}),
    ],
)
def test_the_training_that_answers_a_row(answer, more, options):
    cell = answer({**ROW, **more})
    assert cell.options == options


def test_what_the_paper_does_not_describe_says_so():
    assert "BackdoorBench" in bsd.search({**ROW, "defense": "abl", "gamma": "default"})


def test_every_cell_of_every_exhibit_is_a_valid_experiment():
    wanted = {}
    for exhibit in bsd.PAPER.exhibits:
        cells = list(getattr(exhibit, "cells", ()))
        if exhibit.key in printed.tables("bsd"):
            rows = printed.table("bsd", exhibit.key)
            means = frame.parts_of_averages(rows)
            chosen = rows[[place not in means for place in range(len(rows))]]
            cells = [exhibit.cell(one) for one in frame.records(chosen)]
        wanted |= {repr(cell): cell for cell in cells if isinstance(cell, Cell)}
    for cell in wanted.values():
        if cell.dataset != "imagenet-30" and not grid.not_implemented(cell):
            cell.experiment("bsd", "laptop", 0).resolve()
    assert len(wanted) > 300


def test_smoke_trains_a_handful():
    wanted = set()
    for exhibit in bsd.PAPER.exhibits:
        thin = exhibit.setting.thin.get("smoke")
        rows = printed.table("bsd", exhibit.key) if exhibit.key in printed.tables("bsd") else pd.DataFrame()
        for one in frame.records(rows):
            cell = None if "average" in (one["attack"], one["target"], one["dataset"]) else exhibit.cell(one)
            if isinstance(cell, Cell) and not thin.excludes(cell):
                wanted.add(repr(cell))
        wanted |= {repr(cell) for cell in getattr(exhibit, "cells", ()) if not thin.excludes(cell)}
    assert len(wanted) == 9  # Table 1: two attacks, three defenses; Table 6: three ablations


def test_a_request_lifts_the_rule_for_settings():
    thin = bsd.REST["laptop"]
    cell = Cell("cifar10", "badnets", "bsd", {"rate": 0.2})
    assert thin.excludes(cell) == "settings other than the usual ones"
    assert not thin.without(Thin(attacks=("badnets",))).excludes(cell)


def test_the_target_is_judged_by_its_label(put, store):
    put(80, 1, target=4, dataset="gtsrb", stop_after="warmup", metrics={"target_guess": 4.0})
    put(80, 1, target=5, dataset="gtsrb", stop_after="warmup", metrics={"target_guess": 4.0})
    found = bsd.PAPER.exhibit("table-11").reproduce("laptop", store=store)
    right, wrong = (row(found, attack="badnets", target=target) for target in (4, 5))
    assert (right["reproduced"], right["verdict"], wrong["reproduced"], wrong["verdict"]) == (1, "agrees", 0, "differs")


def test_isolation_is_read_epoch_by_epoch_from_one_warm_up(put, store):
    history = [{"stage": "warmup", "epoch": e, "vote": 3 if e == 14 else 1, "clean_poisoned": 7} for e in range(45)]
    options = {"defense_args": {"target_vote": "isolation", "warmup_epochs": 45}, "stop_after": "warmup"}
    put(80, 1, history=history, **options)
    found = bsd.PAPER.exhibit("table-8").reproduce("laptop", store=store)
    for epochs, vote in ((5, 0.0), (15, 1.0), (45, 0.0)):
        where = {"attack": "badnets", "variant": f"yt_method=lga;warmup_epochs={epochs}"}
        assert row(found, **where, metric="count")["reproduced"] == POISONED - 7
        assert row(found, **where, metric="correct")["reproduced"] == vote
