"""The compiled book opens from disk: its pages, links, pictures. Skipped where nothing is compiled; `make test` is."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from .conftest import HTML, ROOT, toc_pages

bs4 = pytest.importorskip("bs4")

pytestmark = pytest.mark.skipif(not (HTML / "index.html").exists(), reason="the book is not compiled: make book")


@pytest.fixture(scope="module")
def soups() -> dict[Path, bs4.BeautifulSoup]:
    """All pages of the table of contents, parsed, by path."""
    return {
        HTML / f"{page}.html": bs4.BeautifulSoup((HTML / f"{page}.html").read_text(encoding="utf-8"), "html.parser")
        for page in toc_pages()
    }


def test_start_page_leads_into_the_book() -> None:
    assert "book/index.html" in (HTML / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", toc_pages())
def test_page_has_title_heading_and_text(soups: dict[Path, bs4.BeautifulSoup], page: str) -> None:
    soup = soups[HTML / f"{page}.html"]
    assert soup.title is not None and soup.title.text.strip()
    assert len(soup.select("article h1")) == 1
    assert soup.select_one("html")["lang"] == "en"


@pytest.mark.parametrize("page", toc_pages())
def test_no_cell_failed_and_nothing_stayed_unresolved(soups: dict[Path, bs4.BeautifulSoup], page: str) -> None:
    article = soups[HTML / f"{page}.html"].select_one("article")
    text = article.text
    for wrong in ("Traceback (most recent call last)", "{cite", "{ref}", "{doc}", "{glue", "FutureWarning"):
        assert wrong not in text, wrong
    assert not article.select(".output.traceback, .problematic, .system-message")


@pytest.mark.parametrize("page", toc_pages())
def test_links_within_the_book_lead_somewhere(soups: dict[Path, bs4.BeautifulSoup], page: str) -> None:
    path = HTML / f"{page}.html"
    for link in soups[path].select("a[href]"):
        parts = urlsplit(link["href"])
        if parts.scheme or parts.netloc:
            continue
        # resolve() keeps "..": the page is opened as a file, so the path counts and nothing else.
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        assert target.is_file(), link["href"]
        if parts.fragment and target in soups:
            assert soups[target].find(id=unquote(parts.fragment)), link["href"]


@pytest.mark.parametrize("page", toc_pages())
def test_pictures_exist_and_say_what_they_show(soups: dict[Path, bs4.BeautifulSoup], page: str) -> None:
    path = HTML / f"{page}.html"
    for image in soups[path].select("article img, .navbar-brand img"):
        assert image.get("alt", "").strip(), image["src"][:80]
        if not image["src"].startswith("data:"):
            assert (path.parent / unquote(image["src"])).resolve().is_file(), image["src"]


@pytest.mark.parametrize("page", toc_pages())
def test_no_script_of_an_outside_host_but_math_and_widgets(soups: dict[Path, bs4.BeautifulSoup], page: str) -> None:
    hosts = {urlsplit(script["src"]).netloc for script in soups[HTML / f"{page}.html"].select("script[src]")}
    assert hosts <= {"", "cdn.jsdelivr.net", "cdnjs.cloudflare.com"}
    assert "thebe" not in str(soups[HTML / f"{page}.html"].head)


def test_a_poisoned_search_finds_the_threat_model() -> None:
    assert "threat_model" in (HTML / "searchindex.js").read_text(encoding="utf-8")


def test_parameters_are_hidden_and_both_themes_are_styled() -> None:
    style = (HTML / "_static" / "book.css").read_text()
    assert "tag_parameters" in style and "tag_injected-parameters" in style
    assert '[data-theme="dark"]' in style


def test_nothing_of_this_machine_is_in_the_pages(soups: dict[Path, bs4.BeautifulSoup]) -> None:
    for path, soup in soups.items():
        assert str(ROOT) not in str(soup), path
