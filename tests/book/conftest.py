"""The compiled book in the machine's Chromium, without a network: each page is opened once and shared by its tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

ROOT = Path(__file__).parents[2]
HTML = ROOT / "book" / "_build" / "html"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--no-sandbox",  # root, as in a container, cannot have one
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # no network, whatever the machine has
)
# anywidget complains where a script takes more than two seconds to start, and draws all the same.
LATE = "[anywidget] Failed to initialize model."
PATIENCE = 60_000  # milliseconds; for slow machines, nothing is judged by time


def toc_pages() -> list[str]:
    """Names of all pages, in reading order."""

    def below(entry: Any) -> list[str]:
        own = [entry["file"]] if "file" in entry else []
        groups = [entry[kind] for kind in ("parts", "chapters", "sections") if kind in entry]
        return own + [page for group in groups for inner in group for page in below(inner)]

    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    return [toc["root"], *below(toc)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "opened" in metafunc.fixturenames:
        metafunc.parametrize("opened", toc_pages(), indirect=True, scope="session")


@dataclass
class Opened:
    """A page in the browser: what it asked of other hosts, what it complained of, since it was opened."""

    name: str
    page: Any
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def listen(self) -> None:
        self.page.on("request", lambda request: self.note(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)) if LATE not in str(error) else None)
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)

    def note(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"file", "data", "blob"} and parts.hostname != "127.0.0.1":
            self.asked.append(url)

    def settle(self) -> None:
        """Until formulas are typeset and as many widgets are drawn as the page holds."""
        self.page.wait_for_function("!window.MathJax?.startup || MathJax.startup.promise.then(() => true)")
        self.page.wait_for_function(
            "() => [...document.querySelectorAll('script[type=\"application/vnd.jupyter.widget-view+json\"]')]"
            ".every((mark) => mark.parentElement.querySelector('.lm-Widget'))"
        )


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    ci = os.environ.get("CI") == "true"
    if not (HTML / "index.html").exists():
        (pytest.fail if ci else pytest.skip)("the book is not compiled: make book")
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        (pytest.fail if ci else pytest.skip)(f"no browser is installed, looked for {', '.join(NAMES)}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        yield browser
        browser.close()


def open_page(browser: Any, name: str, url: str, **settings: Any) -> Opened:
    page = browser.new_page(**settings)
    page.set_default_timeout(PATIENCE)
    opened = Opened(name, page)
    opened.listen()
    page.goto(url)
    opened.settle()
    return opened


@pytest.fixture(scope="session")
def opened(chromium: Any, request: pytest.FixtureRequest) -> Iterator[Opened]:
    """A page of the table of contents, from disk as a reader opens it."""
    found = open_page(chromium, request.param, (HTML / f"{request.param}.html").as_uri())
    yield found
    found.page.close()


@pytest.fixture
def visit(chromium: Any) -> Iterator[Any]:
    """Opens one more page, by its name in the book or by its address."""
    seen: list[Opened] = []

    def go(name: str, **settings: Any) -> Opened:
        url = name if "://" in name else (HTML / f"{name}.html").as_uri()
        seen.append(open_page(chromium, name, url, **settings))
        return seen[-1]

    yield go
    for one in seen:
        one.page.close()
