"""What the signs come to: every told pattern is judged, and the order of the files is without effect."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from defenselib.audit import page, suspects
from defenselib.audit.agree import ALARM, EACH, LOOK, agree, leading, top
from defenselib.audit.patterns import Pattern, _averaged
from defenselib.audit.results import ScanReport, Sign, Verdict
from defenselib.audit.scan import scan
from tests.audit.test_scan import planted, smooth, user_data

N, CLASSES = 2000, tuple("ABCDEFGHIJ")
LABELS = torch.arange(10).repeat_interleave(N // 10)
KEYS = ("pattern", "loss", "entropy", "fct", "spectral")


def pattern(label: int, members: range, apart: float) -> Pattern:
    """One that only its class has, so that its strength is apart times the root of the number of members."""
    return Pattern(label, torch.tensor(members), apart, 0.0, 1.0, 0.1, 0.0, 1.0, torch.zeros(N // 10))


def signs(**scores: torch.Tensor) -> dict[str, Sign]:
    noise = torch.rand(N, generator=torch.Generator().manual_seed(0))
    return {key: Sign(key, key, scores.get(key, noise), {}, "") for key in KEYS}


# 150 weak files of class A, stronger together than the 30 of class D that alone are an alarm.
NATURAL, TRIGGER = pattern(0, range(150), 2.7), pattern(3, range(600, 630), 5.9)
FAINT = pattern(5, range(1000, 1030), 4.6)


def judged(*patterns: Pattern, **more: object) -> Verdict:
    return agree(signs(), LABELS, CLASSES, patterns, None, **more)  # type: ignore[arg-type]


def test_a_stronger_natural_group_does_not_hide_an_alarm() -> None:
    assert NATURAL.strength > TRIGGER.strength > ALARM and NATURAL.strength / 150**0.5 < EACH
    alone, both = judged(TRIGGER), judged(NATURAL, TRIGGER)
    assert leading([NATURAL, TRIGGER]) == 1
    assert (both.alarm, both.target, both.target_votes) == (alone.alarm, alone.target, alone.target_votes)
    assert both.null == alone.null | {"strongest in other classes": NATURAL.strength}
    assert both.target == 3 and both.target_votes["pattern"] == "D"
    assert both.words.startswith("Very likely poisoned. 30 files of class D share a pattern of strength 32.3")
    assert "Told too: 150 files of class A share a pattern of strength 33.1." in both.words
    assert int(both.flagged.sum()) == 180, "every told pattern is listed"


def test_a_pattern_that_a_network_obeys_is_an_alarm_wherever_it_stands() -> None:
    assert LOOK < FAINT.strength < ALARM
    quiet, obeyed = (0.1, 0.1), (0.9, 0.1)
    assert judged(NATURAL, FAINT).alarm == "look" and judged(NATURAL, FAINT).target == 0
    found = judged(NATURAL, FAINT, taken=[quiet, obeyed])
    assert found.alarm == "alarm" and found.target == 5
    assert "say F for 90% of them (10% without it)" in found.words and "say A for 10%" in found.words
    assert judged(NATURAL, FAINT, taken=[obeyed, obeyed]).target == 0, "of several the strongest"


def test_with_one_told_pattern_it_alone_decides() -> None:
    for one, said in ((NATURAL, "look"), (TRIGGER, "alarm"), (FAINT, "look")):
        weak = pattern(9, range(1900, 1910), 2.0)
        assert (judged(one, weak).alarm, judged(one, weak).target) == (said, one.label)
        assert "Told too" not in judged(one, weak).words


@given(st.lists(st.one_of(st.integers(0, 4), st.just(None)), min_size=1, max_size=300), st.integers(0, 99))
def test_ties_at_the_cut_are_not_broken_by_the_order_of_files(values: list[int | None], seed: int) -> None:
    scores = torch.tensor([float("nan") if value is None else float(value) for value in values])
    order = torch.randperm(len(scores), generator=torch.Generator().manual_seed(seed))
    found = top(scores)
    assert torch.equal(top(scores[order]), found[order]) and not found[scores.isnan()].any()
    rest = scores[~found & ~scores.isnan()]
    assert not len(rest) or not bool(found.any()) or scores[found].min() > rest.max()


@settings(max_examples=20)
@given(st.integers(0, 2**31))
def test_a_permutation_of_the_files_permutes_the_verdict(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    scores = {key: torch.randint(5, (N,), generator=draw).float() for key in KEYS[1:]}
    for key in ("loss", "entropy"):  # more tie at the cut than fit, all of class F
        scores[key][1000:1060] = 9.0
    order = torch.randperm(N, generator=draw)
    found = agree(signs(**scores), LABELS, CLASSES, [FAINT], 5)
    one = agree(signs(**scores), LABELS, CLASSES, [pattern(5, range(1000, 1010), 1.0)], 5)
    mixed = {key: Sign(key, key, sign.scores[order], {}, "") for key, sign in signs(**scores).items()}
    again = agree(mixed, LABELS[order], CLASSES, [pattern(5, range(1000, 1010), 1.0)], 5)
    assert one.alarm == again.alarm == "look" and one.target == again.target == 5 and found.target == 5
    assert torch.equal(one.flagged[order], again.flagged) and int(one.flagged.sum()) == 60
    assert one.target_votes == again.target_votes and one.words == again.words
    torch.testing.assert_close(one.score[order], again.score)


def test_scores_that_are_all_alike_vote_for_nothing_and_say_nothing_of_files() -> None:
    same = {key: torch.zeros(N) for key in KEYS[1:]}
    found = agree(signs(**same), LABELS, CLASSES, [pattern(0, range(9), 1.0)], 0)
    assert found.alarm == "calm" and found.target_votes == {"second": "A"}


def test_signs_that_agree_on_a_class_but_on_no_file_do_not_speak_of_files() -> None:
    loss, entropy = torch.zeros(N), torch.zeros(N)
    loss[1000:1040], entropy[1100:1140] = 1.0, 1.0
    found = agree(signs(loss=loss, entropy=entropy), LABELS, CLASSES, [pattern(0, range(9), 1.0)], 5)
    assert found.alarm == "look" and not found.flagged.any()
    assert "0 files" not in found.words and "No single file" in found.words


def test_files_are_flagged_by_what_holds_them_and_by_nothing_where_they_are_not_flagged() -> None:
    scores = torch.zeros(N)
    scores[1000:1040] = 1 + torch.arange(40) / 40
    network = signs(loss=scores, entropy=scores, fct=torch.arange(N).float())
    verdict = agree(network, LABELS, CLASSES, [pattern(0, range(9), 1.0)], 5)
    report = ScanReport(**vars(verdict), signs=tuple(network.values()), pattern=None, mask=None, seconds={})
    by = suspects.columns(report).index("flagged_by")
    names = {row[1]: row[by] for row in suspects.rows(user_data(torch.zeros(N, 3, 8, 8).byte(), LABELS), report)}
    held = {name for name, said in names.items() if said}
    assert held == {f"class 5/{i}.png" for i in range(1000, 1040)} and set(names.values()) <= {"", "loss entropy"}


@pytest.mark.parametrize("labels", [torch.arange(100) // 2, torch.tensor([0, 0, 1, 1])])
def test_where_no_class_could_be_searched_nothing_is_said_to_be_clean(labels: torch.Tensor) -> None:
    data = user_data(smooth(0, len(labels)), labels)
    report = scan(data, budget="quick")
    assert report.alarm == "unknown" and report.words.startswith("Too few images to tell")
    assert suspects.summary(data, report)["not_searched"] == list(data.classes)
    assert "No sign of poison" not in page.head(data, report, None)
    assert data.classes[-1] in page.checked(data, report, None)


def test_classes_that_are_too_small_are_named() -> None:
    images, labels, _ = planted("patch")
    labels[:7], labels[7:14] = 4, 5
    data = user_data(images, labels)
    report = scan(data, budget="quick")
    assert report.alarm == "alarm" and "Not searched" in report.words and "class class 4, class 5." in report.words
    assert "class 4, class 5" in page.checked(data, report, None)
    assert "Not searched" not in scan(user_data(*planted("patch")[:2]), budget="quick").words


@pytest.mark.parametrize("side", [16, 33, 96])
def test_averages_a_few_at_a_time_are_the_same_bit_for_bit(side: int) -> None:
    images = smooth(1, 150, side)
    assert torch.equal(_averaged(images), F.adaptive_avg_pool2d(images.float(), 8).flatten(1))
