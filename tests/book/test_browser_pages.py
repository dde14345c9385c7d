"""Each page as a reader opens it from disk: nothing is asked of a network, formulas are typeset, a phone shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

HTML = Path(__file__).parents[2] / "book" / "_build" / "html"
MEGABYTE = 1_000_000

# Elements of the text that stick out of the window although nothing around them scrolls or clips.
STICKING_OUT = """() => [...document.querySelectorAll("article *")].filter((node) => {
  if (!node.checkVisibility() || node.closest("mjx-assistive-mml")) return false;
  const box = node.getBoundingClientRect();
  if (box.width < 2 || box.right <= innerWidth + 1) return false;
  for (let around = node; around !== document.body; around = around.parentElement)
    if (getComputedStyle(around).overflowX !== "visible") return false;
  return true;
}).map((node) => node.outerHTML.slice(0, 120))"""

# Pairs of controls or labels that lie over one another.
OVERLAPPING = """() => {
  const all = [...document.querySelectorAll("article .cell_output :is(label, select, button, input)")]
    .filter((node) => node.checkVisibility() && node.getBoundingClientRect().width > 2);
  const over = (a, b) => {
    const [one, two] = [a.getBoundingClientRect(), b.getBoundingClientRect()];
    return Math.min(one.right, two.right) - Math.max(one.left, two.left) > 2
      && Math.min(one.bottom, two.bottom) - Math.max(one.top, two.top) > 2;
  };
  return all.flatMap((a, place) => all.slice(place + 1)
    .filter((b) => !a.contains(b) && !b.contains(a) && a.control !== b && b.control !== a && over(a, b))
    .map((b) => a.outerHTML.slice(0, 80) + " over " + b.outerHTML.slice(0, 80)));
}"""


# Cells of a table whose words stand letter by letter, for want of room.
SQUEEZED = """() => [...document.querySelectorAll("article table :is(td, th)")]
  .filter((cell) => cell.checkVisibility() && cell.innerText.trim().length > 5 && cell.clientWidth < 30
    && cell.clientHeight > 60 && cell.closest("thead") === null)
  .map((cell) => cell.innerText.slice(0, 40))"""


def test_page_is_light_to_load(opened: Any) -> None:
    assert (HTML / f"{opened.name}.html").stat().st_size < 4 * MEGABYTE


def test_formulas_are_typeset(opened: Any) -> None:
    opened.page.evaluate("document.querySelectorAll('article details').forEach((fold) => { fold.open = true })")
    outermost = "article .math:not(.math .math)"  # what this book's own pages fold has one around it
    formulas = opened.page.locator(outermost)
    typeset = opened.page.eval_on_selector_all(
        outermost,
        "all => all.map((one) => (one.querySelector('mjx-container svg') || one).innerHTML.length > 40)",
    )
    assert len(typeset) == formulas.count() and all(typeset)
    sizes = opened.page.eval_on_selector_all(
        "article .math mjx-container svg", "all => all.map((svg) => svg.getBoundingClientRect().width)"
    )
    assert len(sizes) >= len(typeset) and all(width > 2 for width in sizes)
    assert opened.page.locator("mjx-merror, [data-mml-node=merror]").count() == 0


def test_controls_do_not_overlap(opened: Any) -> None:
    assert opened.page.evaluate(OVERLAPPING) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_sticks_out_of_a_phone(opened: Any, theme: str) -> None:
    page = opened.page
    before = page.viewport_size
    page.emulate_media(color_scheme=theme)
    page.set_viewport_size({"width": 390, "height": 844})
    try:
        page.wait_for_selector(f"html[data-theme={theme}]", state="attached")  # the page follows in a moment
        assert page.evaluate("document.body.scrollWidth") <= 390
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate(STICKING_OUT) == []
        assert page.evaluate(OVERLAPPING) == []
        assert page.evaluate(SQUEEZED) == []
    finally:
        page.emulate_media(color_scheme="light")
        page.set_viewport_size(before)
