"""Tables: captions, scopes, verdicts in words, and no row that goes missing."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from defenselib import papers
from defenselib.papers.asd import exhibits as asd
from defenselib.papers.kit import frame, printed
from defenselib.report import tables


@pytest.fixture
def found() -> pd.DataFrame:
    rows = printed.table("asd", "table-2").iloc[:6]
    made = [
        {**frame.entry([80.0, 82.0], ["2 CPU cores"]), "verdict": "agrees"},
        {**frame.entry([7.0]), "verdict": "differs"},
        *[{**frame.entry([], reason="defense fp <not> here"), "verdict": "not run"}] * 4,
    ]
    return frame.finish(rows, made, "laptop")


def test_comparison_shows_printed_beside_reproduced(found):
    text = str(tables.comparison(found, "Table 2"))
    assert "Table 2 (2 of 6 numbers; 4 not run)" in text
    assert "81.0 ± 1.4" in text
    assert "laptop, 2 seeds, 2 CPU cores" in text
    assert "✓ agrees" in text
    assert "✗ differs" in text
    assert text.count("<tr>") == 3
    assert text.count('<th scope="row"') == 6
    assert text.count("<th") == text.count("<th scope=") + text.count("<thead")
    assert '<span class="verdict verdict-agrees">✓ agrees</span>' in text
    assert str(tables.comparison(found, "all", only_run=False)).count("<tr>") == 7


def test_a_note_that_all_rows_share_stands_in_the_caption(found):
    text = str(tables.comparison(found.assign(reason="made by older code"), "Table 2"))
    assert "All rows: made by older code." in text
    assert text.count("made by older code") == 2  # caption and label of the region


def test_missing_lists_every_reason_escaped(found):
    text = str(tables.missing(found))
    assert "defense fp &lt;not&gt; here" in text
    assert "(4 of 6 rows)" in text
    assert "Every number was run" in str(tables.missing(found.iloc[:2]))


def test_nothing_run_is_a_sentence(found):
    nothing = found.assign(reproduced=math.nan)
    assert "none of 6 numbers has been run" in str(tables.comparison(nothing, "Table 2"))


def test_overview_has_the_papers_layout(found):
    text = str(tables.overview(found, "acc", "Table 2"))
    assert "94.9 → 81.0 ✓" in text
    assert ">93.9<" in text
    assert text.count('<th scope="col"') == 5


def test_claims_are_marked_in_words():
    shown = pd.DataFrame(
        [["a", "It holds.", "Sec. 1", "holds", "1 > 0", "laptop"], ["b", "It is open.", "Sec. 2", "not run", "", ""]],
        columns=["claim", "statement", "source", "outcome", "numbers", "profile"],
    )
    text = str(tables.claims(shown, "Claims"))
    assert "✓ holds" in text
    assert "– not run" in text


def test_small_frames_and_numbers():
    text = str(tables.render(pd.DataFrame({"a": ["x"], "b": [1.25], "c": [math.nan], "d": ["fast"]}), "small"))
    assert '<td>1.2</td><td>–</td><td style="text-align:left;white-space:nowrap">fast</td>' in text


def test_counts(found):
    assert tables.counts(found) == {"agrees": 1, "differs": 1, "not run": 4}


@pytest.mark.slow
def test_exhibits_lists_all_of_a_paper():
    paper = papers.get("asd")
    text = str(tables.exhibits(paper))
    assert text.count("<tr>") == 1 + len(paper.exhibits)
    assert "0 of 252 numbers" in text
    assert "nothing to run" in text
    assert "defenselib reproduce --paper asd --profile laptop" in text


def test_schedule_shows_only_what_differs():
    text = str(tables.schedule("asd", ("paper", "laptop"), paper="asd"))
    assert "training images" in text
    assert ">alpha<" not in text


def test_pools_shows_the_last_epoch():
    frame = pd.DataFrame(
        {"epoch": [0, 1, 1], "clean_size": 100, "clean_poisoned": [9, 1, 3], "clean_purity": [0.91, 0.99, 0.97]}
    ).assign(acc=50.0, asr=1.0)
    text = str(tables.pools({"badnets": frame, "blend": frame.iloc[:0]}, "pools"))
    assert ">BadNets<" in text
    assert "<td>100.0</td><td>2.0</td><td>98.0</td>" in text
    assert ">Blend<" not in text
    assert ">BadNets, at gpu<" in str(tables.pools({"badnets, at gpu": frame}, "pools"))
    assert "No run" in str(tables.pools({}, "pools"))


def test_soundness_is_in_words(tmp_path):
    check = asd.laptop_check("laptop", attacks=["badnets"], store=tmp_path)
    text = str(tables.soundness(check, "check"))
    assert ">oracle minus ASD<" in text
    assert "oracle: no result in the store" in text


def test_source_is_shown_without_indentation():
    listing = tables.source(tables.Html.__str__)
    assert str(listing).startswith("def __str__")
    assert listing._repr_markdown_().startswith("```python\ndef __str__")
