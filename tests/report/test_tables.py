"""Tables: captions, scopes, verdicts in words, one profile at a time, and no row that goes missing."""

from __future__ import annotations

import math
import re

import pandas as pd
import pytest

from defenselib import papers
from defenselib.errors import InvalidValueError
from defenselib.papers.asd import exhibits as asd
from defenselib.papers.kit import frame, printed
from defenselib.papers.kit.claims import OUTCOMES
from defenselib.papers.kit.verdict import VERDICTS
from defenselib.papers.titles import TITLES
from defenselib.plots import words
from defenselib.report import html, tables


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
    assert (
        "Table 2, profile laptop (2 of 6 numbers; 4 without one). All rows: CIFAR-10, ResNet-18, BadNets, target 3, "
        "rate 5\xa0%, no defense" in text
    )
    assert "81.0\xa0±\xa01.4" in text
    assert text.count("<tr>") == 3
    assert text.count("<th") == text.count("<th scope=") + text.count("<thead")
    assert '<span class="verdict verdict-agrees">✓ agrees</span>' in text
    assert '<span class="verdict verdict-differs">✗ differs</span>' in text
    assert str(tables.comparison(found, "all", only_run=False)).count("<tr>") == 2 + 3, "a row a defense"


def test_rows_of_two_profiles_never_share_a_table(found):
    found.loc[1, "profile"] = "gpu"
    for show in (tables.comparison, tables.claims):
        with pytest.raises(InvalidValueError, match="laptop, gpu"):
            show(found.assign(statement="", source="", rule="", outcome="holds", true=1, of=1, numbers=""), "Table 2")


@pytest.mark.parametrize("word", VERDICTS)
def test_every_verdict_is_a_mark_and_a_word_that_the_style_sheet_knows(found, word, root):
    text = str(tables.comparison(found.assign(verdict=word), "Table 2"))
    look = f"verdict-{word.replace(' ', '-')}"
    assert f'class="verdict {look}">{words.MARKS[word]} {word}<' in text
    assert f".{look}" in (root / "book" / "_static" / "book.css").read_text()


def test_settings_are_said_in_words():
    """No "ssl=mixmatch" on any page: every printed table, with all of its rows."""
    for paper in TITLES:
        for key in printed.tables(paper):
            rows = printed.table(paper, key)
            frame_ = frame.finish(rows, [{**frame.entry([1.0]), "verdict": "agrees"}] * len(rows), "laptop")
            text = str(tables.comparison(frame_, key))
            assert not re.search(r">[^<]*\w=\w[^<]*<", text), (paper, key)
            assert "imagenet-transfer" not in text and "mixmatch" not in text


def test_data_that_went_through_jpeg_say_so(found):
    assert "JPEG" not in str(tables.comparison(found, "t"))
    foot = str(tables.comparison(found.assign(source="cifar10-jpeg"), "t")).rpartition("</div>")[2]
    assert "quality 75, 4:2:0" in foot and "trigger" in foot and 'class="table-foot"' in foot


def test_the_profile_called_best_is_named_with_the_reason(found):
    gpu = found.assign(profile="gpu", reproduced=[90.0, *[math.nan] * 5])
    paper = found.assign(profile="paper", reproduced=math.nan)
    evidence = {"paper": paper, "gpu": gpu, "laptop": found}
    best, why = tables.chosen(evidence)
    assert best == "laptop" and list(tables.there(evidence)) == ["laptop", "gpu"]
    assert "Shown first is profile laptop" in why and "laptop: 2 run" in why and "gpu: 1 run" in why
    assert tables.chosen({"paper": paper, "laptop": found})[1] == "All that was run is of profile laptop."


def test_tabs_of_different_pieces_have_different_names():
    first, second = (str(html.tabs({"a": one, "b": "y"}, "Profile", "a")) for one in ("x", "z"))
    assert re.findall(r'id="([^"]*)"', first) != re.findall(r'id="([^"]*)"', second)
    assert re.findall(r'id="([^"]*)"', first) == re.findall(r'for="([^"]*)"', first)


def test_a_note_that_all_rows_share_stands_in_the_caption(found):
    text = str(tables.comparison(found.assign(reason="made by older code"), "Table 2"))
    assert text.count("made by older code") == 2  # caption and label of the region
    assert "; made by older code." in text


def test_missing_lists_every_reason_escaped(found):
    text = str(tables.missing(found))
    assert "defense fp &lt;not&gt; here" in text
    assert "(4 of 6 rows)" in text
    assert "Every number was run" in str(tables.missing(found.iloc[:2]))


def test_nothing_run_is_a_sentence(found):
    nothing = found.assign(reproduced=math.nan)
    assert "none of 6 numbers has been run" in str(tables.comparison(nothing, "Table 2"))


def test_claims_are_marked_in_words():
    outcomes = dict(zip(OUTCOMES, ((4, 4), (3, 4), (2, 4), (0, 1), (0, 4)), strict=True))
    shown = pd.DataFrame(
        [
            {"claim": name, "statement": "It is so.", "source": "Sec. 1", "rule": "ASR <= 10", "outcome": name,
             "numbers": "1 > 0", "profile": "laptop", "true": true, "of": of}
            for name, (true, of) in outcomes.items()
        ]
    )  # fmt: skip
    text = str(tables.claims(shown, "Claims"))
    for name, (true, of) in outcomes.items():
        said = f"{words.MARKS[name]} {name}</span>" + (f" {true} of {of}<" if of > 1 and name != "not run" else "<")
        assert said in text, name
    assert "ASR &lt;= 10" in text and "It is so. (Sec. 1)" in text and "Claims, profile laptop" in text
    assert "printed numbers" in str(tables.claims(shown, "Claims", printed=True))


def test_claims_have_a_column_of_outcomes_for_each_profile():
    exhibit = papers.get("asd").exhibit("table-2")
    rows = printed.table("asd", "table-2")
    laptop = frame.finish(
        rows, [{**frame.entry([v], seeds=[0]), "verdict": "agrees"} for v in rows["published"]], "laptop"
    )
    some = laptop.assign(profile="gpu", reproduced=laptop["reproduced"].where(rows["attack"] == "badnets"))
    evidence = {"paper": laptop.assign(reproduced=math.nan), "gpu": some, "laptop": laptop}
    text = str(tables.claims_at(evidence, {name: exhibit.claims(found) for name, found in evidence.items()}, "c"))
    heads = re.findall(r'<th scope="col"[^>]*>([^<]*)<', text)
    assert heads == ["statement", "laptop", "gpu", "rule", "numbers at laptop"]
    assert "◐ holds so far</span> 3 of 18" in text and "✓ holds</span> 18 of 18" in text


def test_small_frames_and_numbers():
    text = str(html.render(pd.DataFrame({"a": ["x"], "b": [1.25], "c": [math.nan], "d": ["fast"]}), "small"))
    assert '<td>1.2</td><td>–</td><td style="text-align:left;white-space:nowrap">fast</td>' in text


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
    assert ">Blend<" not in text and "means over the seeds" in text
    several = pd.concat([frame.assign(seed=seed) for seed in (0, 1)])
    assert re.findall(r"<td[^>]*>(\d)</td></tr>", text + str(tables.pools({"badnets": several}, "pools"))) == ["1", "2"]
    assert ">BadNets, at gpu<" in str(tables.pools({"badnets, at gpu": frame}, "pools"))
    assert "No run" in str(tables.pools({}, "pools"))


def test_soundness_is_in_words(tmp_path):
    check = asd.laptop_check("laptop", attacks=["badnets"], store=tmp_path)
    text = str(tables.soundness(check, "check"))
    assert ">oracle minus ASD<" in text and ">no defense ACC<" in text
    assert "oracle: no result in the store" in text


def test_source_is_shown_without_indentation():
    listing = tables.source(html.Html.__str__)
    assert str(listing).startswith("def __str__")
    assert listing._repr_markdown_().startswith("```python\ndef __str__")


def test_metrics_stand_side_by_side_under_their_names(found):
    shown = found.assign(reproduced=[80.0, 7.0, 70.0, 5.0, 60.0, 3.0], n=1, verdict="agrees", ran_on="", reason="")
    text = str(tables.comparison(shown, "Table 2"))
    heads = re.findall(r'<th scope="col(?:group)?"[^>]*>([^<]*)<', text)
    assert heads == ["defense", "ACC", "ASR", *["printed", "reproduced", "verdict"] * 2]
    assert "1 seed each" in text, "what all rows share stands in the caption"
    three = pd.concat([shown, shown[shown["metric"] == "acc"].assign(metric="der", reproduced=90.0)])
    text = str(tables.comparison(three, "Table 2"))
    assert text.count('class="verdict-mark verdict-agrees"') == 9 and "✓ agrees." in text, "marks, and what they mean"


def test_nothing_is_shown_of_what_the_paper_does_not_print(found):
    text = str(tables.comparison(found.assign(published=math.nan, verdict="not comparable"), "Figure 1"))
    assert "printed" not in text and "verdict" not in text and "81.0" in text


def test_notes_stand_under_their_row_and_shared_ones_once(found):
    notes = ["1 of 3 seeds; seed 1, 2 not run; the attack took", "1 of 3 seeds; seed 1, 2 not run; a dead class"]
    both = found.iloc[:2].assign(reason=notes, defense=["none", "asd"])
    text = str(tables.comparison(both, "Table 2"))
    assert re.findall(r'class="note"><td[^>]*>([^<]*)<', text) == ["the attack took", "a dead class"]


def test_a_number_opens_the_results_behind_it(root, monkeypatch):
    monkeypatch.setenv("DEFENSELIB_RESULTS", str(root / "book" / "results"))
    exhibit = papers.get("asd").exhibit("table-4")
    shown = exhibit.reproduce(profile="laptop", attacks=["badnets"])
    text = str(tables.comparison(shown, "Table 4"))
    opened = re.findall(r'<tr class="made-of".*?</tr>', text)
    assert len(opened) == text.count("</summary></details></td>") / 2 >= 1
    for part in ("Table 4 of Backdoor Defense", "seed 0: ACC", "today", "digest", "CPU cores", "book/results/laptop/"):
        assert part in opened[0], part
    (row,) = [r for r in frame.records(shown) if r["ssl"] == "mixmatch" and r["metric"] == "acc" and r["n"]]
    assert all(f"{key}.json" in opened[0] for key in row["results"]) and len(row["results"]) == row["n"]
    assert "defenselib run --dataset cifar10 --attack badnets --defense asd --profile laptop" in opened[0]


def test_a_result_that_is_not_there_is_named(found):
    text = str(tables.comparison(found.assign(results=[("0" * 16,)] * 6), "Table 2"))
    assert f"Result {'0' * 16} is not in the store." in text
