"""What stands around the content: footers, excerpts of a search, hover texts by mouse, keyboard and touch, and what axe
finds wrong."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from defenselib import __version__

ROOT = Path(__file__).parents[2]
AXE = ROOT / "book" / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
OURS = ("book/index", "book/_executed/explore", "book/glossary", "book/taking_part", "book/changes")


def test_every_page_says_its_edition(opened: Any) -> None:
    said = opened.page.locator(".edition").inner_text()
    assert re.search(rf"Version {re.escape(__version__)}, commit (unknown|[0-9a-f]{{7}}( with changes)?), ", said), said
    assert re.search(r"\d{1,2} [A-Z]\w+ 20\d\d", said)
    links = opened.page.eval_on_selector_all(".edition a", "all => all.map((one) => one.href)")
    assert [Path(link).name.rstrip("#") for link in links] == ["taking_part.html", "changes.html", "glossary.html"]


@pytest.mark.parametrize("asked", ["papermill", "clean label"])
def test_the_search_finds_it_and_shows_where(visit: Any, asked: str) -> None:
    opened = visit("book/index")
    opened.page.locator("button.search-button__button:visible").first.click()
    opened.page.locator("input[type=search]:visible").fill(asked)
    opened.page.keyboard.press("Enter")
    hits = opened.page.locator("#search-results li")
    hits.first.locator(".search-excerpt").wait_for()
    opened.page.wait_for_function("() => /found \\d+ page/.test(document.querySelector('#search-results').innerText)")
    texts = hits.all_inner_texts()
    assert any(text.startswith("Glossary") for text in texts)
    assert any(asked in text.partition("\n")[2].lower() for text in texts), "an excerpt with the words"
    marks = {mark.lower() for mark in opened.page.locator("#search-results mark").all_inner_texts()}
    assert set(asked.split()) <= marks
    hits.first.locator("a").click()
    assert all(word in opened.page.locator("article").inner_text().lower() for word in asked.split())
    assert opened.asked == [] and opened.complaints == []


def meaning(opened: Any, term: str) -> str:
    found = opened.page.locator(f"dt#{term} ~ dd").first
    return " ".join(found.inner_text().split())


def test_a_term_tells_its_meaning_to_mouse_keyboard_and_touch(visit: Any) -> None:
    wanted = meaning(visit("book/glossary"), "term-backdoor")
    opened = visit("book/index")
    term = opened.page.locator("article a[href*='#term-backdoor']").first
    tip = opened.page.locator("#book-tip")
    assert not tip.is_visible()
    term.hover()
    tip.wait_for(state="visible")
    assert tip.inner_text() == wanted
    opened.page.mouse.move(1, 1)
    tip.wait_for(state="hidden")
    # By keyboard alone: from the skip link to the term.
    for _ in range(60):
        opened.page.keyboard.press("Tab")
        if term.evaluate("node => node === document.activeElement"):
            break
    tip.wait_for(state="visible")
    assert tip.inner_text() == wanted and term.get_attribute("aria-describedby") == tip.get_attribute("id")
    opened.page.keyboard.press("Escape")
    assert not tip.is_visible()
    finger = visit("book/index", has_touch=True, viewport={"width": 390, "height": 844})
    term, tip = finger.page.locator("article a[href*='#term-backdoor']").first, finger.page.locator("#book-tip")
    term.tap()
    tip.wait_for(state="visible")
    box = tip.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    assert "index" in finger.page.url
    term.tap()
    finger.page.wait_for_url("**/glossary.html#term-backdoor")
    assert opened.complaints == [] and finger.complaints == []


def test_the_cells_of_a_table_are_one_stop_of_the_keyboard(visit: Any) -> None:
    opened = visit("book/_executed/leaderboard")
    table = opened.page.locator("article table:has(td[data-tip])").first
    cells = table.locator("td[data-tip]")
    assert cells.count() > 1 and table.locator("td[data-tip][tabindex='0']").count() == 1
    first, tip = cells.first, opened.page.locator("#book-tip")
    first.focus()
    first.press("Home")  # a key, so that the focus is one of the keyboard
    first.press("ArrowRight")
    tip.wait_for(state="visible")
    assert tip.inner_text() == cells.nth(1).get_attribute("data-tip")
    assert cells.nth(1).evaluate("node => node === document.activeElement && node.tabIndex === 0")
    assert first.get_attribute("tabindex") == "-1" and opened.complaints == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", OURS)
def test_axe_finds_nothing_serious(visit: Any, name: str, theme: str) -> None:
    if not AXE.is_file():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("axe is not fetched: book/frontend/fetch")
    opened = visit(name, color_scheme=theme)
    for box in opened.page.locator("#widget-ask input[type=checkbox]").all():
        box.check()
    opened.page.evaluate(AXE.read_text(encoding="utf-8"))
    # It would read the style sheets anew, which a page from disk may not.
    # The arrows of the contents at the left are the theme's.
    ours = "{ exclude: [['.toctree-l1 > details > summary'], ['.toctree-l2 > details > summary']] }"
    found = opened.page.evaluate(f"axe.run({ours}, {{ preload: false, resultTypes: ['violations'] }})")
    assert found["passes"], "it has looked at something"
    bad = [
        (one["id"], node["html"][:120])
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
    assert bad == []
