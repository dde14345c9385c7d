"""V&B's exhibits: every one is there, every row finds its cell, and what figures, text and claims read is right."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from defenselib import papers
from defenselib.papers import Cell
from defenselib.papers.kit import frame, printed
from defenselib.papers.kit.claims import as_printed
from defenselib.papers.vab import exhibits as vab
from defenselib.papers.vab import measures as vab_measures

PAPER = papers.get("vab")
N = 200


def warmed(put, store, attack="badnets", low=0.05, **fields):
    """A finished warm-up: twenty poisoned samples of low entropy, two of which look benign."""
    made = put(50.0, 90.0, paper="vab", attack=attack, defense="vab", stop_after="warmup", **fields)
    put(82.0, 99.0, paper="vab", attack=attack, defense="none", **fields)
    rng = np.random.default_rng(0)
    poisoned = np.arange(N) < 20
    values = np.where(poisoned, rng.normal(low, 0.01, N), rng.normal(0.7, 0.05, N))
    values[:2] = 0.7
    arrays = {"is_poisoned": np.packbits(poisoned)}
    for epoch in (1, 2, 3):
        arrays[f"scores/entropy/{epoch}"] = values.astype(np.float16)
        arrays[f"scores/raw_entropy/{epoch}"] = (2 * values / epoch).astype(np.float16)
    arrays["scores/entropy/9"] = np.zeros(N, np.float16)  # of a later stage
    history = [{"stage": "warmup", "epoch": e, "clean_poisoned": 2, "clean_size": 182} for e in range(3)]
    store.put(dataclasses.replace(made, history=history, poisoned_count=20), arrays)
    return poisoned, values


def test_every_listed_exhibit_is_written():
    assert [exhibit.key for exhibit in PAPER.exhibits] == list(printed.exhibits("vab").index)
    nothing = {exhibit.key for exhibit in PAPER.exhibits if exhibit.status != "available"}
    assert nothing == {"table-5", "figure-2"}


@pytest.mark.parametrize("key", [f"table-{i}" for i in (1, 2, 3, 4, 6, 7)])
def test_every_row_is_a_cell_that_can_be_made(key):
    for row in frame.records(printed.table("vab", key)):
        cell = vab.cell_of(row)
        resolved = cell.experiment("vab", "paper", 0).resolve() if cell.dataset == "cifar10" else None
        if resolved is not None:
            assert (resolved.rate, resolved.target) == (row["poisoning_rate"], row["target"])
            assert resolved.defense.name == row["defense"]


def test_variants_are_the_tables():
    usual = {"augmentation": {"attentionmix"}, "components": {"all"}, "warmup": {"original"}}
    for key, axis in (("table-3", "augmentation"), ("table-4", "components"), ("table-6", "warmup")):
        assert set(printed.table("vab", key)[axis].dropna()) == usual[axis] | set(vab.VARIANTS[axis])
    base = {"dataset": "cifar10", "attack": "blend", "defense": "vab"}
    usual_cell = vab.cell_of({**base, "components": "all"})
    assert usual_cell == Cell("cifar10", "blend", "vab")
    filtered = vab.cell_of({**base, "components": "F"}).experiment("vab", "paper", 0).resolve().defense
    assert (filtered.augmentation, filtered.semi_supervised, filtered.clean_end) == ("none", False, 200)
    strong = vab.cell_of({**base, "attack": "cl-32"}).experiment("vab", "paper", 0).resolve()
    assert strong.attack.eps == 32.0
    sig = vab.cell_of({"dataset": "imagenet-12", "attack": "sig", "defense": "vab", "poisoning_rate": 0.5})
    assert sig.options == {"rate": 0.5}


def test_variants_of_attacks_can_be_asked_for_by_name(put, store):
    put(60.0, 2.0, paper="vab", attack="clb", defense="vab", attack_args={"preset": "cl-32"})
    table = PAPER.exhibit("table-1").reproduce("laptop", store=store, attacks=["cl-32"])
    mine = table[(table["attack"] == "cl-32") & (table["defense"] == "vab")]
    assert list(mine["reproduced"]) == [60.0, 2.0]
    assert (table[table["attack"] == "cl-16"]["reason"] == "left out by request: attack Label-consistent").all()


def test_doubtful_numbers_are_no_targets(put, store):
    put(60.0, 2.0, paper="vab", attack="wanet", defense="vab", profile="gpu", defense_args={"augmentation": "mixup"})
    put(94.0, 2.0, paper="vab", attack="wanet", defense="vab", profile="gpu")
    table = PAPER.exhibit("table-3").reproduce("gpu", store=store)
    mixup = table[(table["attack"] == "wanet") & (table["augmentation"] == "mixup")]
    assert list(mixup["reproduced"]) == [60.0, 2.0]
    assert (
        set(mixup["verdict"]) == {"not comparable"} and mixup["reason"].str.startswith("no target: two columns").all()
    )
    usual = table[(table["attack"] == "wanet") & (table["augmentation"] == "attentionmix")]
    assert list(usual["verdict"]) == [
        "agrees",
        "undecided",
    ]  # no undefended model, so its low ASR may be nobody's merit


def test_after_stage_two_is_the_last_clean_epoch(put, store):
    made = put(80.0, 3.0, paper="vab", attack="blend", defense="vab")
    stages = [("warmup", 10.0), ("clean", 60.0), ("clean", 65.0), ("suppression", 70.0)]
    history = [{"stage": s, "epoch": 0, "acc": acc, "asr": 100 - acc} for s, acc in stages]
    store.put(dataclasses.replace(made, history=history), {})
    table = PAPER.exhibit("table-7").reproduce("laptop", store=store)
    mine = table[table["reproduced"].notna()].set_index(["metric", "after_stage"])["reproduced"]
    assert mine["acc", 2] == 65.0 and mine["acc", 3] == 80.0 and mine["asr", 2] == 35.0
    outcomes = PAPER.exhibit("table-7").claims(table).set_index("claim")["outcome"]
    # One cell of eleven; without its undefended model an ASR decides nothing.
    assert outcomes.to_dict() == {"stage-3-acc": "holds so far", "stage-3-asr": "undecided"}
    # Both stages are held against the finished undefended model.
    put(82.0, 99.0, paper="vab", attack="blend", defense="none")
    put(83.0, 2.0, paper="vab", attack="none", defense="none")
    table = PAPER.exhibit("table-7").reproduce("laptop", store=store)
    rated = table[table["reproduced"].notna() & (table["metric"] == "acc")].set_index("after_stage")["verdict"]
    assert rated.to_dict() == {2: "differs", 3: "agrees"}


def test_figure_1_means_and_what_is_caught(put, store):
    poisoned, values = warmed(put, store)
    found = PAPER.exhibit("figure-1").reproduce("laptop", store=store)
    ran = found[found["reproduced"].notna()].set_index(["metric", "epoch", "group"])["reproduced"]
    assert ran["entropy", 2, "poisoned"] == pytest.approx(values[poisoned].mean(), abs=1e-3)
    assert ran["entropy", 1, "benign"] == pytest.approx(2 * values[~poisoned].mean(), abs=1e-3)
    assert found[found["metric"] == "caught"]["reproduced"].tolist() == [90.0]
    apart = np.mean(values[~poisoned][:, None] > values[poisoned])
    last = found[(found["metric"] == "separation") & (found["epoch"] == 3)]["reproduced"]
    assert last.iloc[0] == pytest.approx(100 * apart, abs=1.0)
    assert PAPER.exhibit("figure-1").claims(found)["outcome"].tolist() == ["holds so far"] * 2
    assert PAPER.exhibit("figure-1").draw(found).axes


def test_figure_4_fits_the_end_of_the_warm_up(put, store):
    poisoned, _ = warmed(put, store)
    found = PAPER.exhibit("figure-4").reproduce("laptop", store=store)
    ran = found[found["reproduced"].notna()]
    assert ran[ran["metric"] == "count"]["reproduced"].sum() == N + poisoned.sum()
    fitted = ran[ran["component"] == "suspicious"].set_index("metric")["reproduced"]
    assert fitted["mean"] == pytest.approx(0.05, abs=0.01)
    assert fitted["weight"] == pytest.approx(0.09, abs=0.01)
    outcomes = PAPER.exhibit("figure-4").claims(found).set_index("claim")["outcome"]
    assert outcomes["separated"] == "holds" and outcomes["threshold"] == "fails"  # mu_1 + sigma_1 = 0.06
    assert len(PAPER.exhibit("figure-4").draw(found).axes) == 1


def test_figures_3_and_6_have_a_point_a_cell(put, store):
    put(92.0, 99.0, paper="vab", attack="badnets", defense="none", profile="gpu")
    for value in vab.THRESHOLDS:
        arguments = {} if value == 0.1 else {"defense_args": {"mix_threshold": value}}
        put(90.0 - 10 * value, 1.0, paper="vab", attack="badnets", defense="vab", profile="gpu", **arguments)
    for rate in vab.RATES[1:]:
        put(
            85.0 if rate == 0.3 else 89.0,
            100 * rate,
            paper="vab",
            attack="blend",
            defense="vab",
            profile="gpu",
            rate=rate,
        )
    put(89.0, 1.0, paper="vab", attack="blend", defense="vab", profile="gpu")
    figure_3 = PAPER.exhibit("figure-3").reproduce("gpu", store=store)
    acc = figure_3[figure_3["metric"] == "acc"].set_index(["attack", "t_m"])["reproduced"]
    assert acc["badnets", 0.3] == 87.0
    assert PAPER.exhibit("figure-3").draw(figure_3).axes[0].get_lines()
    outcomes = PAPER.exhibit("figure-3").claims(figure_3).set_index("claim")["outcome"].to_dict()
    assert outcomes == {"falls": "holds so far", "flat-asr": "holds so far", "flat-acc": "not run"}
    text = PAPER.exhibit("text-1").reproduce("gpu", store=store).set_index(["attack", "item"])["reproduced"]
    assert text["badnets", "t_m-where-BA-starts-to-drop"] == 0.2
    assert text["blend", "rate-where-BA-fluctuates"] == 0.3
    assert math.isnan(text["wanet", "rate-where-ASR-may-rise"])


def test_text_needs_all_its_cells(put, store):
    table = PAPER.exhibit("text-1").reproduce("laptop", store=store)
    assert len(table) == 13 and table["reproduced"].isna().all()
    assert (
        table["reason"]
        .iloc[0]
        .startswith("needs 6 trainings, 6 missing (BadNets, Blend, Dynamic, WaNet, Label-consistent)")
    )
    for attack in ("badnets", "blend"):
        warmed(put, store, attack)
    row = PAPER.exhibit("text-1").reproduce("laptop", store=store).iloc[4]
    assert row["reproduced"] == pytest.approx(0.06, abs=0.01)
    assert row["verdict"] == "not comparable"


def test_places_along_a_curve():
    places = (0.1, 0.2, 0.3, 0.4, 0.5)
    assert vab_measures.first_drop([94.0, 93.6, 93.0, 92.0, 90.0], places) == 0.3
    assert math.isnan(vab_measures.first_drop([94.0] * 5, places))
    assert vab_measures.highest([1.0, 5.0, 2.0, 2.0, 2.0], places) == 0.2
    assert vab_measures.deepest_dip([94.0, 93.0, 90.0, 93.0, 80.0], places) == 0.3


def test_what_the_papers_own_tables_say():
    fails = set()
    for exhibit in PAPER.exhibits:
        if exhibit.key.startswith("table") and exhibit.checks:
            found = exhibit.claims(as_printed(exhibit.reproduce("paper", store="/nowhere")))
            assert "not run" not in set(found["outcome"])
            fails |= {f"{exhibit.key} {claim}" for claim in found[found["outcome"] == "fails"]["claim"]}
    # CL-32 is printed as 94.73; on the subset V&B's BA under Blend is below the undefended model's.
    assert fails == {"table-1 attacks-work", "table-2 beats-undefended"}


def test_few_cells_at_smoke():
    wanted = set()
    for exhibit in PAPER.exhibits:
        thin = exhibit.setting.thin.get("smoke")
        if exhibit.key.startswith("table") and exhibit.checks:
            cells = [vab.cell_of(row) for row in frame.records(printed.table("vab", exhibit.key))]
        else:
            cells = list(getattr(exhibit, "cells", ()))
        wanted |= {cell for cell in cells if not thin.excludes(cell)}
    assert 4 <= len(wanted) <= 12


def test_the_diagram_draws_what_the_defense_computes():
    from defenselib.papers.vab import pipeline

    images, found, mixed, label = pipeline.example()
    assert images.shape[0] == 2 and label.sum() == pytest.approx(1.0) and 0 < label[1] < 1
    outside = found[0] < 0.1
    assert np.allclose(mixed[:, outside], images[0][:, outside], atol=1e-6)
    figure = PAPER.exhibit("figure-2").draw(PAPER.exhibit("figure-2").reproduce("laptop", store="/nowhere"))
    assert len(figure._repr_png_()) > 1000


@pytest.mark.parametrize("profile", ["laptop", "gpu"])
def test_early_suppression_numbers_the_beneficiarys_epochs(profile, put, store):
    assert all(found.empty for found in vab.early_suppression(store).values())
    stages = ["warmup", "warmup", "clean", "clean", "suppression"]
    history = [{"stage": stage, "epoch": i, "acc": 10.0 * i, "asr": 1.0} for i, stage in enumerate(stages)]
    early = vab.EARLY[profile].options
    made = put(20.0, 1.0, paper="vab", attack="badnets", defense="vab", profile=profile, **early)
    store.put(dataclasses.replace(made, history=history))
    found = vab.early_suppression(store)[profile]
    assert found["epoch"].tolist() == [0, 1, 2]
    assert found["stage"].tolist() == ["clean", "clean", "suppression"]
    assert found["acc"].tolist() == [20.0, 30.0, 40.0]
