"""The report in the machine's Chromium: one file, no network, no script, whatever the files are called."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from bs4 import BeautifulSoup

from defenselib.audit.folder import UserData, read_folder
from defenselib.audit.markup import change, histogram
from defenselib.audit.page import report, write_report
from defenselib.audit.results import Accuracy
from tests.audit.made import drawn, reported
from tests.audit.test_suspects import delivered

EVIL = "<img src=x onerror=alert(1)>"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> UserData:
    folder = tmp_path_factory.mktemp("<b>data")
    drawn(folder, 120)
    (folder / "ring").rename(folder / EVIL)
    first = sorted((folder / EVIL).iterdir())[0]
    first.rename(first.with_name(f"{EVIL}.png"))
    (folder / "disk" / f"{EVIL}.txt").write_text("no image")
    return read_folder(folder)


def flagged_in(data: UserData) -> torch.Tensor:
    return torch.tensor([EVIL in name for name in data.files])


@pytest.fixture(scope="module")
def page(data: UserData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    count = len(data.files)
    scan = reported(data, flagged_in(data), pattern=torch.rand(3, 32, 32) - 0.5, words=EVIL, target=0)
    delivery = delivered(
        count,
        scan=scan,
        predicted=torch.zeros(count, dtype=torch.int64),
        removed=flagged_in(data),
        held_out=torch.arange(count) < 9,
        accuracy=Accuracy("held-out part", 9, 50.0, tuple([50.0] * 10), 60.0),
        settings={"defense": EVIL},
        files={"model.pt2": EVIL},
    )
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(path, data, scan, delivery)
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("no browser is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_quietly_and_shows_its_pictures(browser: Any, page: Path, width: int, scheme: str) -> None:
    said: list[str] = []
    opened = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    opened.on("request", lambda request: None if request.url.startswith("data:") else said.append(request.url))
    opened.on("console", lambda message: said.append(message.text))
    opened.on("dialog", lambda dialog: said.append(f"dialog {dialog.message}"))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.goto(page.as_uri())
    assert said == [page.as_uri()], "it asks for nothing, and nothing is executed"
    sizes = opened.evaluate("[...document.images].map((image) => image.naturalWidth)")
    assert len(sizes) > 12 and min(sizes) > 0
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth"), "no sideways scrolling"
    assert opened.get_by_text(f"{EVIL}.png").first.is_visible()
    colours = opened.evaluate(
        "(({color, backgroundColor}) => [color, backgroundColor])(getComputedStyle(document.body))"
    )
    light = [sum(map(int, colour[4:-1].split(", "))) for colour in colours]
    assert light[0] < light[1] if scheme == "light" else light[0] > light[1]
    opened.close()


def test_names_are_text_and_nothing_is_loaded(page: Path) -> None:
    text = page.read_text()
    found = BeautifulSoup(text, "html.parser")
    assert not found.find_all(["script", "iframe", "object", "base", "embed"])
    assert all(tag.find_parent(class_="facts") for tag in found.find_all("b")), "none comes from a name"
    assert "onerror" in found.get_text() and not found.find_all(attrs={"onerror": True})
    assert all(image["src"].startswith("data:image/png;base64,") and image["alt"] for image in found.find_all("img"))
    assert "http:" not in text and "https:" not in text and "url(" not in text
    assert f"{EVIL}.txt" in found.select_one("#skipped").get_text()


def test_numbers_of_the_page_are_those_of_the_data(data: UserData, page: Path) -> None:
    found = BeautifulSoup(page.read_text(), "html.parser")
    table = found.select_one("#classes table")
    head = [cell.get_text() for cell in table.select("thead th")]
    rows = {row.th.get_text(): [cell.get_text() for cell in row.find_all("td")] for row in table.select("tbody tr")}
    labels = data.images.labels
    for label, name in enumerate(data.classes):
        mine = dict(zip(head[1:], rows[name], strict=True))
        assert int(mine["files"]) == int((labels == label).sum())
        assert int(mine["flagged"]) == int((flagged_in(data) & (labels == label)).sum())
        assert int(mine["held out"]) == int((labels[:9] == label).sum())
    assert (
        "(9 images): 50 %." in found.select_one("#model").get_text()
        and "poisoned too" in found.select_one("#model").get_text()
    )


def test_a_calm_scan_alone_says_so_and_speaks_of_no_model(data: UserData) -> None:
    found = BeautifulSoup(report(data, reported(data)), "html.parser")
    assert "No sign of poison" in found.select_one(".verdict").get_text()
    assert "Nothing says that these are poisoned" in found.select_one("#suspects").get_text()
    assert found.select_one("#model") is None
    assert "no proof" in found.select_one("#checked").get_text()


def test_a_change_is_drawn_around_grey() -> None:
    pattern = torch.zeros(3, 8, 8)
    pattern[0, 0, 0], pattern[1, 1, 1] = 5.0, -10.0
    shown = change(pattern)
    assert (shown[0, 0, 0], shown[1, 1, 1], shown[2, 5, 5]) == (192, 1, 128)
    assert (change(torch.zeros(3, 4, 4)) == 128).all()


def test_a_histogram_counts_what_is_a_number() -> None:
    values = torch.tensor([0.0, 1.0, 2.0, float("nan"), float("inf")])
    text = histogram(values, torch.tensor([False, False, True, True, True]), '"x"')
    assert text.count("<rect") == 4 and "3 files from 0 to 2, 1 of them flagged" in text and "&quot;x&quot;" in text
    assert "The same value" in histogram(torch.ones(3), torch.ones(3, dtype=torch.bool), "x")
    assert "not of single files" in histogram(torch.full((2,), float("nan")), torch.ones(2, dtype=torch.bool), "x")


def test_the_gallery_counts_what_it_shows_and_no_flagged_file_is_typical(data: UserData) -> None:
    labels = data.images.labels
    flagged = labels == labels[0]  # a whole class
    found = BeautifulSoup(report(data, reported(data, flagged)), "html.parser").select_one("#suspects")
    shown = len(found.select("li.flagged"))
    assert f"{shown} of {int(flagged.sum())} flagged files are shown here." in found.get_text()
    for head in found.find_all("h3"):
        if head.get_text().endswith("typical"):
            assert not head.find_next("ul").select("li.flagged")
    single = report(data, reported(data, torch.arange(len(data.files)) == 0))
    assert "1 of 1 flagged file is shown here." in single and "Files per class" in single
    assert "shown here" not in report(data, reported(data))


def test_what_the_method_flags_too_is_not_typical(data: UserData) -> None:
    count = len(data.files)
    scan = reported(data, data.images.labels == 0)
    said = delivered(
        count,
        scan=scan,
        suspects=torch.ones(count, dtype=torch.bool),
        predicted=(data.images.labels + 1) % len(data.classes),
    )
    assert ", typical" not in report(data, scan, said)
