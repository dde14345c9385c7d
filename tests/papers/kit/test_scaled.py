"""Runs at twice the schedule beside the usual ones, and what a pool let in."""

from __future__ import annotations

import math
from importlib import import_module

import pytest

from defenselib import papers
from defenselib.papers import Cell
from defenselib.papers.bsd import exhibits as bsd
from defenselib.papers.kit import scaled
from defenselib.report import tables

from ..bsd.results import putter

USUAL = Cell("cifar10", "badnets", "bsd", {"defense_args": {"initial_pool": "random"}})
PAIR = scaled.Twice(USUAL, ("epochs",))


def lay(store, acc, asr, seed, **fields):
    args = {"initial_pool": "random", **fields.pop("more", {})}
    return putter(store)(acc, asr, seed=seed, defense_args=args, **fields)


def test_only_seeds_that_both_lengths_have_are_compared(store):
    lay(store, 50.0, 2.0, 0)
    lay(store, 60.0, 4.0, 1)
    (row,) = scaled.doubled("bsd", [PAIR], store=store).to_dict("records")
    assert row["variant"] == "initial_pool=random" and row["acc"] == 55.0 and math.isnan(row["twice_acc"])
    lay(store, 70.0, 30.0, 1, more={"epochs": 48})
    (row,) = scaled.doubled("bsd", [PAIR], store=store).to_dict("records")
    assert [row[name] for name in ("acc", "asr", "twice_acc", "twice_asr")] == [60.0, 4.0, 70.0, 30.0]
    shown = str(tables.doubled(scaled.doubled("bsd", [PAIR], store=store), "Twice"))
    assert "ASR, twice" in shown and "initial pool random" in shown and "30.0" in shown


def test_measures_of_the_method_stand_beside_when_asked_for(store):
    lay(store, 50.0, 2.0, 0, metrics={"poison_precision": 40.0})
    lay(store, 55.0, 1.0, 0, metrics={"poison_precision": 90.0}, more={"epochs": 48})
    (row,) = scaled.doubled("bsd", [PAIR], store=store, numbers=("poison_precision", "ra")).to_dict("records")
    assert (row["poison_precision"], row["twice_poison_precision"]) == (40.0, 90.0)
    assert math.isnan(row["ra"]) and "acc" not in row


def test_history_has_every_seed(store):
    assert scaled.history("bsd", USUAL, store=store).empty
    for seed in (0, 2):
        lay(store, 50.0, 2.0, seed, history=[{"stage": "bsd", "epoch": e, "acc": 1.0, "clean_size": 9} for e in (0, 1)])
    found = scaled.history("bsd", USUAL, store=store)
    assert found[["seed", "epoch"]].to_numpy().tolist() == [[0, 0], [0, 1], [2, 0], [2, 1]]


def test_the_pool_at_twice_the_schedule_is_that_of_the_longer_run(store):
    doubled = {name: 2 * value for name, value in usual_schedule().items()}
    for args, purity in (({}, 0.9), (doubled, 0.7)):
        history = [{"stage": "warmup", "epoch": 0, "acc": 1.0}]
        history += [{"stage": "bsd", "epoch": 0, "acc": 1.0, "clean_size": 9, "clean_purity": purity}]
        lay(store, 50.0, 2.0, 0, more=args, history=history)
    for twice, purity in ((False, 0.9), (True, 0.7)):
        found = bsd.purity(store=store, twice=twice, initial_pool="random")
        assert found["clean_purity"].tolist() == [purity]


def usual_schedule():
    usual = USUAL.experiment("bsd", "laptop", 0).resolve().describe()["defense_args"]
    return {name: usual[name] for name in bsd.SCHEDULE}


@pytest.mark.parametrize("key", papers.available())
def test_what_papers_run_twice_is_longer(key):
    module = import_module(f"defenselib.papers.{key}.exhibits")
    assert module.TWICE
    for pair in module.TWICE:
        usual, longer = (cell.experiment(key, "laptop", 0).resolve() for cell in (pair.cell, pair.longer))
        before, after = usual.describe()["defense_args"], longer.describe()["defense_args"]
        assert {name for name in before if before[name] != after[name]} == set(pair.schedule)
        for name in pair.schedule:
            first, second = (v if isinstance(v, tuple | list) else (v,) for v in (before[name], after[name]))
            assert tuple(second) == tuple(2 * value for value in first), name
    assert len(module.doubled("laptop")) == len(module.TWICE)
