"""What belongs to the book and not to one page: search, the leaderboard's table, a host instead of a disk, printing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

HTML = Path(__file__).parents[2] / "book" / "_build" / "html"
LEADERBOARD = "book/_executed/leaderboard"


@pytest.fixture
def host() -> Iterator[str]:
    """The book on a web server of this machine, as a static host has it."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(HTML)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_search_leads_to_a_page_that_says_it(visit: Any) -> None:
    opened = visit("book/index")
    opened.page.locator("button.search-button__button:visible").first.click()
    opened.page.locator("input[type=search]:visible").fill("backdoor")
    opened.page.keyboard.press("Enter")
    hits = opened.page.locator("#search-results li a")
    hits.first.wait_for()
    assert hits.count() > 0
    hits.first.click()
    assert "backdoor" in opened.page.locator("article").inner_text().lower()
    assert opened.asked == [] and opened.complaints == []


def test_the_leaderboard_sorts_and_filters(visit: Any) -> None:
    opened = visit(LEADERBOARD)
    table = opened.page.locator("article .dt-container").first
    rows = table.locator("tbody tr")
    rows.first.wait_for()
    table.locator(".dt-length select").select_option("-1")
    before = rows.all_inner_texts()
    assert len(before) > 2

    head = table.locator("thead th.dt-orderable-asc").nth(1)
    orders = [tuple(before)]
    for _ in range(2):  # up and down; the table is drawn a moment after the click
        body = table.locator("tbody")
        now = [body.element_handle(), body.inner_text()]
        head.click()
        opened.page.wait_for_function("([body, text]) => body.innerText !== text", arg=now)
        orders.append(tuple(rows.all_inner_texts()))
    assert orders[1] != orders[2]
    assert {tuple(sorted(one)) for one in orders} == {tuple(sorted(before))}, "sorting neither adds nor drops a row"

    word = next(
        word for word in before[0].split() if word.isalnum() and 0 < sum(word in row for row in before) < len(before)
    )
    search = table.locator(".dt-search input")
    search.fill(word)
    assert 0 < rows.count() < len(before)
    assert all(word.lower() in text.lower() for text in rows.all_inner_texts())
    search.fill("no method is called this")
    assert table.locator("td.dt-empty").is_visible()
    search.fill("")
    assert rows.count() == len(before)
    assert opened.asked == [] and opened.complaints == []


def test_a_host_serves_widgets_and_formulas_as_well(visit: Any, host: str) -> None:
    opened = visit(f"{host}/book/_executed/explore.html")
    assert opened.page.locator("article .lm-Widget").count() > 0
    formulas = visit(f"{host}/book/threat_model.html")
    assert formulas.page.locator("article mjx-container svg").count() > 0
    for one in (opened, formulas):
        assert one.asked == [] and one.complaints == []


def test_print_is_light_and_has_nothing_to_press(visit: Any) -> None:
    opened = visit("book/verdicts", color_scheme="dark")
    page = opened.page
    theme = "document.documentElement.dataset.theme"
    assert page.evaluate(theme) == "dark"
    assert page.locator(".bd-sidebar-primary").is_visible()
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(theme) == "light"
    for part in (".bd-sidebar-primary", ".bd-header-article", ".prev-next-footer", ".bd-footer-content"):
        assert not page.locator(part).first.is_visible(), part
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("article h2").first.is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(theme) == "dark"
