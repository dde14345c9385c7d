"""A reader's questions, asked of the built pages: which defense, is it reproduced, and how far is the answer away?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from defenselib import papers
from defenselib.papers import findings
from defenselib.papers.headlines import answer
from defenselib.plots import canvas, words
from defenselib.report import boxes

SCREEN = 800  # pixels
WINDOW = {"width": 1280, "height": SCREEN}
LONGEST = 15  # screens of a chapter
COMMITTED = Path(__file__).parents[2] / "book" / "results"
KEYS = papers.available()
# Pages that explain profiles, or how to extend and run the package; no result stands on them.
MACHINERY = {
    "verdicts", "data", "rerun", "extend", "built", "glossary", "changes",
    "api", "api_attacks", "api_defenses", "api_learning",
}  # fmt: skip
BOTTOM = "(node) => node.getBoundingClientRect().bottom + scrollY"


@pytest.fixture(scope="module")
def read(chromium: Any) -> Iterator[Any]:
    """read(name): the page of that name at 1280 x 800, opened once."""
    from .conftest import HTML, open_page

    seen: dict[str, Any] = {}

    def go(name: str) -> Any:
        if name not in seen:
            seen[name] = open_page(chromium, name, (HTML / f"{name}.html").as_uri(), viewport=WINDOW)
        return seen[name].page

    yield go
    for one in seen.values():
        one.page.close()


@pytest.mark.parametrize("paper", KEYS)
def test_a_chapter_has_at_most_fifteen_screens(paper: str, read: Any) -> None:
    height = read(f"book/_executed/{paper}").locator("article").evaluate("(node) => node.offsetHeight")
    assert 2 * SCREEN < height <= LONGEST * SCREEN


@pytest.mark.parametrize("paper", KEYS)
def test_a_chapter_answers_on_its_first_screen_as_the_claims_do(paper: str, read: Any) -> None:
    page = read(f"book/_executed/{paper}")
    box = page.locator("article .chapter-box")
    assert box.count() == 1 and box.locator("dt").count() == 5
    said = box.locator(".chapter-answer")
    assert said.evaluate(BOTTOM) < SCREEN
    known = boxes.facts(paper, COMMITTED)
    marks = [words.marked(answer(found)) for found in known.outcomes.values()] or [words.marked("not run")]
    assert [mark.strip() for mark in said.locator(".verdict").all_inner_texts()] == marks
    text = box.inner_text()
    assert boxes.since(known) in text and boxes.claimed(known.headline) in text
    figure = page.locator("article figure").first
    assert canvas.NOTHING not in (figure.locator("img").get_attribute("alt") or "")


def test_which_defense_is_one_click_away(read: Any) -> None:
    start = read("book/index")
    link = start.locator("nav a[href$='findings.html'], article a[href$='findings.html']").first
    assert link.count() == 1
    page = read("book/_executed/findings")
    first = page.locator("article ul.findings > li").first
    assert first.evaluate(BOTTOM) < SCREEN
    name = findings.first(findings.evidence(store=COMMITTED))
    assert first.inner_text().startswith(
        f"First to try: {words.label(name)}." if name else "First to try: nothing yet."
    )


def test_is_it_reproduced_is_two_clicks_away(read: Any) -> None:
    page = read("book/_executed/findings")
    table = page.locator("article .reproduced table")
    assert table.locator("tbody tr").count() == len(KEYS)
    for paper in KEYS:
        link = table.locator(f"a[href='{paper}.html']")
        row = link.locator("xpath=ancestor::tr")
        marks = [mark.strip() for mark in row.locator(".verdict").all_inner_texts()]
        known = boxes.facts(paper, COMMITTED)
        for found in known.outcomes.values():
            assert words.marked(answer(found)) in marks


def test_the_findings_are_a_page_of_few_screens(read: Any) -> None:
    height = read("book/_executed/findings").locator("article").evaluate("(node) => node.offsetHeight")
    assert height <= 3.5 * SCREEN


@pytest.mark.parametrize("paper", KEYS)
def test_what_was_not_run_is_a_line_and_no_empty_figure(paper: str, read: Any) -> None:
    page = read(f"book/_executed/verdicts-{paper}")
    folds = page.locator("details.exhibit")
    assert folds.count() == len(papers.get(paper).exhibits)
    texts = page.evaluate(
        "() => [...document.querySelectorAll('details.exhibit')].map((fold) => "
        "[fold.querySelector('summary').textContent, fold.querySelector('.missing-line')?.textContent ?? '', "
        "fold.textContent])"
    )
    waiting = [
        (summary, line, text)
        for summary, line, text in texts
        if re.search(r"(?<!claims: )not run(;|$)", summary.strip())
    ]
    for summary, line, _ in waiting:
        if ";" in summary.rpartition("not run")[2]:  # it can be run, and costs something
            assert re.search(r"\d+ trainings?, (about|at a guess) .*: *defenselib plan --paper", line), summary
    for alt in page.locator("article img").evaluate_all("(all) => all.map((one) => one.alt)"):
        assert canvas.NOTHING not in alt


@pytest.mark.parametrize("paper", KEYS)
def test_no_figure_of_a_chapter_is_empty(paper: str, read: Any) -> None:
    page = read(f"book/_executed/{paper}")
    alts = page.locator("article figure img").evaluate_all("(all) => all.map((one) => one.alt)")
    assert len(alts) >= 3 and not [alt for alt in alts if canvas.NOTHING in alt]


def test_no_page_shows_a_toy(opened: Any) -> None:
    """Beside the pages that explain what a profile is, none speaks of the one that tests use."""
    if opened.name.rpartition("/")[2] in MACHINERY:
        pytest.skip("a page about the machinery")
    text = opened.page.locator("article").inner_text()
    assert "smoke" not in text.lower(), text[max(0, text.lower().find("smoke") - 80) :][:160]
