"""The leaderboard's numbers against hand-computed ones, and its Pareto front."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations
from random import Random

import pandas as pd
import pytest

from defenselib import defenses
from defenselib.experiments import Result, Store
from defenselib.papers import leaderboard
from defenselib.plots import scatter
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
    points = pd.DataFrame({"der": [60.0, 90.0, 80.0, 90.0], "minutes": [1.0, 5.0, 6.0, 7.0]}, index=list("abcd"))
    assert list(scatter.undominated(points).index) == ["a", "b"]


def test_ranks_are_over_one_common_set_of_attacks_that_took(put: Callable[..., Result], store: Store) -> None:
    """asd: DER (99 - 9 - 4 + 100) / 2 = 93 under BadNets, (90 - 30 - 0 + 100) / 2 = 80 under Blend, and abl 98, 90.
    WaNet does not work, so that it is no part; spectral was tried under BadNets alone, and leads nowhere."""
    put(80.0, 99.0, attack="badnets")
    put(76.0, 9.0, attack="badnets", defense="asd")
    put(70.0, 90.0, attack="blend")
    put(72.0, 30.0, attack="blend", defense="asd")
    put(79.0, 2.0, attack="badnets", defense="abl")
    put(72.0, 10.0, attack="blend", defense="abl")
    put(80.0, 0.0, attack="badnets", defense="spectral")
    put(80.0, 40.0, attack="wanet")
    put(80.0, 0.0, attack="wanet", defense="asd")
    put(60.0, 55.0, attack="none", defense="asd")
    names = ["none", "asd", "abl", "spectral", "bsd"]
    table = leaderboard.table(attacks=["none", "badnets", "blend", "wanet"], defenses=names, store=store)
    assert set(table["profile"]) == {"laptop"} and leaderboard.common(table) == ("badnets", "blend")
    summary = leaderboard.summary(table)
    found = summary.set_index("defense")
    assert list(found.index[:2]) == ["abl", "asd"] and list(found["rank"][:2]) == [1, 2]
    assert found.loc[["none", "spectral", "bsd"], "rank"].isna().all()
    asd = found.loc["asd"]
    assert (asd["attacks"], asd["of"], asd["worst_attack"]) == (2, 2, "blend")
    assert asd["worst_der"] == pytest.approx(80.0) and asd["mean_der"] == pytest.approx(86.5)
    assert (asd["worst_asr"], asd["worst_acc"]) == (30.0, 72.0) and found.loc["spectral", "attacks"] == 1
    text = str(report.summary(summary, "Worst"))
    assert text.count(">unranked<") == 3 and ">2 of 2<" in text and ">80.0<" in text and ">Blend<" in text
    # Two have met both; three BadNets, which is fewer defenses times attacks.
    assert leaderboard.sets(table) == [(("badnets", "blend"), 2), (("badnets",), 3)]
    other = leaderboard.summary(table, ("badnets",)).set_index("defense")
    assert list(other.index[:3]) == ["spectral", "abl", "asd"] and other.loc["asd", "rank"] == 3
    assert other["rank"].notna().sum() == 3
    choice = str(report.ranking(table, "here"))
    assert ">BadNets, Blend: 2 defenses<" in choice and ">BadNets: 3 defenses<" in choice
    assert "ranks are over BadNets, which 3 defenses have all met" in choice
    boxes = str(report.matrix(table, "All"))
    assert "quality 75, 4:2:0" in boxes
    assert boxes.count('class="box-empty"') == boxes.count("not run</span>") == 20 - 10
    assert "2.0&nbsp;✓" in boxes and "30.0&nbsp;◐" in boxes and "99.0&nbsp;✗" in boxes
    assert "9.0&nbsp;?" in boxes and "within the spread of 5.0 points of 10" in boxes
    # A low ASR against an attack that does not work is nobody's merit.
    assert "0.0&nbsp;?" in boxes and "the attack reaches 40.0 % without defense" in boxes


def test_the_matrix_shows_what_defenses_met(put: Callable[..., Result], store: Store) -> None:
    put(80.0, 99.0, attack="badnets")
    put(79.0, 98.0, attack="blend")
    table = leaderboard.table("laptop", attacks=["badnets", "blend"], defenses=["none", "vab"], store=store)
    empty = table[
        (table["attack"] == "badnets") & (table["defense"] == "vab") & (table["preset"] == leaderboard.SHARED)
    ]
    own = empty.assign(preset="vab", n=1, asr=4.0, acc=77.0, standing="low")
    boxes = str(report.matrix(pd.concat([table, own]), "All"))
    assert "4.0*&nbsp;✓" in boxes and ">99.0&nbsp;✗<" in boxes and "Met by no defense so far: Blend." in boxes
    assert "98.0" not in boxes and "All: 3 of 4 pairs" in boxes
    # What was run under the shared setting comes before the paper's own.
    both = table.assign(n=table["n"].where(table.index != empty.index[0], 1)).fillna({"asr": 30.0, "acc": 70.0})
    both.loc[empty.index, "standing"] = "middle"
    assert "30.0&nbsp;◐" in str(report.matrix(pd.concat([both, own]), "All"))


def test_a_dead_target_class_counts_as_no_defense(put: Callable[..., Result], store: Store) -> None:
    put(80.0, 99.0, attack="badnets")
    put(75.0, 0.0, attack="badnets", defense="asd", per_class=(0.0,) * 10)
    put(80.0, 60.0, attack="badnets", defense="ft")
    table = leaderboard.table(attacks=["badnets"], defenses=["none", "asd", "ft"], store=store)
    found = leaderboard.summary(table).set_index("defense")
    assert found.loc["asd", "worst_der"] == 50.0 and found.loc["ft", "rank"] == 1 and found.loc["asd", "open"] == 1
    (axis,) = report.pareto(table.assign(seconds=60.0)).axes
    hollow = {
        text.get_text(): len(dots.get_facecolors()) == 0
        for text, dots in zip(axis.texts, axis.collections, strict=True)
    }
    assert hollow == {"ASD": True, "FT": True}  # one is nobody's merit, the other leaves the attack
    assert len(axis.get_lines()[0].get_xdata()) == 0


def test_own_presets_stand_apart(put: Callable[..., Result], store: Store) -> None:
    put(80.0, 100.0, attack="badnets", paper="dst_dbr")
    put(70.0, 1.0, attack="badnets", defense="dst", paper="dst_dbr")
    table = leaderboard.table(attacks=["badnets"], defenses=["none", "dst"], store=store)
    own = table[table["preset"] != leaderboard.SHARED]
    assert list(own["preset"]) == ["dst_dbr"] and own["der"].iloc[0] == pytest.approx((99 - 10 + 100) / 2)
    assert leaderboard.common(table) == () and leaderboard.summary(table)["rank"].isna().all()
    text = str(report.own_presets(table, "Own"))
    assert "quality 75, 4:2:0" in text
    assert (
        "D-ST and D-BR" in text
        and "94.5" in text
        and "none at this profile" in str(report.own_presets(table.iloc[:1], "x"))
    )


def test_who_is_unranked_says_what_it_lacks(put: Callable[..., Result], store: Store) -> None:
    for name, asr in (("badnets", 99.0), ("blend", 95.0)):
        put(80.0, asr, attack=name)
        for defense in ("asd", "abl"):
            put(76.0, 5.0, attack=name, defense=defense)
    put(79.0, 4.0, attack="badnets", defense="spectral")
    put(80.0, 100.0, attack="badnets", paper="dst_dbr")
    put(70.0, 1.0, attack="badnets", defense="dst", paper="dst_dbr")
    names = ["none", "asd", "abl", "spectral", "dst"]
    table = leaderboard.table(attacks=["badnets", "blend"], defenses=names, store=store)
    found = leaderboard.summary(table).set_index("defense")
    assert found.loc["spectral", "lacks"] == ("blend",) and found.loc["asd", "lacks"] == ()
    assert found.loc["dst", "lacks"] == ("badnets", "blend") and found.loc["dst", "own"] == ("badnets",)
    assert leaderboard.there(store) == [("cifar10", "laptop")]
    text = str(report.rankings({("cifar10", "laptop"): table}))
    assert (
        "ranks are over BadNets, Blend, which 2 defenses have all met" in text
        and "Worst case of every defense on CIFAR-10, laptop" in text
    )
    assert ">not run under Blend<" in text and "what the others are held against" in text
    assert ">under BadNets only as its own paper sets it; not run under Blend<" in text
    assert '<a href="asd.html">ASD</a>' in text and 'href="spectral' not in text


def test_seconds_are_those_of_one_kind_of_machine(put: Callable[..., Result], store: Store) -> None:
    put(80.0, 99.0, attack="badnets")
    for defense in ("asd", "abl"):
        put(76.0, 5.0, attack="badnets", defense=defense)
    table = leaderboard.table(attacks=["badnets"], defenses=["none", "asd", "abl"], store=store)
    mixed = table.assign(machine=["one", "one", "another"], seconds=60.0)
    timed = leaderboard._timed(mixed)
    assert list(timed["seconds"].notna()) == [True, True, False] and report.machine(timed) == " (one one)"
    points = timed.assign(der=90.0, gate="")
    assert "no minutes on this kind of machine (one one): ABL" in report.pareto(points, "Cost").axes[0].get_title()


def test_a_pair_opens_its_results() -> None:
    opened = str(report._made_of({"results": ("0" * 16,)}))
    assert "<summary>1 result</summary>" in opened and "0" * 16 in opened and report._made_of({"results": ()}) == ""


def drawn(seed: int) -> pd.DataFrame:
    """A board of five defenses and four attacks with holes, closed gates, attacks that do not take, and own presets."""
    draw, rows = Random(seed), []
    takes = {attack: draw.random() < 0.8 for attack in ("badnets", "blend", "wanet", "sig")}
    for attack in takes:
        for defense in ("none", "asd", "abl", "dst", "ft", "nad"):
            for preset in (leaderboard.SHARED, "own"):
                n = draw.choice((0, 1, 3)) if preset == leaderboard.SHARED else draw.choice((0, 0, 1))
                value = {name: draw.choice((20.0, 60.0, 80.0, 95.0)) if n else math.nan
                         for name in ("acc", "asr", "der", "ra", "recall", "seconds", "clean_given")}  # fmt: skip
                if defense == "none":
                    value["der"] = math.nan
                rows.append({"attack": attack, "defense": defense, "preset": preset, "n": n, **value,
                             "took": takes[attack], "gate": draw.choice(("", "", "dead"))})  # fmt: skip
    return pd.DataFrame(rows)


def test_sets_and_ranks_on_drawn_boards() -> None:
    for seed in range(8):
        frame = drawn(seed)
        shared = frame[(frame["preset"] == leaderboard.SHARED) & (frame["n"] > 0) & (frame["defense"] != "none")]
        met = {name: set(part.loc[part["took"], "attack"]) for name, part in shared.groupby("defense")}
        listed = list(dict.fromkeys(frame["attack"]))
        who = {some: {name for name in met if met[name] >= set(some)}
               for size in range(1, 5) for some in combinations(listed, size)}  # fmt: skip
        # Whole: one attack more, and some defense drops out.
        whole = {some: len(by) for some, by in who.items()
                 if len(by) > 1 and not any(set(other) > set(some) and who[other] == by for other in who)}  # fmt: skip
        found = leaderboard.sets(frame)
        if whole:
            assert dict(found) == whole and len(found) == len(whole), seed
            order = [(len(some) * many, len(some)) for some, many in found]
            assert order == sorted(order, reverse=True), seed
        chosen = set(leaderboard.common(frame))
        summary = leaderboard.summary(frame)
        worst: dict[str, float] = {}
        for row in summary.to_dict("records"):
            mine = frame[(frame["preset"] == leaderboard.SHARED) & (frame["defense"] == row["defense"])]
            mine = mine[(mine["n"] > 0) & mine["attack"].isin(chosen)]
            credited = [50.0 if gate else der for gate, der in zip(mine["gate"], mine["der"], strict=True)]
            if row["defense"] != "none" and set(mine["attack"]) == chosen:
                worst[row["defense"]] = min(credited)
                assert row["mean_der"] == pytest.approx(sum(credited) / len(credited)), seed
                assert min(credited) == credited[list(mine["attack"]).index(row["worst_attack"])], seed
            assert (row["attacks"], row["of"], row["open"]) == (len(mine), len(chosen), (mine["gate"] != "").sum())
            assert set(row["lacks"]) == chosen - set(mine["attack"]) and set(row["own"]) <= set(row["lacks"])
            extremes = {"worst_asr": mine["asr"].max(), "worst_acc": mine["acc"].min(), "seeds_from": mine["n"].min(),
                        "worst_recall": mine["recall"].min(), "seeds_to": mine["n"].max()}  # fmt: skip
            assert all(row[name] == value or len(mine) == 0 for name, value in extremes.items()), seed
        ranked = summary[summary["rank"].notna()].set_index("defense")["rank"]
        assert dict(ranked) == {name: 1 + sum(other > der for other in worst.values()) for name, der in worst.items()}
        assert list(summary["defense"])[: len(ranked)] == list(ranked.index) and ranked.is_monotonic_increasing


def test_where_nothing_is_poisoned_no_attack_took(put: Callable[..., Result], store: Store) -> None:
    for defense, asr in (("none", 99.0), ("asd", 4.0), ("abl", 3.0)):
        put(80.0, 9.0, attack="none", defense=defense)
        put(80.0, asr, attack="badnets", defense=defense)
    put(80.0, 6.0, attack="blend")
    names = ["none", "asd", "abl"]
    table = leaderboard.table(attacks=["none", "badnets", "blend"], defenses=names, store=store)
    assert leaderboard.sets(table) == [(("badnets",), 2)]
    plain = table[table["defense"] == "none"].set_index("attack")
    assert (plain.loc["blend", "standing"], plain.loc["blend", "why"]) == ("open", "the attack does not take")
    assert plain.loc["badnets", "standing"] == "high" and plain.loc["none", "standing"] == ""
