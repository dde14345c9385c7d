"""The five lines at the head of a chapter say what claims and frames say: flip a number and they change."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from defenselib import papers
from defenselib.papers import headlines
from defenselib.papers.headlines import HEADLINES
from defenselib.papers.kit import claims, frame, printed
from defenselib.papers.kit.claims import FAILS, HOLDS, NOT_RUN, RANK, SO_FAR, UNDECIDED, as_printed
from defenselib.report import boxes

Levels = dict[str, dict[str, pd.DataFrame]]


def levels(paper: str, profile: str = "paper") -> Levels:
    """As if every printed number of the decisive exhibits had been reproduced at one profile, and none elsewhere."""
    found: Levels = {}
    for exhibit in HEADLINES[paper].exhibits:
        rows = printed.table(paper, exhibit.key)
        none = {name: frame.unanswered(rows, name, "no result in the store") for name in RANK}
        found[exhibit.key] = {**none, profile: as_printed(none[profile]).assign(profile=profile, n=1)}
    return found


def facts(paper: str, frames: Levels, created: tuple[str, ...] = ()) -> boxes.Facts:
    headline = HEADLINES[paper]
    found = headlines.outcomes(headline, frames)
    by_profile = {name: [one[name] for one in frames.values()] for name in found}
    return boxes.Facts(headline, found, by_profile, created, 0)


def change(frames: Levels, exhibit: str, value: float, profile: str = "paper", gate: str = "", **where: str) -> None:
    """Set the reproduced number of one row."""
    rows = frames[exhibit][profile]
    hit = pd.Series(True, index=rows.index)
    for column, wanted in where.items():
        hit &= rows[column] == wanted
    (place,) = rows.index[hit]
    rows = rows.copy()
    rows.loc[place, "reproduced"], rows.loc[place, "gate"] = value, gate
    rows.at[place, "by_seed"] = {} if math.isnan(value) else {0: value}
    frames[exhibit][profile] = rows


BADNETS = {"dataset": "cifar10", "attack": "badnets", "defense": "asd"}


def test_every_paper_has_a_headline_of_claims_that_exist() -> None:
    unlike = set(HEADLINES) ^ set(papers.available())
    assert not unlike, f"papers/headlines.py needs what every paper promises above all, and no other: {unlike}"
    for headline in HEADLINES.values():
        for exhibit, key in headline.claims:
            assert headline.claim(exhibit, key).sentence
        shown = {str(name) for one in headline.exhibits for name in printed.table(headline.paper, one.key)["defense"]}
        assert set(headline.shown) <= shown and headline.live[0][1] == "none"


@pytest.mark.parametrize("paper", papers.available())
def test_print_that_is_reproduced_holds_or_contradicts_itself(paper: str) -> None:
    """On the paper's own numbers nothing is undecided; the box says all of it, and nothing of other profiles."""
    known = facts(paper, levels(paper))
    assert list(known.outcomes) == ["paper"]
    assert {one.outcome for one in known.outcomes["paper"]} <= {HOLDS, FAILS}
    said = boxes.came_out(known)
    assert "<code>paper</code>" in said and "laptop" not in said and "gpu" not in said


def test_one_number_turns_the_answer() -> None:
    frames = levels("asd")
    before = facts("asd", frames)
    assert headlines.answer(before.outcomes["paper"]) == HOLDS
    assert "against it" not in boxes.came_out(before)
    change(frames, "table-2", 60.0, metric="asr", **BADNETS)
    after = facts("asd", frames)
    assert headlines.answer(after.outcomes["paper"]) == FAILS
    assert "against it CIFAR-10/BadNets 60.00" in boxes.came_out(after)
    assert boxes.answered(before) != boxes.answered(after) and "fails" in boxes.answered(after)


def test_a_closed_gate_decides_nothing_and_is_named() -> None:
    frames = levels("asd")
    gate = "the target class is right in 2.6 % (undefended 61.5 %)"
    change(frames, "table-2", 1.2, gate=gate, metric="asr", **BADNETS)
    known = facts("asd", frames)
    assert known.outcomes["paper"][0].outcome == SO_FAR
    assert "decides nothing: CIFAR-10/BadNets 1.20" in boxes.came_out(known)
    assert "the target class is hardly recognised any more (1)" in boxes.why_not(known)
    assert "hardly recognised" not in boxes.why_not(facts("asd", levels("asd")))


def test_what_is_missing_is_counted_with_its_reasons() -> None:
    frames = levels("asd")
    change(frames, "table-2", math.nan, metric="asr", **BADNETS)
    known = facts("asd", frames)
    rows = frames["table-2"]["paper"]
    assert f"1 of {len(rows)} numbers not run (1 that nobody has trained yet)" in boxes.why_not(known)
    assert "1 of 18 not run" in boxes.came_out(known)


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("average of 6 attacks, missing: badnets", "averages over cells that are missing"),
        ("worst of 7 attacks, missing: badnets", "averages over cells that are missing"),
        ("no result in the store", "that nobody has trained yet"),
        ("left out at this profile: attack Input-aware", "left out to save time (attacks)"),
        ("left out at this profile: data set GTSRB", "left out to save time (data sets)"),
        ("left out at this profile: ImageNet is out of reach of a CPU", "since ImageNet is out of reach of a CPU"),
        ("defense fp not implemented yet", "defense fp not implemented yet"),
    ],
)
def test_reasons_in_words(reason: str, said: str) -> None:
    assert boxes.reason_in_words(reason) == said


def test_seeds_spread_and_profile_say_how_sure() -> None:
    frames = levels("asd", "laptop")
    said = boxes.how_sure(facts("asd", frames))
    assert said.startswith("laptop: 1 seed a number") and "not levels" in said
    rows = frames["table-2"]["laptop"]
    frames["table-2"]["laptop"] = rows.assign(n=[3] + [1] * (len(rows) - 1), spread=2.25)
    said = boxes.how_sure(facts("asd", frames))
    assert "1 to 3 seeds" in said and "ACC ± 2.2" in said and "numbers are compared" not in said
    assert "numbers are compared" in boxes.how_sure(facts("asd", levels("asd", "gpu")))


def test_an_assumed_spread_says_so() -> None:
    rows = levels("asd")["table-2"]["paper"].assign(spread=2.0, n=1)
    assert headlines.spread_of([rows], "acc") == (2.0, False)
    assert headlines.spread_of([rows, rows.assign(n=3, spread=0.5)], "acc") == (0.5, True)
    assert math.isnan(headlines.spread_of([rows.assign(reproduced=math.nan)], "acc")[0])


def test_the_newest_result_dates_the_box() -> None:
    known = facts("asd", levels("asd"), ("2026-11-25T06:15:45+00:00", "2026-11-26T01:00:00+00:00"))
    assert boxes.since(known) == "26 November 2026, the newest of 2 results."
    assert boxes.since(facts("asd", levels("asd"))) == "No result yet."


def test_without_a_result_the_box_says_that() -> None:
    rows = printed.table("asd", "table-2")
    frames = {"table-2": {name: frame.unanswered(rows, name, "no result in the store") for name in RANK}}
    known = facts("asd", frames)
    assert known.outcomes == {} and NOT_RUN in boxes.answered(known)
    assert boxes.came_out(known) == "Nothing of it has been run."


def outcome(word: str) -> headlines.Outcome:
    claim = papers.get("asd").exhibit("table-2").checks[0]
    return headlines.Outcome("table-2", claim, "laptop", word, ())


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ((HOLDS, HOLDS), HOLDS),
        ((HOLDS, FAILS), FAILS),
        ((SO_FAR, UNDECIDED), SO_FAR),
        ((HOLDS, NOT_RUN), SO_FAR),
        ((UNDECIDED, NOT_RUN), UNDECIDED),
        ((NOT_RUN,), NOT_RUN),
        ((), NOT_RUN),
    ],
)
def test_the_answer_of_several_claims(words: tuple[str, ...], answer: str) -> None:
    assert headlines.answer([outcome(word) for word in words]) == answer


def test_the_picture_shows_single_attacks_with_and_without_the_defense() -> None:
    frames = levels("asd")
    rows = boxes.decisive(HEADLINES["asd"], [frames["table-2"]["paper"]])
    assert set(rows["defense"]) == {"none", "asd"} and not {"average", "none"} & set(rows["attack"])
    change(frames, "table-2", math.nan, metric="asr", **BADNETS)
    change(frames, "table-2", math.nan, metric="acc", **BADNETS)
    fewer = boxes.decisive(HEADLINES["asd"], [frames["table-2"]["paper"]])
    gone = (fewer["dataset"] == "cifar10") & (fewer["attack"] == "badnets")
    assert not gone.any(), "an undefended model alone decides nothing"


def test_listed_names_and_counts() -> None:
    points = [claims.Point("false", f"{i}.0", {"attack": name}) for i, name in enumerate(("badnets", "blend", "wanet"))]
    assert claims.listed(points, points, most=2) == "BadNets 0.0, Blend 1.0 and 1 more"
