"""The page that answers first: every sentence follows the pairs and outcomes that it is made of."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defenselib import attacks
from defenselib.papers import findings
from defenselib.papers.findings import FAILED, LOW, OPEN, Pair
from defenselib.papers.kit.verdict import ACC_MARGIN, ASR_HIGH, ASR_LOW
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


@given(asr=st.floats(0, 100), gate=st.sampled_from(["", "the attack reaches 36.7 % without defense"]))
def test_states_are_those_of_the_verdicts(asr: float, gate: str) -> None:
    state = findings.state(asr, gate)
    assert (state == LOW) == (not gate and asr <= ASR_LOW)
    assert (state == OPEN) == (bool(gate) and asr < ASR_HIGH)


def test_the_first_to_try_follows_the_pairs() -> None:
    assert findings.first({"laptop": FOUND}) == "dbr"
    assert findings.first({"laptop": (replace(GOOD, drop=ACC_MARGIN + 1), DEAR)}) == ""
    often = (GOOD, replace(GOOD, defense="abl"), replace(GOOD, defense="abl", attack="blend"))
    assert findings.first({"laptop": often}) == "abl", "more attacks"
    assert findings.first({"gpu": (GOOD,), "laptop": often}) == "dbr", "more profiles come first"
    said = page.of_first({"laptop": FOUND}, CLEAN)
    assert said.startswith("<b>First to try: D-BR.</b> BadNets: ASR 0.2, ACC −2.6 at <code>laptop</code>, 1 seed.")
    assert "It needs no clean sample." in said and "clean samples, 5" in page.of_first({"laptop": FOUND}, {"dbr": "5"})
    fails = replace(GOOD, attack="clb", state=FAILED, asr=37.0)
    assert "But Label-consistent at <code>laptop</code> still works (ASR 37.0)" in page.of_first(
        {"laptop": (*FOUND, fails)}, CLEAN
    )
    assert "nothing yet" in page.of_first({"laptop": (CLOSED,)}, CLEAN)


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
    said = page.of_clean({"laptop": FOUND}, CLEAN)
    assert "needed by ASD (10 a class)" in said and "Of these none did" in said and "D-BR and D-ST did" in said
    assert "Of these ASD did" in page.of_clean({"laptop": [replace(CLOSED, state=LOW)]}, CLEAN)
    assert "D-BR (6 min) and D-ST (25 min)" in page.of_time({"laptop": FOUND})
    assert page.of_time({"laptop": (CLOSED,)}) == ""
    assert "ASD and BSD take the backdoor out" in page.of_drawn({"asd": True, "bsd": True})
    assert page.of_drawn({"asd": True, "bsd": False}).endswith("BSD do not.")


def test_the_table_sorts_every_pair_once() -> None:
    text = str(page.table(FOUND, "laptop"))
    cells = re.findall(r"<td>(.*?)</td>", text)
    assert len(cells) == 4 * len(findings.situations())
    patch, label = cells[:4], cells[-4:]
    assert "D-BR" in patch[0] and patch[1] == "–" and "D-ST" in patch[2] and patch[3] == "ASD (BadNets)"
    assert "D-ST" in label[1] and label[0] == label[2] == label[3] == "–"
    flipped = str(page.table([replace(GOOD, state=FAILED, asr=99.0), DEAR, WORSE, CLOSED], "laptop"))
    assert "BadNets: 99.0" in re.findall(r"<td>(.*?)</td>", flipped)[2]


def test_pairs_come_from_the_leaderboard_with_their_gates() -> None:
    row = {"defense": "asd", "attack": "badnets", "asr": 1.9, "gate": "", "drop": 3.0, "n": 3, "preset": "shared",
           "seconds": 120.0, "clean_given": 40.0}  # fmt: skip
    rows = [row, {**row, "gate": "the target class is right in 2.6 %"}, {**row, "n": 0}, {**row, "defense": "none"}]
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
    assert findings.drawn(path) == {"asd": True, "cbd": False}


@pytest.mark.parametrize(
    ("parts", "said"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (list("abc"), "a, b and c")]
)
def test_lists_read_as_sentences(parts: list[str], said: str) -> None:
    assert page.listing(parts) == said
