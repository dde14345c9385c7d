"""What a chapter trains and says of it: declared pairs, a sentence that follows the results, claims line by line."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from defenselib import papers
from defenselib.errors import UnknownNameError
from defenselib.papers.headlines import HEADLINES
from defenselib.papers.kit import frame, printed
from defenselib.papers.kit.claims import FAILS, HOLDS, as_printed
from defenselib.report import chapters


def result(defense: str, acc: float, asr: float, **metrics: float) -> Any:
    described = {"defense": defense, "target": 1}
    return SimpleNamespace(acc=acc, asr=asr, per_class=(90.0, 80.0), experiment=described, metrics=metrics,
                           poisoned_count=176)  # fmt: skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The experiments that a chapter runs, none of which is trained."""
    seen: list[Any] = []

    def run(experiment: Any) -> Any:
        seen.append(experiment)
        return result(experiment.defense, 99.0, 100.0 if experiment.defense == "none" else 0.4)

    monkeypatch.setattr(chapters.experiments, "run", run)
    return seen


@pytest.mark.parametrize("paper", papers.available())
def test_at_demo_the_declared_pairs_are_trained_on_drawn_images(paper: str, asked: list[Any]) -> None:
    text = str(chapters.live(paper, "demo", ["table-1"], True, {}))
    assert [(one.attack, one.defense) for one in asked] == list(HEADLINES[paper].live)
    assert {(one.dataset, one.profile, one.seed) for one in asked} == {("shapes", "demo", 0)}
    assert "no evidence about the paper" in text and text.count("<tr>") == 1 + len(asked)


@pytest.mark.parametrize(("profile", "run"), [("best", True), ("demo", False)])
def test_nothing_is_trained_unasked(profile: str, run: bool, asked: list[Any]) -> None:
    assert "Nothing was trained" in str(chapters.live("asd", profile, ["table-2"], run, {})) and asked == []


def test_an_unknown_exhibit_is_refused_before_any_training(asked: list[Any]) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'table-2'"):
        chapters.live("asd", "demo", ["tabel-2"], True, {})
    assert asked == []


def test_elsewhere_the_cells_of_the_named_exhibits_are(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []

    def reproduce(self: Any, **given: Any) -> pd.DataFrame:
        called.append((self.key, given))
        return frame.unanswered(printed.table("asd", self.key), given["profile"], "no result in the store")

    monkeypatch.setattr(type(papers.get("asd").exhibit("table-2")), "reproduce", reproduce)
    chapters.live("asd", "laptop", ["table-2", "table-5"], True, {"attacks": ["badnets"]})
    assert [key for key, _ in called] == ["table-2", "table-5"]
    assert called[0][1] == {"profile": "laptop", "run": True, "attacks": ["badnets"]}


def test_all_stands_for_every_exhibit_that_can_be_run(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    for exhibit in {type(one) for one in papers.get("asd").exhibits}:
        monkeypatch.setattr(exhibit, "reproduce", lambda self, **given: called.append(self.key) or frame.unanswered(
            frame.rows_of([{}]), "laptop", "no result in the store"))  # fmt: skip
    chapters.live("asd", "laptop", ["all"], True, {})
    assert called == [one.key for one in papers.get("asd").exhibits if one.status == "available"]


BEFORE = result("none", 99.8, 100.0)


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (result("asd", 99.0, 0.4), "from 100.0 to 0.4 percent and costs 0.8 points of accuracy: the backdoor is gone."),
        (result("asd", 60.0, 0.4), "the backdoor is gone, at a high price."),
        (result("asd", 99.9, 40.0), "costs no accuracy: the backdoor is weaker, not gone."),
        (result("asd", 99.0, 100.0), "the backdoor is as strong as before, not gone."),
        (result("aabl", 99.0, 31.0, poison_kept=35.5), "lets 36 percent of the poison through"),
    ],
)
def test_the_sentence_follows_the_results(after: Any, said: str) -> None:
    assert said in chapters.verdict([BEFORE, after])


def test_claims_are_listed_with_what_decided_them() -> None:
    exhibit = papers.get("asd").exhibit("table-2")
    rows = as_printed(frame.unanswered(printed.table("asd", "table-2"), "laptop", "")).assign(profile="laptop")
    text = str(chapters.claims(exhibit, rows))
    judged = exhibit.claims(rows)
    for outcome in (HOLDS, FAILS):
        assert text.count(f"verdict-{outcome}") == int((judged["outcome"] == outcome).sum())
    assert 'href="verdicts-asd.html#exhibit-table-2"' in text
    nothing = frame.unanswered(printed.table("asd", "table-2"), "laptop", "no result in the store")
    text = str(chapters.claims(exhibit, nothing))
    assert "<li>" not in text and f"{len(judged)} of {len(judged)} claims wait" in text


def test_failing_claims_of_several_tables() -> None:
    row = {"source": "Sec. 1", "numbers": "1 of 2 against: BadNets 5.00; 1 of 2 for"}
    tables = [
        pd.DataFrame(
            [{"statement": name, "outcome": outcome, **row} for name, outcome in (("a", HOLDS), ("b", FAILS))]
        ),
        pd.DataFrame([{"statement": "c", "outcome": FAILS, **row}]),
    ]
    text = str(chapters.failing(tables, "In print"))
    assert text.count("<li>") == 2 and "b (Sec. 1) <span>1 of 2 against: BadNets 5.00</span>" in text
    assert "a (Sec. 1)" not in text and "None fails" in str(chapters.failing([tables[0].iloc[:1]], "In print"))


def test_what_a_chapter_trains_is_declared_for_its_own_method() -> None:
    for paper, headline in HEADLINES.items():
        assert headline.live[-1][1] in headline.shown, paper
