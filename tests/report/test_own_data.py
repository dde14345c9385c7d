"""The chapter on data of one's own: committed tables as they were measured, and words where there are none."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pandas as pd
import pytest
from bs4 import BeautifulSoup

from defenselib.audit.trials import COLUMNS, Row
from defenselib.defenses import create
from defenselib.report import own_data


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEFENSELIB_RESULTS", str(tmp_path))
    (tmp_path / "audit").mkdir()
    return tmp_path / "audit"


def rows_of(html: object) -> list[dict[str, str]]:
    found = BeautifulSoup(str(html), "html.parser")
    head = [cell.get_text() for cell in found.select("thead th")]
    lines = [[cell.get_text() for cell in row.find_all(["th", "td"])] for row in found.select("tbody tr")]
    return [dict(zip(head, line, strict=True)) for line in lines]


def test_what_was_not_measured_is_said(results: Path) -> None:
    assert "Scans: not measured yet" in str(own_data.scans("Scans"))
    assert "Models: not measured yet" in str(own_data.models("Models"))


def test_scans_are_means_over_subsets_and_wolves_are_counted(results: Path) -> None:
    def line(**values: object) -> str:
        base = {"dataset": "cifar10", "images": 2000, "attack": "badnets", "rate": 0.05, "poisoned": 100, "target": 3}
        base |= {"budget": "quick"}
        return ",".join(str((base | values).get(name, "")) for name in COLUMNS)

    table = [
        ",".join(COLUMNS),
        line(seed=0, alarm="alarm", guess=3, precision=1.0, recall=0.5, hit_agreement=0.9),
        line(seed=1, alarm="look", guess=4, precision=0.5, recall=0.1, hit_agreement=0.7),
        line(seed=0, alarm="calm", guess="", budget="standard", precision=0.0, recall=0.0, hit_agreement=0.2),
        line(seed=0, attack="none", rate=0, poisoned=0, target="", alarm="calm"),
        line(seed=1, attack="none", rate=0, poisoned=0, target="", alarm="look"),
    ]
    (results / own_data.SCANS).write_text("\n".join(table) + "\n")
    poisoned, clean, longer = rows_of(own_data.scans("Scans"))
    assert [longer[key] for key in ("budget", "subsets", "calm", "recall, flagged")] == ["standard", "1", "1", "0"]
    assert [poisoned[key] for key in ("subsets", "alarm", "look", "calm", "target right")] == ["2", "1", "1", "0", "1"]
    assert [poisoned[key] for key in ("precision, flagged", "recall, flagged", "poison first, all signs")] == [
        "75", "30", "80",
    ]  # fmt: skip
    assert [clean[key] for key in ("attack", "alarm", "look", "calm", "target right", "recall, flagged")] == [
        "no attack", "0", "1", "1", "–", "–",
    ]  # fmt: skip
    assert set(own_data.TOLD) <= set(COLUMNS)
    assert "calm report: 1 of 3 poisoned subsets: BadNets on CIFAR-10 at 5 % (standard)." in str(own_data.missed())


def test_models_of_one_poisoned_folder_stand_side_by_side(results: Path) -> None:
    names = [field.name for field in fields(Row)]
    base = {"dataset": "cifar10", "images": 200, "attack": "badnets", "rate": 0.05, "poisoned": 10, "profile": "demo"}
    lines = [
        base | {"defense": "none", "acc": 61.25, "asr": 100, "alarm": "look", "removed": 3, "removed_poisoned": 20},
        base | {"defense": "abl", "acc": 60, "asr": 0.04, "alarm": "alarm", "removed": 6, "removed_poisoned": 90,
                "target_right": True},
        base | {"defense": "abl", "attack": "none", "rate": 0.0, "poisoned": 0, "acc": 62, "alarm": "calm",
                "removed": 0.5},
        base | {"defense": "abl", "rate": 0.01, "poisoned": 2, "acc": 61, "asr": 97, "alarm": "calm", "removed": 0},
    ]  # fmt: skip
    table = [",".join(names), *(",".join(str(line.get(name, "")) for name in names) for line in lines)]
    (results / own_data.DELIVERED).write_text("\n".join(table) + "\n")
    few, poisoned, clean = rows_of(own_data.models("Models"))
    assert [few[key] for key in ("poison", "no defense", "ABL")] == ["1 %", "–", "61.0 / 97.0"]
    assert [poisoned[key] for key in ("no defense", "ABL", "scan", "target right")] == [
        "61.2 / 100.0", "60.0 / 0.0", "alarm", "yes",
    ]  # fmt: skip
    assert [poisoned[key] for key in ("poisoned", "poison left out", "clean left out")] == ["10", "9 of 10", "3"]
    assert [clean[key] for key in ("no defense", "ABL", "scan", "poison left out", "clean left out")] == [
        "–", "62.0 / –", "calm", "–", "1",
    ]  # fmt: skip


def test_a_folder_is_drawn_only_where_none_is_given(tmp_path: Path) -> None:
    assert own_data.folder_of("somewhere", tmp_path, 20, "badnets", 0) == (Path("somewhere"), None)
    place, example = own_data.folder_of("", tmp_path, 40, "badnets", 0)
    assert example is not None and len(list(place.glob("*/*.png"))) == 40 and bool(example.is_poisoned.any())
    _, plain = own_data.folder_of("", tmp_path / "plain", 40, "none", 0)
    assert plain is not None and plain.triggered is None and not plain.is_poisoned.any()


def test_what_the_chapter_says_of_the_committed_scans() -> None:
    rows = pd.read_csv(Path(__file__).parents[2] / "book" / "results" / "audit" / own_data.SCANS)
    poisoned, clean = rows[rows["attack"] != "none"], rows[rows["attack"] == "none"]
    told = poisoned[poisoned["alarm"] != "calm"]
    assert (told["precision"] == 1).all() and (clean["alarm"] == "calm").all()
    assert set(clean.groupby(["dataset", "budget"])["seed"].nunique()) == {10}
    looked = poisoned[(poisoned["budget"] == "standard") & (poisoned["dataset"] == "cifar10")]
    loss = looked.pivot_table(index="attack", columns="rate", values="hit_loss")
    assert all(0.45 <= loss.loc[name, 0.05] <= 0.5 for name in ("badnets", "clb")) and loss.loc["sig", 0.05] > 0.85
    assert (loss.loc[["blend", "wanet"], 0.05] <= 0.02).all() and (loss[0.01] <= 0.05).all()
    sig = poisoned[(poisoned["attack"] == "sig") & (poisoned["dataset"] == "cifar10") & (poisoned["rate"] == 0.05)]
    assert dict(zip(sig["budget"], sig["alarm"], strict=True)) == {"quick": "look", "standard": "alarm"}
    assert (poisoned[poisoned["attack"] == "wanet"]["alarm"] == "calm").all()


def test_what_the_chapter_says_of_delivered_models() -> None:
    rows = pd.read_csv(Path(__file__).parents[2] / "book" / "results" / "audit" / own_data.DELIVERED)
    seldom, rows = rows[rows["rate"] < 0.05].set_index(["dataset", "attack"]), rows[rows["rate"] >= 0.05]
    assert (rows[rows["images"] == 3000]["asr"] < 50).all()
    large = rows[(rows["images"] == 20_000) & (rows["attack"] == "badnets") & (rows["dataset"] == "cifar10")]
    large = large.set_index("defense")
    abl = rows[(rows["images"] == 20_000) & (rows["defense"] == "abl")].set_index(["dataset", "attack"])
    assert abl.loc[("gtsrb", "badnets"), "asr"] < 1
    assert 20 < abl.loc[("cifar10", "blend"), "asr"] < 30 and abl.loc[("gtsrb", "blend"), "asr"] > 90
    blend = abl.xs("blend", level="attack")
    assert (blend["alarm"] == "alarm").all() and blend["target_right"].all() and (blend["removed_poisoned"] > 80).all()
    assert abl.loc[("cifar10", "sig"), "asr"] < 5 and 40 < abl.loc[("cifar10", "sig"), "acc"] < 50
    sig = abl.loc[("gtsrb", "sig")]
    assert sig["alarm"] != "alarm" and sig["removed_poisoned"] == 0 and sig["asr"] > 90
    wanet, clb = abl.xs("wanet", level="attack"), abl.xs("clb", level="attack")
    assert (wanet["alarm"] == "calm").all() and (wanet["asr"] > 50).all() and len(wanet) == len(clb) == 2
    assert (clb["removed_poisoned"] == 100).all() and (clb["asr"] < 3).all()
    assert large.loc["none", "asr"] > 99 and round(large.loc["abl", "asr"]) == 8
    assert round(large.loc["none", "acc"] - large.loc["abl", "acc"]) == 4
    few, clean = seldom.loc[("cifar10", "badnets")], seldom.loc[("cifar10", "none")]
    assert few["removed_poisoned"] == 100 and few["removed"] == 1 and (round(few["acc"]), round(few["asr"])) == (65, 15)
    assert round(seldom.loc[("gtsrb", "badnets"), "removed_poisoned"]) in (94, 95)  # nineteen of twenty
    assert round(large.loc["abl", "acc"]) == 76 and (clean["alarm"], round(clean["acc"])) == ("calm", 66)
    assert round(large.loc["none", "acc"] - clean["acc"]) == 14 and create("abl").isolated_share == 0.01
    signs = seldom.loc[("gtsrb", "none")]
    assert signs["alarm"] == "look" and round(100 / signs["removed"], -1) == 90 and round(signs["acc"]) == 81
    assert round(abl.loc[("gtsrb", "badnets"), "acc"]) == 93
    for _, row in large.iterrows():
        gone = round(row["removed"] / 100 * row["images"], 1)
        assert row["poisoned"] - round(row["removed_poisoned"] / 100 * row["poisoned"]) == 1
        assert abs(gone - (row["poisoned"] - 1)) <= 1
