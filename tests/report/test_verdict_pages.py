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
from defenselib.plots import bars
from defenselib.report import tables
from defenselib.report import verdict_pages as pages

bs4 = pytest.importorskip("bs4")


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
    assert len({pages.name_of(key) for key in keys}) == len(keys)
    for one, fold in zip(found, page.select("details.exhibit"), strict=True):
        assert one.exhibit.title in fold.summary.text
        assert (one.exhibit.command in fold.text) == (one.exhibit.status != "nothing to run")


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
