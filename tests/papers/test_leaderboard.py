"""The leaderboard's numbers against hand-computed ones, and its Pareto front."""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd
import pytest

from defenselib import defenses
from defenselib.experiments import Result, Store
from defenselib.papers import leaderboard
from defenselib.report import leaderboard as report


def test_der_is_taken_seed_by_seed_and_what_is_missing_stays_empty(put: Callable[..., Result], store: Store) -> None:
    put(80.0, 99.0, attack="badnets", seed=0)
    put(70.0, 100.0, attack="badnets", seed=1)
    put(76.0, 9.0, attack="badnets", defense="asd", seed=0)
    put(71.0, 20.0, attack="badnets", defense="asd", seed=1)
    table = leaderboard.table(attacks=["badnets"], store=store).set_index("defense")
    # DER of the seeds: (90 - 4 + 100) / 2 = 93 and (80 - 0 + 100) / 2 = 90.
    assert table.loc["asd", "der"] == pytest.approx(91.5) and table.loc["asd", "n"] == 2
    assert table.loc["asd", "acc"] == pytest.approx(73.5) and table.loc["asd", "sd_acc"] == pytest.approx(
        3.5355, abs=1e-3
    )
    assert math.isnan(table.loc["none", "der"])
    others = [name for name in defenses.available() if name not in ("none", "asd")]
    assert all(math.isnan(table.loc[name, "acc"]) and table.loc[name, "reason"] for name in others)
    html = str(report.board(table.reset_index(), "All"))
    assert html.index("ASD") < html.index("no defense") and "73.5\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}3.5" in html


@pytest.mark.slow
def test_a_repair_pays_for_the_model_it_repairs(store: Store) -> None:
    if "ft" not in defenses.available():
        pytest.skip("no post-training defense")
    table = leaderboard.table("smoke", attacks=["badnets"], defenses=["none", "ft"], run=True, store=store)
    table = table.set_index("defense")
    assert table.loc["ft", "seconds"] > table.loc["none", "seconds"] > 0
    assert table.loc["ft", "clean_given"] == 30 and not math.isnan(table.loc["ft", "der"])
    best = leaderboard.table("best", attacks=["badnets"], defenses=["none", "ft"], store=store)
    assert best["acc"].isna().all()


def test_the_front_holds_what_nothing_beats_in_both() -> None:
    points = pd.DataFrame({"der": [60.0, 90.0, 80.0, 90.0], "seconds": [1.0, 5.0, 6.0, 7.0]}, index=list("abcd"))
    assert list(report.undominated(points).index) == ["a", "b"]


def test_the_worst_case_is_over_the_attacks_that_were_run(put: Callable[..., Result], store: Store) -> None:
    """asd: DER (99 - 9 - 4 + 100) / 2 = 93 under BadNets, (80 - 30 - 0 + 100) / 2 = 75 under Blend; its ACC without
    attack is the lowest of all, which is no matter of DER."""
    put(80.0, 99.0, attack="badnets")
    put(76.0, 9.0, attack="badnets", defense="asd")
    put(70.0, 80.0, attack="blend")
    put(72.0, 30.0, attack="blend", defense="asd")
    put(60.0, 55.0, attack="none", defense="asd")
    table = leaderboard.table(
        attacks=["none", "badnets", "blend", "wanet"], defenses=["none", "asd", "abl"], store=store
    )
    found = leaderboard.summary(table).set_index("defense")
    asd = found.loc["asd"]
    assert (asd["attacks"], asd["of"], asd["worst_attack"]) == (2, 3, "blend")
    assert asd["worst_der"] == pytest.approx(75.0) and asd["mean_der"] == pytest.approx(84.0)
    assert (asd["worst_asr"], asd["worst_acc"]) == (30.0, 60.0)
    assert found.loc["none", "worst_asr"] == 99.0 and math.isnan(found.loc["none", "worst_der"])
    assert found.loc["abl", "attacks"] == 0 and list(found.index) == ["asd", "none", "abl"]
    text = str(report.summary(leaderboard.summary(table), "Worst"))
    assert ">2 of 3<" in text and ">75.0<" in text and ">Blend<" in text
    boxes = str(report.matrix(table, "All"))
    assert boxes.count('class="box-empty"') == 12 - 5 and boxes.count("not run</span>") == 7
    assert "9.0&nbsp;✓" in boxes and "30.0&nbsp;◐" in boxes and "99.0&nbsp;✗" in boxes
