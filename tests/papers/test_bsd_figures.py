"""BSD's exhibits: what its figures read from results made by hand, and the claims on them."""

from __future__ import annotations

import pandas as pd
import pytest

from defenselib.experiments import Store
from defenselib.papers.bsd import cells as bsd_cells
from defenselib.papers.bsd import exhibits as bsd
from defenselib.plots import canvas

from .bsd_results import change, putter, row


@pytest.fixture
def put(store):
    return putter(store)


def claims_on(key: str, store: Store) -> tuple[pd.DataFrame, dict[str, str]]:
    exhibit = bsd.PAPER.exhibit(key)
    found = exhibit.reproduce("laptop", seeds=[0], store=store)
    drawn = exhibit.draw(found)
    assert canvas.NOTHING not in [text.get_text() for axis in drawn.axes for text in axis.texts]
    return found, dict(exhibit.claims(found).set_index("claim")["outcome"])


def test_poisoning_rates(put, store):
    for defense, acc in (("asd", 70), ("bsd", 80)):
        put(acc, 1, defense=defense)
        put(acc, 1, defense=defense, rate=0.2)
    found, outcomes = claims_on("figure-3", store)
    assert outcomes == {"low": "holds", "acc": "holds"}
    assert len(found) == 24 + 4  # two numbers for each of the four cells that were run
    put(60, 1, rate=0.01)
    put(65, 1, rate=0.01, defense="asd")
    assert claims_on("figure-3", store)[1]["acc"] == "fails"


def test_best_evidence_is_chosen_cell_by_cell_though_cells_share_a_method(put, store):
    put(80, 1)
    put(90, 2, rate=0.2, profile="gpu")
    found = bsd.PAPER.exhibit("figure-3").reproduce("best", store=store)
    ran = found[found["reproduced"].notna() & (found["metric"] == "acc")]
    assert dict(zip(ran["variant"], ran["profile"], strict=True)) == {"rate=0.05": "laptop", "rate=0.2": "gpu"}


def test_collapses(put, store):
    put(80, 1)
    bad = [
        {"stage": "bsd", "epoch": e, "acc": 80, "asr": 99, "clean_size": 50, "clean_poisoned": e, "rarest_class": 4}
        for e in range(9)
    ]
    put(80, 99, defense_args=dict(bsd_cells.WITHOUT["init"]), history=bad)
    put(70, 1, defense_args=dict(bsd_cells.WITHOUT["comp"]), history=[{**one, "rarest_class": 0} for one in bad])
    found, outcomes = claims_on("figure-5", store)
    assert outcomes == {"overfits": "holds", "underfits": "holds"}
    # 4 of 50 samples where ten classes could have 5 each.
    assert row(found, variant="without=nothing;epoch=0", metric="rarest")["reproduced"] == pytest.approx(80.0)
    assert row(found, variant="without=init;epoch=8", metric="poison")["reproduced"] == pytest.approx(16.0)


def test_poison_in_the_pool_is_summed(put, store):
    put(80, 1)
    more = [{"stage": "asd", "epoch": e, "acc": 80, "asr": 1, "clean_size": 50, "clean_poisoned": 3} for e in range(10)]
    put(80, 1, defense="asd", history=more)
    found, outcomes = claims_on("figure-6", store)
    assert outcomes == {"fewer": "holds"}
    assert row(found, defense="bsd", variant="rate=0.05;epoch=9", metric="sum")["reproduced"] == 20.0


def test_histograms_hold_every_sample(put, store):
    put(80, 1, dataset="gtsrb")
    found, outcomes = claims_on("figure-7", store)
    assert set(outcomes.values()) == {"holds"}
    counts = found[found["metric"] == "count"]
    for panel, size in (("a", 100), ("b", 20), ("c", 100), ("d", 100)):
        assert counts.loc[counts["variant"].str.startswith(f"panel={panel};"), "reproduced"].sum() == size
    flat = change(found, 50.0, metric="separation")
    assert set(bsd.PAPER.exhibit("figure-7").claims(flat)["outcome"]) == {"fails"}


def test_lengths_of_the_open_set_warm_up(put, store):
    put(80, 1)
    found, outcomes = claims_on("figure-8", store)
    assert outcomes == {"usual": "holds", "short": "fails", "long": "not run"}  # all lengths alike
    assert row(found, variant="length=1;epochs=4;rule=max", metric="separation")["reproduced"] == 0.0
    put(80, 1, times={"stage1_end": 2.0})
    assert claims_on("figure-8", store)[1]["long"] == "fails"
    assert bsd.PAPER.exhibit("figure-8").cells[1].experiment("bsd", "paper", 0).defense_args == {"stage1_end": 40}


def test_votes_for_the_target(put, store):
    put(80, 1)
    found, outcomes = claims_on("figure-9", store)
    assert outcomes == {"majority": "holds"}
    assert found.loc[found["metric"] == "vote", "reproduced"].tolist() == [1.0, 3.0, 3.0]
    wrong = change(found, 1.0, metric="target")
    assert set(bsd.PAPER.exhibit("figure-9").claims(wrong)["outcome"]) == {"fails"}


def test_a_forced_target(put, store):
    for target, asr in ((0, 1), (1, 2), (5, 99)):
        options = dict(bsd.PAPER.exhibit("figure-10").cells[target].options)
        put(80, asr, **options, metrics={"recovered": 60.0})
    found, outcomes = claims_on("figure-10", store)
    assert outcomes == {"mostly": "holds", "dog": "holds"}
    assert row(found, variant="target=5", metric="ra")["reproduced"] == 60.0


def test_all_to_all_and_looks(put, store):
    put(80, 10, attack="badnets-all2all", defense_args={"all_to_all": True})
    assert claims_on("figure-11", store)[1] == {"separates": "holds"}
    looks = {"triggered_psnr": 30.0, "triggered_ssim": 0.9, "triggered_linf": 255.0}
    put(80, 1, defense="none", rate=0.0, metrics=looks)
    found, _ = claims_on("figure-4", store)
    assert found["reproduced"].dropna().tolist() == [30.0, 0.9, 255.0]
