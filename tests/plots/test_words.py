"""Words for readers: every verdict has a mark, every axis and value of the five papers is said without code."""

from __future__ import annotations

import math
import re

import pytest

from defenselib import attacks, data, defenses, models
from defenselib.papers.kit import frame, printed
from defenselib.papers.kit.claims import OUTCOMES
from defenselib.papers.kit.verdict import VERDICTS
from defenselib.papers.titles import TITLES
from defenselib.plots import style, words


def test_verdicts_and_outcomes_have_marks_and_looks_that_tell_them_apart() -> None:
    for names in (VERDICTS, OUTCOMES):
        assert set(names) <= set(words.MARKS) and set(names) <= set(style.OUTCOMES)
        assert len({words.MARKS[name] for name in names}) == len(names)
        bars = {style.OUTCOMES[name][1:] for name in names}  # hatch and marker, without the colour
        assert len(bars) == len(names)
    assert words.marked("holds so far") == "◐ holds so far"


@pytest.mark.parametrize(
    ("value", "digits", "said"),
    [
        (1.25, 1, "1.2"),
        (94.0, 1, "94.0"),
        (12345.6, 0, "12,346"),
        (math.nan, 1, "–"),
        (None, 1, "–"),
        ("fast", 1, "fast"),
    ],
)
def test_numbers(value: object, digits: int, said: str) -> None:
    assert words.number(value, digits) == said


def test_means_shares_and_counts() -> None:
    assert words.mean(81.0, 1.44) == "81.0\xa0±\xa01.4" and words.mean(81.0) == "81.0" and words.mean(math.nan) == "–"
    assert words.percent(0.05) == "5\xa0%" and words.percent(math.nan) == "" and words.percent(0.005) == "0.5\xa0%"
    assert (words.plural(1, "seed"), words.plural(3, "seed")) == ("1 seed", "3 seeds")


def test_every_setting_of_every_printed_table_is_said_in_words() -> None:
    for paper in TITLES:
        for key in printed.tables(paper):
            rows = printed.table(paper, key)
            for column in frame.axes(rows):
                assert not re.search(r"[_=]", words.axis(column)), column
                for value in rows[column].dropna().unique():
                    said = words.value(value, column)
                    assert said and not re.search(r"[_=;]", said), (paper, key, column, value)


def test_settings_stand_in_the_order_of_the_columns_and_skip_what_is_not_said() -> None:
    row = {
        "attack": "none",
        "ssl": "mixmatch",
        "alpha": 0.3,
        "beta": math.nan,
        "poisoning_rate": 0.05,
        "without": "comp",
    }
    assert words.setting(row, row) == "no attack, learner MixMatch, α 0.3, rate 5\xa0%, left out class completion"
    assert words.setting({"attack": "none"}, []) == ""


def test_a_printed_variant_is_said_in_words_and_a_sentence_stays() -> None:
    assert words.spoken("alpha=0.3;ssl=uda") == "α 0.3, learner UDA" and words.spoken("a = b, c = d") == "a = b, c = d"
    assert words.spoken("seeds=imagenet-transfer;phase=asd") == "seed samples of another data set, phase ASD"


def test_every_name_has_a_label_that_no_other_has() -> None:
    for kind, names in (
        ("attack", attacks.available()),
        ("defense", defenses.available()),
        ("dataset", data.available()),
        ("model", models.available()),
    ):
        said = [words.value(name, kind) for name in names]
        assert len(set(said)) == len(said) and all(said), kind
