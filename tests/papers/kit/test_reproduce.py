"""From a store to the frame: look-up, seeds, averages, thinning, profiles side by side."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from defenselib import experiments, papers
from defenselib.errors import InvalidValueError, TrainingDivergedError, UnknownNameError
from defenselib.experiments import journal
from defenselib.papers import Cell, Table
from defenselib.papers.asd import exhibits as asd
from defenselib.papers.kit import frame, printed
from defenselib.papers.kit.request import Thin

TABLE = papers.get("asd").exhibit("table-2")


def row(found: pd.DataFrame, attack: str, defense: str, metric: str, dataset: str = "cifar10") -> pd.Series:
    where = (found["dataset"] == dataset) & (found["attack"] == attack)
    hit = found[where & (found["defense"] == defense) & (found["metric"] == metric)]
    assert len(hit) == 1
    return hit.iloc[0]


def test_mean_spread_and_seeds(put, store):
    for seed, acc in enumerate((70.0, 72.0, 74.0)):
        put(acc, 1.0, attack="badnets", defense="asd", seed=seed)
    found = row(TABLE.reproduce("laptop", store=store), "badnets", "asd", "acc")
    assert (found["reproduced"], found["n"], found["sd"]) == (72.0, 3, 2.0)
    assert found["profile"] == "laptop"
    assert found["ran_on"] == "2 CPU cores"


def test_missing_seeds_are_named(put, store):
    put(80.0, 99.0, attack="badnets", seed=1)
    put(70.0, 1.0, attack="badnets", defense="asd", seed=1)
    found = row(TABLE.reproduce("laptop", store=store), "badnets", "asd", "asr")
    assert (found["n"], found["verdict"]) == (1, "agrees")
    assert found["reason"] == "1 of 3 seeds; seed 0, 2 not run"
    assert math.isnan(found["sd"])


def test_verdict_uses_the_partner_cells(put, store):
    put(78.0, 99.0, attack="blend", defense="none")
    put(60.0, 2.0, attack="blend", defense="asd")
    found = TABLE.reproduce("laptop", store=store)
    assert row(found, "blend", "asd", "asr")["verdict"] == "agrees"
    assert row(found, "blend", "asd", "acc")["verdict"] == "differs"  # a drop of 18, printed 0.4
    alone = row(found, "blend", "none", "acc")
    assert (alone["verdict"], alone["reproduced"]) == ("undecided", 78.0)
    assert "without attack" in alone["reason"]
    put(80.0, 1.0, attack="none", defense="none")
    assert row(TABLE.reproduce("laptop", store=store), "blend", "none", "acc")["verdict"] == "agrees"


def test_a_request_does_not_hide_the_partner(put, store):
    put(78.0, 99.0, attack="blend", defense="none")
    put(76.0, 2.0, attack="blend", defense="asd")
    found = TABLE.reproduce("laptop", store=store, defenses=["asd"], attacks=["blend"])
    assert row(found, "blend", "asd", "acc")["verdict"] == "agrees"
    assert row(found, "blend", "none", "acc")["reason"] == "left out by request: defense none"


def test_every_row_without_number_says_why(store):
    found = TABLE.reproduce("laptop", store=store, attacks=["badnets"])
    assert len(found) == 252
    assert row(found, "blend", "asd", "acc")["reason"] == "left out by request: attack Blend"
    assert row(found, "badnets", "asd", "acc")["reason"] == "no result in the store"
    left_out = row(found, "badnets", "asd", "acc", "imagenet-subset")["reason"]
    assert left_out.startswith("left out at this profile: ")
    assert (found["reason"] != "").all()


def test_what_no_code_answers_says_so(store, monkeypatch):
    monkeypatch.setattr("defenselib.defenses.available", lambda: ("none", "asd"))
    found = TABLE.reproduce("laptop", store=store)
    assert row(found, "badnets", "fp", "acc")["reason"] == "defense fp not implemented yet"


def test_smoke_leaves_out_by_declared_rules_and_never_judges(put, store):
    put(90.0, 1.0, attack="badnets", defense="asd", profile="smoke")
    found = TABLE.reproduce("smoke", store=store)
    assert row(found, "badnets", "asd", "acc")["reproduced"] == 90.0
    assert set(found["verdict"]) == {"not run", "not comparable"}
    # shapes stand in for every data set at smoke: the one result must not show up as GTSRB's.
    other = row(found, "badnets", "asd", "acc", "gtsrb")
    assert math.isnan(other["reproduced"])
    assert other["reason"] == "left out at this profile: data set GTSRB"


def test_smoke_trains_at_most_twelve_cells():
    thin = asd.THIN["smoke"]
    cells = {asd_cell for _, r in printed.table("asd", "table-2").iterrows() if (asd_cell := cell_of(r))}
    wanted = [cell for cell in cells if not thin.excludes(cell)]
    assert 0 < len(wanted) * len(asd.SEEDS(wanted[0], "smoke")) <= 8  # and four more: no attack, the oracle


def cell_of(r: pd.Series) -> Cell | None:
    return None if r["attack"] == "average" else Cell(r["dataset"], r["attack"], r["defense"])


def test_seeds_are_declared_in_one_place(put, store):
    assert asd.SEEDS(Cell("cifar10", "badnets", "asd"), "laptop") == (0, 1, 2)
    assert asd.SEEDS(Cell("cifar10", "blend", "asd"), "laptop") == (0,)
    assert asd.SEEDS(Cell("cifar10", "badnets", "asd"), "gpu") == (0,)
    assert asd.SEEDS(Cell("cifar10", "badnets", "dbd-meta-split"), "laptop") == (0,)
    assert asd.SEEDS(Cell("cifar10", "badnets", "asd", {"defense_args": {"ssl": "uda"}}), "laptop") == (0,)
    assert asd.SEEDS(Cell("cifar10", "badnets", "asd", times={"epochs": 2.0}), "laptop") == (0,)
    assert asd.SEEDS(Cell("cifar10", "badnets", "asd", {"measure": ("acc", "ra")}), "laptop") == (0, 1, 2)
    put(70.0, 1.0, attack="blend", defense="asd", seed=7)
    found = TABLE.reproduce("laptop", store=store, seeds=[7])
    assert row(found, "blend", "asd", "acc")["n"] == 1


def averaged(values: dict[str, float], metric: str = "acc", **more: dict) -> dict:
    rows = frame.rows_of(
        [{"dataset": "d", "attack": a, "defense": "asd", "metric": metric} for a in (*values, "average")]
    )
    found = [{**frame.entry([v] * 2, ["here"]), "drop": v - 1, **more.get(a, {})} for a, v in values.items()]
    found.append(frame.entry([]))
    frame.fill_averages(rows, found, frame.parts_of_averages(rows))
    return found[-1]


def test_average_is_the_mean_of_its_parts():
    made = averaged({"a": 80.0, "b": 90.0}, a={"source": "one"}, b={"source": "two"})
    assert (made["reproduced"], made["n"], made["drop"], made["source"]) == (85.0, 2, 84.0, "one, two")
    assert math.isnan(made["sd"])


def test_average_of_missing_parts_is_not_run_and_names_them():
    made = averaged({"a": 80.0, "b": math.nan})
    assert math.isnan(made["reproduced"])
    assert made["reason"] == "average of 2 attacks, missing: B"


def test_an_average_counts_only_where_all_of_its_parts_do():
    assert averaged({"a": 1.0, "clb": 2.0}, "asr", clb={"gate": "dead"})["gate"] == "Label-consistent: dead"


def test_average_of_the_table_needs_all_six(put, store):
    put(70.0, 1.0, attack="blend", defense="asd")
    reason = row(TABLE.reproduce("laptop", store=store), "average", "asd", "acc")["reason"]
    assert reason == "average of 6 attacks, missing: BadNets, WaNet, Input-aware, Refool, Label-consistent"


def test_best_is_one_profile_for_the_whole_exhibit(put, store):
    put(80.0, 99.0, attack="badnets", profile="laptop")
    put(78.0, 2.0, attack="badnets", defense="asd", profile="laptop")
    put(94.0, 99.0, attack="blend", profile="gpu")
    put(99.0, 9.0, attack="blend", defense="none", profile="smoke")
    levels = TABLE.evidence(store)
    best = TABLE.reproduce("best", store=store)
    assert set(levels) == {"paper", "gpu", "laptop"} and set(best["profile"]) == {"laptop"}
    assert best.equals(levels["laptop"]) and best.equals(TABLE.reproduce("laptop", store=store))
    assert math.isnan(row(best, "blend", "none", "acc")["reproduced"])
    put(93.0, 1.0, attack="blend", defense="asd", profile="gpu")
    put(93.0, 1.0, attack="badnets", defense="asd", profile="gpu")
    put(94.0, 99.0, attack="badnets", profile="gpu")
    assert set(TABLE.reproduce("best", store=store)["profile"]) == {"gpu"}


def test_rows_say_which_copy_of_the_data_they_were_made_on(put, store):
    put(80.0, 99.0, attack="badnets")
    found = TABLE.reproduce("laptop", store=store)
    assert row(found, "badnets", "none", "acc")["source"] == "cifar10-jpeg"
    assert row(found, "blend", "none", "acc")["source"] == ""


def test_a_model_that_forgot_the_target_credits_no_defense(put, store):
    put(80.0, 99.0, attack="blend")
    put(70.0, 0.0, attack="blend", defense="asd", per_class=(78.0,) * 3 + (0.0,) + (78.0,) * 6)
    found = row(TABLE.reproduce("laptop", store=store), "blend", "asd", "asr")
    assert found["verdict"] == "undecided" and "target class" in found["gate"]
    put(80.0, 40.0, attack="wanet")
    put(78.0, 0.0, attack="wanet", defense="asd")
    weak = row(TABLE.reproduce("laptop", store=store), "wanet", "asd", "asr")
    assert weak["verdict"] == "undecided" and "40.0 % without defense" in weak["gate"]


def test_result_of_older_code_is_shown_as_such(put, store, monkeypatch):
    put(62.0, 99.0, attack="blend")
    put(60.0, 2.0, attack="blend", defense="asd")
    monkeypatch.setattr("defenselib.experiments.result.Result.made_by_current_code", lambda self: False)
    found = row(TABLE.reproduce("laptop", store=store), "blend", "asd", "asr")
    assert found["reason"] == "made by older code"
    assert found["verdict"] == "agrees"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"attacks": ["badnet"]}, "did you mean 'badnets'"),
        ({"datasets": ["cifar-10"]}, "did you mean 'cifar10'"),
        ({"defenses": ["asdd"]}, "did you mean 'asd'"),
        ({"profile": "labtop"}, "did you mean 'laptop'"),
    ],
)
def test_unknown_names_suggest_the_nearest(wrong, words):
    with pytest.raises(UnknownNameError, match=words):
        TABLE.reproduce(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"attacks": []},
        {"attacks": "badnets"},
        {"seeds": []},
        {"seeds": [-1]},
        {"seeds": [True]},
        {"seeds": [0.5]},
        {"profile": "best", "run": True},
    ],
)
def test_wrong_values_raise(wrong):
    with pytest.raises(InvalidValueError):
        TABLE.reproduce(**wrong)


def test_run_computes_what_is_asked_and_nothing_else(put, store, monkeypatch):
    asked = []

    def fake(experiment, store=None):
        asked.append((experiment.dataset, experiment.attack, experiment.defense))
        return put(
            50.0, 1.0, **{name: getattr(experiment, name) for name in ("dataset", "attack", "defense", "profile")}
        )

    monkeypatch.setattr("defenselib.experiments.run", fake)
    found = TABLE.reproduce("smoke", run=True, store=store, attacks=["badnets"])
    assert sorted(set(asked)) == [("cifar10", "badnets", "asd"), ("cifar10", "badnets", "none")]
    assert len(asked) == 2  # two metrics of one cell are one run
    assert found["reproduced"].notna().sum() == 4


def test_a_cell_that_diverges_stops_no_other_and_says_why(put, store, monkeypatch, tmp_path):
    results = {seed: put(70.0 + seed, 1.0, attack="badnets", defense="asd", seed=seed) for seed in range(3)}

    def run(experiment, store):
        if experiment.defense == "none" or experiment.seed == 1:
            raise TrainingDivergedError("the loss of 'asd' became nan")
        return results[experiment.seed]

    monkeypatch.setattr(experiments, "run", run)
    monkeypatch.setenv(journal.JOURNAL, str(tmp_path / "journal"))
    asked = {"attacks": ["badnets"], "defenses": ["none", "asd"], "datasets": ["cifar10"], "seeds": [0, 1, 2]}
    found = TABLE.reproduce("laptop", run=True, store=store, **asked)
    asd_row, alone = (row(found, "badnets", name, "acc") for name in ("asd", "none"))
    assert (asd_row["n"], asd_row["reproduced"]) == (2, 71.0)
    assert "seed 1 failed: the loss of 'asd' became nan" in asd_row["reason"]
    assert alone["verdict"] == "not run" and "seed 0 failed: the loss" in alone["reason"]
    failed = [line["cell"] for line in journal.read(tmp_path / "journal") if line["state"] == "failed"]
    assert len({name for name in failed if "badnets" in name}) == 4


def test_a_request_overrides_the_declared_rule():
    declared = asd.THIN["laptop"].without(Thin(attacks=("iab",)))
    assert not declared.excludes(Cell("cifar10", "iab", "asd"))
    assert asd.THIN["laptop"].excludes(Cell("cifar10", "iab", "asd")) == "attack Input-aware"


def test_an_exhibit_is_a_few_lines(put, store):
    def cell(r):
        return Cell(r["dataset"], r["attack"], r["defense"], {"defense_args": {"poisoned_seeds": 0}})

    table = Table(paper="asd", key="table-5", setting=asd.SETTING, cell=cell)
    put(70.0, 1.0, attack="blend", defense="asd", defense_args={"poisoned_seeds": 0})
    found = table.reproduce("laptop", store=store)
    assert found["reproduced"].notna().any()
