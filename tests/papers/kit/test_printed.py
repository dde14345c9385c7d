"""Every printed number of the five papers is there, once, in the order of its CSV."""

from __future__ import annotations

import pandas as pd
import pytest

from defenselib import papers
from defenselib.errors import UnknownNameError
from defenselib.papers.kit import frame as frames
from defenselib.papers.kit import printed
from defenselib.papers.titles import TITLES

TABLES = [(paper, key) for paper in TITLES for key in printed.tables(paper)]
COUNTS = {"aabl": 741, "asd": 399, "bsd": 1252, "dst_dbr": 546, "vab": 351}


@pytest.mark.parametrize(("paper", "key"), TABLES)
def test_frame_rows_are_the_csv_rows_in_order(paper, key, store):
    frame = papers.get(paper).exhibit(key).reproduce(profile="laptop", store=store)
    csv = pd.read_csv(printed.FOLDER / paper / f"{key}.csv").rename(columns={"value": "published"})
    pd.testing.assert_frame_equal(frame[list(csv.columns)], csv)
    assert list(frame.columns) == [*printed.COLUMNS, *frames.FOUND, *frames.axes(frame)]
    assert (frame["verdict"] == "not run").all()
    assert frame["reproduced"].isna().all()
    assert (frame["n"] == 0).all()
    assert (frame["reason"] != "").all()


@pytest.mark.parametrize("paper", TITLES)
def test_no_number_is_lost(paper):
    assert paper in COUNTS, "COUNTS of this file needs how many numbers the paper prints, counted by hand"
    assert sum(len(printed.table(paper, key)) for key in printed.tables(paper)) == COUNTS[paper]


@pytest.mark.parametrize("paper", papers.available())
def test_every_exhibit_of_the_paper_is_listed_with_a_status(paper):
    listed = pd.read_csv(printed.FOLDER / paper / "exhibits.csv")["exhibit"]
    overview = papers.get(paper).overview()
    assert set(listed) <= set(overview["exhibit"])
    assert overview["exhibit"].is_unique
    assert set(overview["status"]) <= {"available", "nothing to run", "not in this version yet"}
    runs = overview[overview["status"] != "nothing to run"]
    command = f"defenselib reproduce --paper {paper} --profile laptop -p exhibits="
    assert list(runs["command"]) == [command + key for key in runs["exhibit"]]


def test_overview_is_in_the_order_of_tables_figures_text():
    keys = list(papers.get("bsd").overview()["exhibit"])
    assert keys[:3] == ["table-1", "table-2", "table-3"]
    assert keys.index("table-20") < keys.index("figure-1") < keys.index("figure-10") < keys.index("text-1")


def test_words_stay_words():
    assert list(printed.table("asd", "table-1")["published"][:2]) == ["fast", "static"]


def test_a_figure_that_is_not_written_yet_says_so():
    frame = papers.Exhibit(paper="asd", key="figure-7").reproduce()
    assert list(frame["reason"]) == ["not in this version yet"]


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'asd'"):
        papers.get("asdf")
    with pytest.raises(UnknownNameError, match="did you mean 'table-2'"):
        papers.get("asd").exhibit("table2")
    with pytest.raises(UnknownNameError, match="table-1"):
        printed.table("asd", "table-99")


def test_printed_undefended_model():
    assert printed.undefended("asd", ["table-2"], "cifar10", "badnets", "acc") == 94.9
    assert pd.isna(printed.undefended("asd", ["table-3"], "cifar10", "badnets", "acc"))
    assert pd.isna(printed.undefended("asd", [""], "cifar10", "badnets", "acc"))


def test_settings_are_columns_and_numbers_are_numbers():
    found = printed.table("bsd", "table-7")
    assert {"alpha", "beta", "setting"} <= set(found.columns)
    assert {0.3, 0.9} <= set(found["alpha"].dropna()) and not {"alpha", "beta"} & set(printed.COLUMNS)
    assert printed.settings("ssl=uda;beta=0.5") == {"ssl": "uda", "beta": 0.5} and printed.settings(None) == {}


def test_notes_of_an_unknown_paper_are_refused_and_a_missing_one_is_no_error() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'asd'"):
        printed.notes("asdd")
    assert "figure-2" not in printed.notes("asd")
