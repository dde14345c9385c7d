"""Tables in the browser: on a common screen no verdict and no reproduced number is out of sight, and a number opens
what it is made of, by mouse, by keys and by touch."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import toc_pages

SCREEN = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}

# Verdicts and reproduced numbers that stick out of the window, or of the box that their table scrolls in.
OUT_OF_SIGHT = """async () => {
  const drawn = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  for (const fold of document.querySelectorAll("article details:not(.opens)")) fold.open = true;
  await drawn();
  const found = [];
  const look = (root) => {
    const boxed = (node) => innerWidth > 1000 && node.matches(".box");  // on a phone the matrix scrolls, and says so
    for (const node of root.querySelectorAll(".verdict, .verdict-mark, details.opens, td")) {
      if (!node.checkVisibility()) continue;
      if (node.matches("td") && !boxed(node) && !/\\d →/.test(node.innerText)) continue;
      let edge = innerWidth;
      for (let around = node.parentElement; around !== document.body; around = around.parentElement)
        if (getComputedStyle(around).overflowX !== "visible")
          edge = Math.min(edge, around.getBoundingClientRect().right);
      const box = node.getBoundingClientRect();
      if (box.right > edge + 1) found.push(`${node.closest("table")?.caption?.innerText}: ${node.innerText}`);
    }
  };
  look(document.querySelector("article"));
  for (const tab of document.querySelectorAll("article .levels > input:not(:checked)")) {
    for (let level = tab.closest(".level"); level; level = level.parentElement.closest(".level")) {
      const place = [...level.parentElement.querySelectorAll(":scope > .level")].indexOf(level);
      level.parentElement.querySelectorAll(":scope > input")[place].click();
    }
    tab.click();
    await drawn();
    look(tab.parentElement);
  }
  return [...new Set(found)];
}"""


@pytest.mark.parametrize("name", toc_pages())
def test_no_verdict_and_no_number_is_out_of_sight(visit: Any, name: str) -> None:
    page = visit(name, viewport=SCREEN).page
    assert page.evaluate(OUT_OF_SIGHT) == [], "on a screen"
    page.set_viewport_size(PHONE)
    assert page.evaluate(OUT_OF_SIGHT) == [], "on a phone"


def test_a_wide_table_stands_row_by_row_on_a_phone_alone(visit: Any) -> None:
    page = visit("book/_executed/leaderboard", viewport=PHONE).page
    table = page.locator("article .results:not(.matrix) table.stacked").first
    table.wait_for()
    cell = table.locator("tbody td:visible").first
    head = cell.evaluate("cell => getComputedStyle(cell, '::before').content")
    assert "ASR" in head or "DER" in head
    assert table.evaluate("table => table.parentElement.scrollWidth <= table.parentElement.clientWidth + 1")
    assert table.get_attribute("role") == "table" and cell.get_attribute("role") == "cell"
    page.set_viewport_size(SCREEN)
    page.wait_for_function("() => !document.querySelector('article table.stacked')")


def test_what_scrolls_on_a_phone_says_so(visit: Any) -> None:
    page = visit("book/_executed/leaderboard", viewport=PHONE).page
    box = page.locator("article .sortable[data-scrolls]").first
    box.wait_for()
    assert "scroll" in box.evaluate("box => getComputedStyle(box, '::before').content")
    scroller = box.locator(".dt-layout-table > .dt-layout-cell")
    first = scroller.locator("tbody tr > :first-child").first
    before = first.bounding_box()["x"]
    scroller.evaluate("node => { node.scrollLeft = 150; }")
    assert abs(first.bounding_box()["x"] - before) <= 2, "the names of its rows stay in sight"


def opener(page: Any) -> tuple[Any, Any]:
    """A number that opens a row, and that row."""
    number = page.locator("article details.exhibit[open] details.opens > summary").first
    return number, number.locator("xpath=ancestor::tr[1]/following-sibling::tr[1]")


@pytest.mark.parametrize("way", ["mouse", "keys", "touch"])
def test_a_number_opens_its_results_and_their_command(visit: Any, way: str) -> None:
    opened = visit("book/_executed/verdicts-asd", viewport=SCREEN, has_touch=way == "touch")
    page = opened.page
    page.locator("article table a[href='#exhibit-table-2']").click()
    number, row = opener(page)
    assert not row.is_visible()
    if way == "mouse":
        number.click()
    elif way == "keys":
        number.focus()
        page.keyboard.press("Enter")
    else:
        number.tap()
    row.wait_for()
    said = row.inner_text()
    for part in ("Table 2 of", "seed 0", "digest", "book/results/laptop/", "defenselib run --dataset cifar10", " s;"):
        assert part in said, part
    assert opened.asked == [] and opened.complaints == []


def test_a_field_over_numbers_takes_a_bound(visit: Any) -> None:
    opened = visit("book/_executed/leaderboard", viewport=SCREEN)
    page = opened.page
    page.locator("#pairs.dataTable tbody tr").first.wait_for()
    page.locator("#pairs_wrapper .dt-length select").select_option("-1")
    heads = [text.strip() for text in page.locator("#pairs thead th").all_inner_texts()]
    place = heads.index("ACC")
    field = page.locator("#pairs tfoot input").nth(place)
    rows = page.locator("#pairs tbody tr")
    before = rows.count()

    def numbers() -> list[float]:
        cells = page.locator(f"#pairs tbody tr td:nth-child({place + 1})").all_inner_texts()
        return [float(text.split("±")[0]) for text in cells]

    field.fill(">70")
    page.locator("#pairs_wrapper .dt-info", has_text="filtered").wait_for()
    above = numbers()
    assert above and min(above) > 70 and len(above) < before
    field.fill("<= 70")
    page.wait_for_function("n => document.querySelectorAll('#pairs tbody tr').length !== n", arg=len(above))
    assert max(numbers()) <= 70
    field.fill("")
    page.wait_for_function("n => document.querySelectorAll('#pairs tbody tr').length === n", arg=before)
    assert opened.complaints == []


def test_ranks_stand_on_the_first_screen_and_names_lead_to_chapters(visit: Any) -> None:
    opened = visit("book/_executed/leaderboard", viewport=SCREEN)
    table = opened.page.locator("article table.dataframe", has_text="rank").first
    assert table.bounding_box()["y"] < SCREEN["height"] / 2
    assert table.locator("a[href='asd.html']").count() == 1
    assert "not run under" in table.inner_text()
