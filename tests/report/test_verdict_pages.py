"""The pages of verdicts: every exhibit once, with its command, and figures with words."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from defenselib import papers
from defenselib.experiments import Store
from defenselib.papers import coverage
from defenselib.papers.coverage import Found
from defenselib.papers.kit import frame, printed
from defenselib.plots import bars, words
from defenselib.report import missing, tables
from defenselib.report import verdict_pages as pages

bs4 = pytest.importorskip("bs4")
pytest.importorskip("markdown_it")


@pytest.mark.slow
@pytest.mark.parametrize("paper", ("asd", "aabl"))
def test_every_exhibit_stands_in_the_page_once(paper: str, tmp_path) -> None:
    found = coverage.collect(papers.get(paper), "laptop", Store(tmp_path))
    text = str(pages.summary(found)) + "".join(str(pages.exhibit(one)) for one in found)
    page = bs4.BeautifulSoup(text, "html.parser")
    keys = list(printed.exhibits(paper).index)
    assert [fold.select_one(".exhibit-body")["id"] for fold in page.select("details.exhibit")] == [
        pages.anchor(key) for key in keys
    ]
    assert [link["href"] for link in page.select("table a")] == [f"#{pages.anchor(key)}" for key in keys]
    assert len({words.exhibit(key) for key in keys}) == len(keys)
    for one, fold in zip(found, page.select("details.exhibit"), strict=True):
        assert one.exhibit.title in fold.summary.text
        assert (one.exhibit.command in fold.text) == (one.exhibit.status != "nothing to run")


@pytest.mark.slow
def test_what_was_not_run_is_one_line_with_its_cost_and_no_figure(tmp_path) -> None:
    store = Store(tmp_path)
    lacking = missing.of_paper("bsd", "laptop", store)
    exhibit = papers.get("bsd").exhibit("table-13")
    frames = {"laptop": exhibit.reproduce(profile="laptop", store=store)}
    one = Found(exhibit, frames, {"laptop": exhibit.claims(frames["laptop"])})
    page = bs4.BeautifulSoup(str(pages.exhibit(one, lacking["table-13"])), "html.parser")
    cost = lacking["table-13"]
    assert cost.trainings > 10 and cost.seconds > 0
    assert f"not run; {cost.trainings} trainings, " in page.summary.text
    (line,) = page.select(".missing-line")
    assert line.text.startswith(f"Table 13: not run; {cost.words}: defenselib plan --paper bsd --exhibit table-13")
    # Printed numbers may stand alone in a picture, which says that they do.
    assert (
        all("the printed numbers alone" in one.text for one in page.select("figcaption")) and "as printed" in page.text
    )
    # With everything in the store nothing is lacking, and a plan says so.
    assert "table-1" in lacking and "figure-1" not in lacking


def test_a_figure_that_was_run_is_drawn_and_one_that_was_not_is_a_line() -> None:
    exhibit = papers.get("asd").exhibit("figure-4")
    rows = {"metric": "acc", "dataset": "cifar10", "attack": "badnets", "stage": 1.0}
    found = [{**rows, "defense": name, "epoch": float(epoch), **frame.entry([50.0 + epoch])}
             for name in ("none", "asd") for epoch in range(3)]  # fmt: skip
    drawn = frame.finish(frame.rows_of(found), [{**one, "verdict": "not comparable"} for one in found], "laptop")
    page = bs4.BeautifulSoup(str(pages.exhibit(Found(exhibit, {"laptop": drawn}, {"laptop": exhibit.claims(drawn)}))),
                             "html.parser")  # fmt: skip
    assert len(page.select("figure img")) == 1 and "laptop: claims" in page.summary.text
    empty = frame.unanswered(frame.rows_of([{}]), "laptop", "no result in the store")
    page = bs4.BeautifulSoup(str(pages.exhibit(Found(exhibit, {"laptop": empty}, {"laptop": exhibit.claims(empty)}))),
                             "html.parser")  # fmt: skip
    assert page.select("img") == [] and page.summary.text.rstrip().endswith("not run")
    assert page.select_one(".missing-line").text == "Figure 4: not run; no result in the store."


@pytest.fixture
def table_2() -> pd.DataFrame:
    rows = printed.table("asd", "table-2").iloc[:6]
    made = [
        {**frame.entry([80.0, 82.0], ["2 CPU cores"]), "verdict": "agrees"},
        {**frame.entry([7.0]), "verdict": "differs"},
        {**frame.entry([7.0], reason="no partner"), "verdict": "undecided"},
        *[{**frame.entry([], reason="defense fp <not> here"), "verdict": "not run"}] * 3,
    ]
    return frame.finish(rows, made, "laptop")


def test_an_exhibit_shows_numbers_differences_and_what_is_missing(table_2: pd.DataFrame) -> None:
    exhibit = papers.get("asd").exhibit("table-2")
    one = Found(exhibit, {"laptop": table_2}, {"laptop": exhibit.claims(table_2)})
    page = bs4.BeautifulSoup(str(pages.exhibit(one)), "html.parser")
    assert "laptop: 3 of 6 numbers run, 1 agree, 1 differ, 1 undecided" in page.summary.text
    assert "defense fp <not> here" in page.text and "✓ agrees" in page.text
    (image,) = page.select("img")
    assert image["src"].startswith("data:image/png;base64,") and "ACC" in image["alt"]
    (shown,) = (one for one in page.select("table") if "Table 2, profile laptop" in one.caption.text)
    assert any("81.0\xa0±\xa01.4" in row.text for row in shown.select("tr"))
    assert "? undecided" in shown.text and "laptop" in str(pages.summary([one]))


def test_profiles_stand_side_by_side_and_never_in_one_table(table_2: pd.DataFrame) -> None:
    exhibit = papers.get("asd").exhibit("table-2")
    frames = {"gpu": table_2.assign(profile="gpu", reproduced=[91.0, *[math.nan] * 5]), "laptop": table_2}
    one = Found(exhibit, frames, {name: exhibit.claims(found) for name, found in frames.items()})
    page = bs4.BeautifulSoup(str(pages.exhibit(one)), "html.parser")
    laptop, gpu = page.select(".level")
    assert "91.0" in gpu.table.text and "81.0" not in gpu.table.text and "91.0" not in laptop.table.text
    assert page.select_one("input[checked]")["id"] == page.select("label")[0]["for"]
    assert "laptop (also gpu)" in str(pages.summary([one]))
    drawn = pages.bars([one]).axes[0]
    assert [text.get_text() for text in drawn.get_yticklabels()] == ["Table 2, laptop (6)"]


def test_differences_are_reproduced_minus_printed_in_percent_only(table_2: pd.DataFrame) -> None:
    shown = pages.differences(table_2)
    published = table_2["published"].astype(float)
    assert list(shown["difference"]) == pytest.approx(
        [81.0 - published.iloc[0], 7.0 - published.iloc[1], 7.0 - published.iloc[2]]
    )
    assert shown["label"].is_unique or shown.groupby("label")["metric"].nunique().max() > 1
    assert pages.differences(table_2.assign(metric="seconds")).empty
    assert bars.differences(pages.differences(table_2.assign(reproduced=math.nan)), "none").axes[0].texts


def test_a_poisoning_rate_of_a_twentieth_is_not_a_tenth(table_2: pd.DataFrame) -> None:
    rates = table_2.assign(poisoning_rate=[0.05, 0.1, 0.1, 0.1, 0.1, 0.1])
    text = str(tables.comparison(rates, "Table 2"))
    assert ">5\N{NO-BREAK SPACE}%<" in text and ">10\N{NO-BREAK SPACE}%<" in text
    labels = pages.differences(rates)["label"]
    assert labels.iloc[0].startswith("rate 5\N{NO-BREAK SPACE}%")


@pytest.mark.parametrize("paper", papers.available())
def test_every_note_belongs_to_an_exhibit(paper: str) -> None:
    found = printed.notes(paper)
    assert found and set(found) <= {one.key for one in papers.get(paper).exhibits}
    for text in found.values():
        assert pages.markdown(text).count("<p>") >= 1 and text.count("$") % 2 == 0


def test_formulas_code_and_markup() -> None:
    text = pages.markdown("A *b* `c` with $\\alpha < 3$ and <script>.")
    assert r"\(\alpha &lt; 3\)" in text and "<em>b</em>" in text and "<code>c</code>" in text
    assert "<script>" not in text and 'class="math notranslate nohighlight"' in text
