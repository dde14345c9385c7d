"""The evidence in the browser: empty pairs stay last, fields filter one column, a link opens the exhibit it names."""

from __future__ import annotations

from typing import Any


def column(opened: Any, table: str, name: str) -> tuple[int, list[str]]:
    """Place of a column and the texts in it, as they are shown."""
    heads = [text.strip() for text in opened.page.locator(f"{table} thead th").all_inner_texts()]
    place = heads.index(name)
    rows = opened.page.locator(f"{table} tbody tr").all_inner_texts()
    return place, [row.split("\t")[place].strip() for row in rows]


def test_numbers_sort_as_numbers_and_pairs_without_a_result_stay_last(visit: Any) -> None:
    opened = visit("book/_executed/leaderboard")
    opened.page.locator("#pairs.dataTable tbody tr").first.wait_for()
    opened.page.locator("#pairs_wrapper .dt-length select").select_option("-1")
    place, _ = column(opened, "#pairs", "ASR")
    orders = []
    for direction in ("ascending", "descending"):
        opened.page.locator("#pairs thead th").nth(place).click()
        opened.page.locator(f"#pairs thead th:nth-child({place + 1})[aria-sort={direction}]").wait_for()
        run = [seeds != "–" for seeds in column(opened, "#pairs", "seeds")[1]]
        assert 0 < sum(run) < len(run) and run == sorted(run, reverse=True), "without a result, but not at the end"
        texts = column(opened, "#pairs", "ASR")[1][: sum(run)]
        orders.append([float(text.split("±")[0]) for text in texts if text != "–"])
    assert orders[0] == sorted(orders[0]) and orders[1] == sorted(orders[1], reverse=True)
    assert orders[0] and opened.asked == [] and opened.complaints == []


def test_a_field_filters_its_own_column(visit: Any) -> None:
    opened = visit("book/_executed/status")
    opened.page.locator("#results.dataTable tbody tr").first.wait_for()
    place, before = column(opened, "#results", "attack")
    field = opened.page.locator("#results tfoot input").nth(place)
    assert field.bounding_box()["y"] < opened.page.locator("#results tbody tr").first.bounding_box()["y"]
    field.press_sequentially(before[0])
    opened.page.locator("#results_wrapper .dt-info", has_text="filtered").wait_for()
    assert all(before[0] in text for text in column(opened, "#results", "attack")[1])
    assert opened.asked == [] and opened.complaints == []


def test_a_link_opens_the_exhibit_that_it_names(visit: Any) -> None:
    opened = visit("book/_executed/verdicts-asd")
    fold = opened.page.locator("details.exhibit", has=opened.page.locator("#exhibit-table-2"))
    assert fold.get_attribute("open") is None
    opened.page.locator("article table a[href='#exhibit-table-2']").click()
    fold.locator("code", has_text="defenselib reproduce --paper asd").wait_for()
    assert opened.page.locator("#exhibit-table-2 table").first.is_visible()
    assert opened.asked == [] and opened.complaints == []


def test_a_chosen_table_opens_at_the_profile_that_tells_most(visit: Any) -> None:
    opened = visit("book/_executed/explore")
    picker = opened.page.locator("div.dl-widget", has_text="only rows that were run").last
    paper, profile = (picker.get_by_label(name, exact=True) for name in ("Paper", "Profile"))
    for number in range(paper.locator("option").count()):
        paper.select_option(index=number)
        rows = picker.locator("table tbody tr")
        shown = rows.count()
        assert shown > 0, "a paper opens on a table without a number"
        for other in profile.locator("option").all_inner_texts():
            profile.select_option(label=other)
            assert rows.count() <= shown
    assert opened.asked == [] and opened.complaints == []
