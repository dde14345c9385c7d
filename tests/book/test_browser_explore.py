"""The page to play with: a link restores what was chosen, charts are read by pointer, touch and keys, two trainings
share their epochs, and a picture of one's own is asked without anybody else hearing of it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PICTURE = (Path(__file__).parent / "picture.js").read_text(encoding="utf-8")
EXPLORE = "book/_executed/explore"
WIDGETS = ("attack", "ask", "split", "run", "table")


def widget(opened: Any, name: str) -> Any:
    found = opened.page.locator(f"#widget-{name}")
    found.scroll_into_view_if_needed()
    opened.page.wait_for_function(
        "id => document.querySelector(`#${id} :is(svg.dl-chart, canvas, table)`)", arg=f"widget-{name}"
    )
    return found


def settled(opened: Any, root: Any) -> str:
    """What is shown once nothing changes any more: pictures are decoded a moment after a choice."""
    seen = [root.evaluate(PICTURE), None]
    while seen[0] != seen[1]:
        opened.page.wait_for_timeout(250)
        seen = [root.evaluate(PICTURE), seen[0]]
    return str(seen[0])


def choose(root: Any, label: str, option: str) -> None:
    root.locator(f"label.dl-control:has-text('{label}') select").first.select_option(option)


def address(opened: Any) -> str:
    return str(opened.page.evaluate("location.href"))


def test_a_link_restores_what_was_chosen(visit: Any) -> None:
    first = visit(EXPLORE)
    assert "#" not in address(first), "nothing was chosen yet"
    attack = widget(first, "attack")
    choose(attack, "Attack", "Blend")
    choose(attack, "Image", "2")
    attack.locator("input[type=range]").press("End")
    ask = widget(first, "ask")
    ask.locator("select").first.select_option(index=4)
    settled(first, ask)
    ask.locator("input[type=checkbox]").check()
    ask.locator("input[type=range]").press("ArrowLeft")
    split = widget(first, "split")
    split.locator("select").first.select_option(index=1)
    split.locator("input[type=range]").press("Home")
    run = widget(first, "run")
    choose(run, "Method", "ASD")
    run.locator("select").nth(2).select_option(index=1)
    run.locator("input[type=range]").press("Home")
    table = widget(first, "table")
    table.locator("select").first.select_option(index=2)
    table.locator("input[type=checkbox]").uncheck()
    shown = {name: settled(first, widget(first, name)) for name in WIDGETS}
    assert first.page.evaluate("history.length") <= 2, "a choice is no step to go back by"

    second = visit(address(first))
    assert {name: settled(second, widget(second, name)) for name in WIDGETS} == shown
    third = visit(EXPLORE)
    plain = {name: settled(third, widget(third, name)) for name in WIDGETS}
    assert all(plain[name] != shown[name] for name in WIDGETS)
    # The same link, followed while the page is open.
    third.page.evaluate("hash => { location.hash = hash; }", address(first).partition("#")[2])
    assert {name: settled(third, widget(third, name)) for name in WIDGETS} == shown
    for one in (first, second, third):
        assert one.asked == [] and one.complaints == []


def test_a_link_leads_to_its_widget_and_tells_what_is_gone(visit: Any) -> None:
    opened = visit(EXPLORE)
    start = opened.page.evaluate("location.href")
    opened = visit(f"{start}#widget-run&run.method=No%20such%20method&run.epoch=2")
    run = widget(opened, "run")
    assert "No such method" in run.locator(".dl-lost").inner_text()
    top = "document.querySelector('#widget-run').getBoundingClientRect().top"
    opened.page.wait_for_function(f"{top} < innerHeight && {top} > -200")
    run.locator("select").first.select_option(index=0)
    assert not run.locator(".dl-lost").is_visible()


def epoch(run: Any) -> str:
    return str(run.locator("input[type=range]").get_attribute("aria-valuetext"))


def test_a_chart_answers_to_pointer_keys_and_touch(visit: Any) -> None:
    opened = visit(EXPLORE)
    run = widget(opened, "run")
    chart = run.locator(".dl-pointed")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + 60)
    last = epoch(run)
    opened.page.mouse.move(*middle)
    rests = epoch(run)
    assert rests != last and "#" not in address(opened), "looking is no choice"
    opened.page.mouse.move(box["x"] - 50, box["y"])
    assert epoch(run) == last
    opened.page.mouse.click(*middle)
    opened.page.mouse.move(box["x"] - 50, box["y"])
    assert epoch(run) == rests and "run.epoch=" in address(opened)
    chart.press("ArrowRight")
    assert epoch(run) not in (rests, last)
    chart.press("Home")
    assert epoch(run).startswith("epoch 1 of")

    finger = visit(EXPLORE, has_touch=True, viewport={"width": 390, "height": 844})
    run = widget(finger, "run")
    last = epoch(run)
    box = run.locator(".dl-pointed").bounding_box()
    finger.page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + 60)
    assert epoch(run) != last and "run.epoch=" in address(finger)


def test_two_trainings_share_their_epochs(visit: Any) -> None:
    opened = visit(EXPLORE)
    run = widget(opened, "run")
    choose(run, "Method", "ASD")
    others = run.locator("select").nth(2)
    names = others.locator("option").all_inner_texts()
    assert names[0] == "nothing" and any(name.startswith("no defense") for name in names)
    profile = run.locator("select").nth(1).locator("option:checked").inner_text().rpartition(", ")[2]
    assert all(name.endswith(profile) for name in names[1:]), "one profile at a time"
    others.select_option(index=1)
    charts = run.locator("svg.dl-chart")
    assert charts.count() == 2 and run.locator("dl").count() == 2
    ends = charts.evaluate_all(
        "all => all.map((one) => [...one.querySelectorAll('text[text-anchor=middle]')].map((text) => text.textContent))"
    )
    assert ends[0] == ends[1], "the same axis"
    run.locator("input[type=range]").press("Home")
    stages = run.locator("dl > div:first-child dd").all_inner_texts()
    assert len(stages) == 2
    said = run.locator(".dl-source:not(.dl-lost)")
    for own in (True, False):  # V&B under the attack as its own paper sets it, and as BSD's does, which is ASD's
        chosen = [name.startswith("V&B") and ("(as in BSD)" not in name) is own for name in names].index(True)
        others.select_option(index=chosen)
        assert ("Not the same poison" in said.inner_text()) is own, names[chosen]


def png(size: tuple[int, int], colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def pixels(root: Any, which: int) -> np.ndarray:
    """What a canvas shows, (32, 32, 3)."""
    read = "node => [...node.getContext('2d').getImageData(0, 0, node.width, node.height).data]"
    return np.array(root.locator("canvas").nth(which).evaluate(read)).reshape(32, 32, 4)[..., :3]


def shares(ask: Any) -> list[list[float]]:
    """By network, the shares of the classes in percent."""
    rows = ask.locator("tbody tr").all()
    texts = [row.locator("td span:first-child").all_inner_texts() for row in rows]
    return [[float(text.split()[0]) for text in column] for column in zip(*texts, strict=True)]


def test_a_picture_of_ones_own_is_asked_in_the_page(visit: Any) -> None:
    opened = visit(EXPLORE)
    ask = widget(opened, "ask")
    settled(opened, ask)
    first = shares(ask)
    assert len(first) == 2 and all(abs(sum(row) - 100) < 1 for row in first)

    file = ask.locator("input[type=file]")
    file.set_input_files({"name": "mine.png", "mimeType": "image/png", "buffer": png((90, 60), (200, 30, 40))})
    opened.page.wait_for_function("() => document.querySelector('#widget-ask td').innerText")
    settled(opened, ask)
    np.testing.assert_allclose(pixels(ask, 0)[16, 16], [200, 30, 40], atol=3)
    assert shares(ask) != first
    file.set_input_files({"name": "words.png", "mimeType": "image/png", "buffer": b"words"})
    ask.locator("[role=alert]:not(:empty)").wait_for()
    assert "words.png was not read" in ask.locator("[role=alert]").inner_text()

    ask.locator("input[type=checkbox]").check()
    below, whole = pixels(ask, 0), pixels(ask, 1)
    changed = (below != whole).any(2)
    assert 0 < changed.sum() < 100, "a patch and nothing else"
    ask.locator("input[type=range]").fill("10")
    half = pixels(ask, 1)
    np.testing.assert_allclose(half[changed], ((below + whole) / 2)[changed], atol=3)
    np.testing.assert_array_equal(half[~changed], below[~changed])

    box = ask.locator("canvas").first.bounding_box()
    opened.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    opened.page.mouse.down()
    opened.page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] / 2, steps=4)
    opened.page.mouse.up()
    assert pixels(ask, 0)[16, 20].min() > 200, "the pen is white"
    assert "ask.image" not in address(opened), "a picture of one's own is not in the address"
    assert opened.asked == [] and opened.complaints == []
