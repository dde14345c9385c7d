"""What changed since version 0.1: every committed verdict and outcome of that version meets today's, with a reason."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pandas as pd
import pytest

from defenselib import papers
from defenselib.errors import DataError
from defenselib.papers.coverage import Found
from defenselib.papers.kit import frame, printed
from defenselib.report import changed


@pytest.fixture
def then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A version 0.1 in which two numbers of ASD's Table 2 agreed and three claims held."""
    folder = tmp_path / "book" / "earlier"
    folder.mkdir(parents=True)
    rows = ["asd,table-2,0,laptop,agrees,80", "asd,table-2,1,laptop,agrees,7", "asd,table-2,9,laptop,differs,5"]
    (folder / "verdicts-0.1.csv").write_text("\n".join(["paper,exhibit,row,profile,verdict,reproduced", *rows]))
    claims = ["asd,table-2,asd-low,best,holds", "asd,table-2,attacks-work,best,holds", "asd,table-2,nobody,best,holds"]
    (folder / "claims-0.1.csv").write_text("\n".join(["paper,exhibit,claim,profile,outcome", *claims]))
    monkeypatch.setenv("DEFENSELIB_RESULTS", str(tmp_path / "book" / "results"))
    return folder


@pytest.fixture
def now() -> list[Found]:
    exhibit, rows = papers.get("asd").exhibit("table-2"), printed.table("asd", "table-2")
    made = [{**frame.entry([], reason="not there"), "verdict": "not run"}] * len(rows)
    made[0] = {**frame.entry([80.0]), "verdict": "agrees"}
    made[1] = {**frame.entry([7.0]), "verdict": "undecided", "gate": "the target class is gone"}
    made[2] = {**frame.entry([60.0]), "verdict": "differs"}
    found = frame.finish(rows, made, "laptop")
    return [Found(exhibit, {"laptop": found}, {"laptop": exhibit.claims(found)})]


def test_every_number_of_then_or_now_is_there_once_with_a_reason(then: Path, now: list[Found]) -> None:
    numbers = changed.verdicts(now).set_index("row")
    assert list(numbers.index) == [0, 1, 2, 9]
    pairs = dict(zip(numbers.index, zip(numbers["before"], numbers["after"], strict=True), strict=True))
    assert pairs == {0: ("agrees", "agrees"), 1: ("agrees", "undecided"), 2: ("not run", "differs"),
                     9: ("differs", "not run")}  # fmt: skip
    assert numbers.loc[1, "why"] == "gate: the target class is gone" and "missing: not there" in numbers.loc[9, "why"]
    text = str(changed.counts(changed.verdicts(now)))
    assert "2 → 1" in text and "all five papers" in text
    listed = str(changed.listed(changed.verdicts(now), "Numbers"))
    assert "3 of 4 changed" in listed and "? undecided" in listed and listed.count("<tr>") == 4


def test_claims_that_are_gone_or_no_longer_hold_are_counted(then: Path, now: list[Found]) -> None:
    claims = changed.claims(now)
    after = claims[claims["profile"] == changed.SHOWN].set_index("claim")["after"]
    assert after["nobody"] == changed.GONE and after["asd-low"] != "holds"
    held, kept = changed.held(claims), changed.held(claims, still=True)
    assert held == 3 and kept + changed.held(claims, still=False) == 3 and kept == (after == "holds").sum()
    assert claims["why"].str.len().min() > 0
    assert changed.bars(claims).axes[0].get_title() == "Version 0.1"


def test_outside_the_repository_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DEFENSELIB_RESULTS", str(tmp_path / "results"))
    with pytest.raises(DataError, match=re.escape("book/earlier")):
        changed.earlier("claims")


def test_the_committed_version_names_numbers_and_papers_that_exist(root: Path) -> None:
    for kind in ("verdicts", "claims"):
        path = root / "book" / "earlier" / f"{kind}-0.1.csv"
        assert path.stat().st_size < 300_000
        rows = pd.read_csv(path)
        for (paper, exhibit), part in rows.groupby(["paper", "exhibit"]):
            assert exhibit in printed.exhibits(paper).index
            assert kind == "claims" or part["row"].max() < len(printed.table(paper, exhibit))
            assert kind == "claims" or not part["reproduced"].map(math.isnan).any()
