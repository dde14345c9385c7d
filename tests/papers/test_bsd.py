"""BSD's exhibits: which training answers a number, DER, misprints, claims and figures on numbers made by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from defenselib import papers
from defenselib.experiments import Result, Store
from defenselib.experiments.code_digest import code_digest
from defenselib.papers import bsd, bsd_cells, bsd_printed, frame, grid, printed
from defenselib.report import canvas, layouts

N, POISONED = 100, 10
ENDS = {"stage1_end": 4, "stage2_end": 8, "epochs": 10}
TABLES = [key for key in printed.tables("bsd") if bsd.PAPER.exhibit(key).checks]


def arrays() -> dict[str, np.ndarray]:
    """Per-sample arrays as a BSD run leaves them; the first ten of a hundred samples are poisoned, twenty are labelled
    as the target."""
    poisoned = np.arange(N) < POISONED
    distance = np.where(np.arange(N) < 20, np.where(poisoned, 1.0, 3.0), np.nan)
    spread = np.linspace(0, 0.5, N)
    found = {
        "altruistic_loss/0": np.where(poisoned, 0.1, 2.0) + spread,
        "altruistic_loss/10": np.where(poisoned, 0.1, 2.0) + spread,
        "loss/10": np.where(poisoned, 9.0, 0.2) + spread,
    }
    found |= {f"distance_{rule}/{epoch}": distance for rule in ("min", "max", "mean") for epoch in (1, 2, 4)}
    return {f"scores/{key}": value.astype(np.float16) for key, value in found.items()} | {
        "is_poisoned": np.packbits(poisoned)
    }


@pytest.fixture
def put(store: Store) -> Callable[..., Result]:
    """put(acc, asr, **fields of Experiment): a finished result of BSD's paper."""

    def make(acc: float, asr: float, times: dict[str, float] | None = None, **more: Any) -> Result:
        given = {"profile": "laptop", "dataset": "cifar10", "attack": "badnets", "defense": "bsd", **more}
        attack, defense, metrics = given.pop("attack"), given.pop("defense"), given.pop("metrics", {})
        history = given.pop("history", None)
        profile, seed = given.pop("profile"), given.pop("seed", 0)
        cell = papers.Cell(given.pop("dataset"), attack, defense, given, times or {})
        resolved = cell.experiment("bsd", profile, seed).resolve()
        described = resolved.describe()
        described["defense_args"] |= ENDS if defense == "bsd" else {}
        pool = {"clean_size": 50, "clean_poisoned": 2, "rarest_class": 4}
        usual = [{"stage": defense, "epoch": e, "acc": acc, "asr": asr, **pool} for e in range(10)]
        votes = [{"stage": "warmup", "epoch": e, "vote": v, "target": 3} for e, v in enumerate((1, 3, 3))]
        result = Result(
            experiment=described,
            spec=resolved.spec(),
            hash=resolved.hash,
            profile=resolved.profile,
            acc=acc,
            asr=asr,
            per_class=(acc,) * 10,
            history=[*votes, *usual] if history is None else history,
            seconds=3600.0,
            poisoned_count=POISONED,
            metrics=metrics,
            machine={"cores": 2, "gpu": None},
            code=code_digest(resolved.attack.name, resolved.defense.name, resolved.diagnostic),
            stem=resolved.stem,
        )
        return store.put(result, arrays() if defense == "bsd" else {})

    return make


def row(found: pd.DataFrame, **where: object) -> pd.Series:
    for column, value in where.items():
        found = found[found[column].isna()] if value is None else found[found[column].astype(str) == str(value)]
    assert len(found) == 1, where
    return found.iloc[0]


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
    assert math.isnan(mean["reproduced"]) and mean["reason"] == "average of 3 attacks, missing: blend, wanet"


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
    assert row(hours, dataset="average", defense="bsd")["reason"] == "average of 3 data sets, missing: imagenet-30"
    # The time of Table 9 stands in its average rows, but is a single number.
    costs = bsd.PAPER.exhibit("table-9").reproduce("laptop", seeds=[0], store=store)
    assert row(costs, attack="average", defense="bsd", metric="hours")["reproduced"] == 1.0


def test_printed_ders_follow_from_their_parts_but_for_three():
    checks = {key: bsd_printed.der_check(key) for key in bsd_printed.der_tables()}
    assert sum(map(len, checks.values())) == 189
    found = bsd_printed.misprints().set_index(["table", "dataset", "attack", "defense"])
    assert list(found.index) == [
        ("table-1", "gtsrb", "blend", "dbd"),
        ("table-1", "imagenet-30", "blend", "abl"),
        ("table-6", "cifar10", "blend", "bsd"),
    ]
    assert found["expected"].round(2).tolist() == [47.15, 43.7, 50.0]
    rows = printed.table("bsd", "table-1").loc[bsd_printed.doubtful("table-1")]
    assert rows["published"].tolist() == [46.9, 42.6] and rows["note"].str.contains("Eq. 12").all()


def test_a_misprint_is_marked_where_it_stands(store):
    found = bsd.PAPER.exhibit("table-6").reproduce("laptop", store=store)
    html = str(layouts.layout(found, ["variant"], ["attack", "metric"], "Table 6", bsd_printed.doubtful("table-6")))
    assert html.count("49.6 †") == 1 and html.count("†") == 3  # the cell, the caption, the caption as a label


def test_the_searched_baselines_print_the_best_of_their_search():
    best = bsd_printed.best_settings()
    assert len(best) == 28
    # Table 2 prints 99.5, Table 19 prints 99.6 for the same run.
    assert best.loc[~best["agrees"], ["table", "defense", "attack"]].to_numpy().tolist() == [
        ["table-2", "dbd", "narcissus"]
    ]
    assert bsd_printed.best_setting("table-2", "nad", "sig") == "beta=1e10"


WHERE = {"dataset": "cifar10", "attack": "badnets", "defense": "bsd", "model": "resnet18", "poisoning_rate": 0.05}
ROW = {**WHERE, "target": None, "variant": None, "metric": "acc"}


@pytest.mark.parametrize(
    ("answer", "more", "options"),
    [
        (bsd_cells.usual, {}, {}),
        (bsd_cells.usual, {"target": "3", "poisoning_rate": 0.05}, {}),
        (bsd_cells.usual, {"target": "7"}, {"target": 7}),
        (bsd_cells.usual, {"attack": "adaptive", "poisoning_rate": 0.2}, {"rate": 0.2}),
        (bsd_cells.usual, {"model": "mobilenet_v2"}, {"model": "mobilenetv2"}),
        (bsd_cells.ablated, {"variant": "without=comp"}, {"defense_args": {"completion": False}}),
        (bsd_cells.ablated, {"variant": "alpha=0.7;beta=0.2"}, {"defense_args": {"alpha": 0.7, "beta": 0.2}}),
        (bsd_cells.search, {"defense": "fp", "variant": "prune_ratio=0.3"}, {"defense_args": {"ratio": 0.3}}),
        (bsd_cells.search, {"defense": "nad", "variant": "beta=1e7"}, {"defense_args": {"beta": (1e7, 1e7)}}),
        (bsd_cells.search, {"defense": "nad", "variant": "beta=default"}, {}),
        (bsd_cells.search, {"defense": "abl", "variant": "gamma=0.4"}, {"defense_args": {"gamma": 0.4}}),
    ],
)
def test_the_training_that_answers_a_row(answer, more, options):
    cell = answer({**ROW, **more})
    assert cell.options == options


def test_what_the_paper_does_not_describe_says_so():
    assert "BackdoorBench" in bsd_cells.search({**ROW, "defense": "abl", "variant": "gamma=default"})


def test_every_cell_of_every_exhibit_is_a_valid_experiment():
    wanted = {}
    for exhibit in bsd.PAPER.exhibits:
        cells = list(getattr(exhibit, "cells", ()))
        if exhibit.key in printed.tables("bsd"):
            rows = printed.table("bsd", exhibit.key)
            means = frame.parts_of_averages(rows)
            chosen = rows[[place not in means for place in range(len(rows))]]
            cells = [exhibit.cell(one) for one in frame.records(chosen)]
        wanted |= {repr(cell): cell for cell in cells if isinstance(cell, papers.Cell)}
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
            if isinstance(cell, papers.Cell) and not thin.excludes(cell):
                wanted.add(repr(cell))
        wanted |= {repr(cell) for cell in getattr(exhibit, "cells", ()) if not thin.excludes(cell)}
    assert len(wanted) == 9  # Table 1: two attacks, three defenses; Table 6: three ablations


def test_a_request_lifts_the_rule_for_settings():
    thin = bsd.REST["laptop"]
    cell = papers.Cell("cifar10", "badnets", "bsd", {"rate": 0.2})
    assert thin.excludes(cell) == "settings other than the usual ones"
    assert not thin.without(grid.Thin(attacks=("badnets",))).excludes(cell)


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


def as_printed(key: str, profile: str = "paper") -> pd.DataFrame:
    rows = printed.table("bsd", key)
    made = [{**frame.entry([value], ["here"]), "verdict": "agrees"} for value in rows["published"]]
    return frame.finish(rows, made, profile)


# The paper's own numbers contradict what its abstract says of all of them.
CONTRADICTED = {("table-1", "over-20")}
CLAIMS = [(key, claim.key) for key in TABLES for claim in bsd.PAPER.exhibit(key).checks]


@pytest.mark.parametrize("key", TABLES)
def test_the_printed_numbers_support_every_claim_but_one(key):
    outcomes = bsd.PAPER.exhibit(key).claims(as_printed(key)).set_index("claim")
    for name, one in outcomes.iterrows():
        assert one["outcome"] == ("fails" if (key, name) in CONTRADICTED else "holds"), (key, name, one["numbers"])


@pytest.mark.parametrize("key", TABLES)
def test_no_number_no_claim(key):
    exhibit = bsd.PAPER.exhibit(key)
    assert set(exhibit.claims(as_printed(key).assign(reproduced=math.nan))["outcome"]) == {"not run"}
    assert set(exhibit.claims(as_printed(key, "smoke"))["outcome"]) == {"not run"}


# What each table would show if BSD did nothing and all settings were alike.
FLAT = {"acc": 80.0, "asr": 100.0, "der": 50.0, "hours": 1.0, "count": 9.0, "correct": 0.0}


@pytest.mark.parametrize(("key", "claim"), [pair for pair in CLAIMS if pair[0] not in ("table-5", "table-1")])
def test_numbers_without_any_effect_contradict_the_claims(key, claim):
    found = as_printed(key)
    found["reproduced"] = found["metric"].map(FLAT).astype(float)
    outcome = bsd.PAPER.exhibit(key).claims(found).set_index("claim").loc[claim, "outcome"]
    # Ties count as the first place, and where everything fails so do the others.
    shared = ("leads", "best-cells", "keeps-acc", "dbd-fails", "asd-fails", "vab-sig", "dst-sig")
    assert outcome == ("holds" if claim in shared else "fails")


def change(found: pd.DataFrame, value: float, **where: str) -> pd.DataFrame:
    mask = pd.Series(True, found.index)
    for column, name in where.items():
        mask &= found[column] == name
    assert mask.any()
    return found.assign(reproduced=found["reproduced"].mask(mask, value))


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


def test_the_ablation_is_decided_by_the_attacks_that_were_run():
    found = as_printed("table-6", "laptop")
    found.loc[found["attack"] != "badnets", "reproduced"] = math.nan
    outcomes = bsd.PAPER.exhibit("table-6").claims(found).set_index("claim")
    assert set(outcomes["outcome"]) == {"holds"} and outcomes.loc["init", "numbers"] == "ASR: badnets 0.9 → 100.0"


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


@pytest.mark.parametrize("key", [*printed.tables("bsd"), "figure-1", "figure-2"])
def test_every_table_and_diagram_can_be_drawn(key):
    exhibit = bsd.PAPER.exhibit(key)
    found = as_printed(key) if key in printed.tables("bsd") else exhibit.reproduce("laptop")
    assert exhibit.draw(found).axes
