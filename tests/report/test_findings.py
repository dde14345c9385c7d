"""The page that answers first: every sentence follows the pairs and outcomes that it is made of."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defenselib import attacks
from defenselib.papers import findings
from defenselib.papers.findings import FAILED, LOW, MIDDLE, OPEN, Pair
from defenselib.papers.headlines import answer
from defenselib.papers.kit.claims import FAILS, HOLDS, NOT_RUN, OUTCOMES, SO_FAR
from defenselib.papers.kit.statements import every
from defenselib.papers.kit.verdict import ACC_MARGIN, ASR_LOW, standing
from defenselib.papers.kit.view import View
from defenselib.report import findings as page

CLEAN = {"asd": "10 a class"}
GOOD = Pair("dbr", "badnets", LOW, 0.2, 2.6, 1, False, 6.0, 0.0)
DEAR = Pair("dst", "sig", LOW, 6.5, 31.5, 1, True, 25.0, 0.0)
WORSE = Pair("dst", "badnets", FAILED, 14.6, 33.5, 1, True, 25.0, 0.0)
CLOSED = Pair("asd", "badnets", OPEN, 1.9, 27.8, 3, False, math.nan, 40.0)
FOUND = (GOOD, DEAR, WORSE, CLOSED)


def test_every_attack_of_the_registry_is_one_situation() -> None:
    listed = [name for one in findings.situations() for name in one.attacks]
    poisons = [name for name in attacks.available() if attacks.ATTACKS[name].poisons]
    assert sorted(listed) == sorted(poisons)


@given(asr=st.floats(0, 100), gate=st.sampled_from(["", "the target class is gone"]), spread=st.floats(0, 20))
def test_states_are_those_of_claims_that_every_asr_is_low(asr: float, gate: str, spread: float) -> None:
    row = {"metric": "asr", "attack": "badnets", "reproduced": asr, "published": math.nan, "gate": gate,
           "false_target": math.nan, "spread": spread, "by_seed": {}, "profile": "laptop"}  # fmt: skip
    (point,) = every("asr", "<=", ASR_LOW).points(View(pd.DataFrame([row]), "order"))
    state, why = standing(asr, gate, math.nan, spread)
    assert point.state == {LOW: "true", MIDDLE: "false", FAILED: "false", OPEN: "open"}[state]
    assert bool(why) == (state == OPEN)


def test_what_calls_everything_the_target_tells_nothing() -> None:
    assert standing(40.0, "", 38.0, 5.0)[0] == OPEN and standing(60.0, "", 38.0, 5.0)[0] == FAILED


def test_the_first_to_try_kept_two_attacks_low_and_let_none_through() -> None:
    other = replace(GOOD, attack="blend")
    assert findings.first({"laptop": FOUND}) == "", "one attack is too few"
    assert findings.first({"laptop": (*FOUND, other)}) == "dbr"
    assert findings.first({"laptop": (*FOUND, replace(other, drop=ACC_MARGIN + 1))}) == ""
    for state in (MIDDLE, FAILED):
        assert findings.first({"laptop": (*FOUND, other), "gpu": (replace(GOOD, attack="sig", state=state),)}) == ""
    assert findings.first({"laptop": (*FOUND, other, replace(GOOD, attack="sig", state=OPEN))}) == "dbr"
    said = page.of_first({"laptop": (*FOUND, other)}, CLEAN)
    assert said.startswith("<b>First to try: D-BR.</b> BadNets: ASR 0.2, ACC −2.6 at <code>laptop</code>, 1 seed")
    assert "It needs no clean sample." in said
    assert "clean samples, 5" in page.of_first({"laptop": (*FOUND, other)}, {"dbr": "5"})


def test_without_a_first_to_try_the_page_says_who_came_near() -> None:
    fails = replace(GOOD, attack="clb", state=FAILED, asr=37.0)
    said = page.of_first({"laptop": (*FOUND, fails)}, CLEAN)
    assert "nothing yet" in said and "D-BR kept low BadNets (" in said
    assert "but not Label-consistent (<code>laptop</code>: ASR 37.0)." in said
    assert "and nothing else decides." in page.of_first({"laptop": (replace(GOOD, own=True),)}, CLEAN)
    assert page.of_first({"laptop": (CLOSED,)}, CLEAN).endswith("let none through.")


def test_another_data_set_is_named() -> None:
    said = page.of_profile("laptop", FOUND, dataset="gtsrb")
    assert said.startswith("On GTSRB, at <code>laptop</code>, an attack was kept low")
    text = str(page.answers({"laptop": (CLOSED,)}, {}, CLEAN, {"gtsrb": {"laptop": (replace(CLOSED, state=LOW),)}}))
    assert "On GTSRB" in text and "Of these ASD did" in text


def test_a_profile_says_what_it_saw() -> None:
    said = page.of_profile("laptop", FOUND)
    assert "by D-BR (BadNets: ASR 0.2, ACC −2.6)" in said and "At a higher price: D-ST (SIG)" in said
    assert "higher price" not in page.of_profile("laptop", FOUND, whole=False)
    closed = page.of_profile("laptop", [replace(pair, state=OPEN) for pair in FOUND])
    assert closed.endswith("no defense was seen to keep an attack low.")
    dear = page.of_profile("laptop", [replace(GOOD, drop=20.0)])
    assert "no attack was kept low for at most 5 points" in dear and "At a higher price: D-BR (BadNets)" in dear


def test_always_means_under_all_that_were_met() -> None:
    assert "Of the 1 that met several attacks none" in page.always((DEAR, WORSE))
    assert "several attacks D-ST did so" in page.always((DEAR, replace(WORSE, state=LOW)))
    assert page.always((GOOD,)) == "None was run under more than one attack."


def test_clean_samples_time_and_drawn_images() -> None:
    said = page.of_clean([FOUND], CLEAN)
    assert "needed by ASD (10 a class)" in said and "Of these none did" in said and "D-BR and D-ST did" in said
    assert "Of these ASD did" in page.of_clean([[replace(CLOSED, state=LOW)]], CLEAN)
    assert "D-BR (6 min, ACC −2.6) and D-ST (25 min, ACC −31.5)" in page.of_time({"laptop": FOUND})
    assert page.of_time({"laptop": (CLOSED,)}) == ""
    said = page.of_drawn({"asd": (3, 3), "bsd": (1, 3), "ft": (0, 2)})
    assert "in every trial by ASD; in some by BSD (1 of 3); in none by FT." in said
    assert page.of_drawn({}) == ""


def test_the_table_sorts_every_pair_once() -> None:
    text = str(page.table(FOUND, "laptop"))
    cells = re.findall(r"<td>(.*?)</td>", text)
    assert len(cells) == 5 * len(findings.situations())
    patch, label = cells[:5], cells[-5:]
    assert "D-BR" in patch[0] and patch[1] == "–" and "D-ST" in patch[3] and patch[4] == "BadNets: ASD"
    assert "D-ST" in label[1] and set(label) - {label[1]} == {"–"}
    between = str(page.table([replace(GOOD, state=MIDDLE, asr=30.0)], "laptop"))
    assert "BadNets: 30.0" in re.findall(r"<td>(.*?)</td>", between)[2]
    flipped = str(page.table([replace(GOOD, state=FAILED, asr=99.0), DEAR, WORSE, CLOSED], "laptop"))
    assert "BadNets: 99.0" in re.findall(r"<td>(.*?)</td>", flipped)[3]


def test_pairs_come_from_the_leaderboard_with_their_gates() -> None:
    row = {"defense": "asd", "attack": "badnets", "asr": 1.9, "standing": LOW, "drop": 3.0, "n": 3, "preset": "shared",
           "seconds": 120.0, "clean_given": 40.0}  # fmt: skip
    rows = [row, {**row, "standing": OPEN}, {**row, "n": 0}, {**row, "defense": "none"}]
    found = findings.pairs(pd.DataFrame(rows))
    assert [pair.state for pair in found] == [LOW, OPEN] and found[0].minutes == 2.0 and found[0].cheap


def test_who_needs_clean_samples_is_asked_of_the_defenses() -> None:
    needs = findings.needs_clean()
    assert needs["asd"] == "10 a class" and "dbr" not in needs and needs["ft"] == "5 % of the training set"


def test_what_defends_on_drawn_images_is_read_from_the_trials(tmp_path) -> None:
    path = tmp_path / "demo.csv"
    path.write_text(
        "attack,defense,gates\nbadnets,none,hold\nbadnets,asd,hold\nbadnets,cbd,fail: asr<=5\nbadnets,cbd,hold\n"
        "blend,bsd,hold\n"
    )
    assert findings.drawn(path) == {"asd": (1, 1), "cbd": (1, 2)}


@pytest.mark.parametrize(
    ("parts", "said"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (list("abc"), "a, b and c")]
)
def test_lists_read_as_sentences(parts: list[str], said: str) -> None:
    assert page.listing(parts) == said


def test_time_is_told_at_the_profile_with_most_pairs() -> None:
    slow = replace(GOOD, minutes=99.0)
    for order in (("gpu", "laptop"), ("laptop", "gpu")):
        found = {"gpu": (slow,), "laptop": FOUND}
        assert "at <code>laptop</code>" in page.of_time({name: found[name] for name in order})


def test_profiles_without_a_pair_and_trials_that_are_not_there_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"defense": "asd", "attack": "badnets", "asr": 1.9, "standing": LOW, "drop": 3.0, "n": 1, "preset": "shared",
           "seconds": 120.0, "clean_given": 40.0}  # fmt: skip
    tables = {"gpu": [row], "laptop": [{**row, "n": 0}], "paper": [{**row, "attack": "none"}]}
    monkeypatch.setattr(findings, "table", lambda name, dataset, store: pd.DataFrame(tables[name]))
    assert list(findings.evidence()) == ["gpu"]
    monkeypatch.setattr(findings, "committed_file", lambda name: None)
    assert findings.drawn() == {}


def test_main_claims_together_are_worth_the_least_of_them() -> None:
    for found in product(OUTCOMES, repeat=3):
        said = answer([SimpleNamespace(outcome=one) for one in found])  # type: ignore[misc]
        some = HOLDS in found or SO_FAR in found
        assert (said == FAILS) == (FAILS in found)
        assert (said == HOLDS) == (set(found) == {HOLDS})
        assert (said == SO_FAR) == (some and FAILS not in found and set(found) != {HOLDS})
        assert (said == NOT_RUN) == (set(found) == {NOT_RUN})
    assert answer([]) == NOT_RUN
