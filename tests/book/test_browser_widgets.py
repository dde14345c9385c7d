"""Every control of every page is operated, and the picture beside it changes. No kernel is there to help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from defenselib import papers

PICTURE = (Path(__file__).parent / "picture.js").read_text(encoding="utf-8")
CONTROLS = "select, input[type=range], input[type=checkbox], .noUi-handle, .widget-toggle-buttons, button"
WIDGET = 'script[type="application/vnd.jupyter.widget-view+json"]'
NOT_OURS = ".copybtn, .toggle-button, summary, .widget-toggle-buttons button, .dt-container *"  # or part of a control
PAPERS = {*papers.available()}


def picture(root: Any, other_than: str | None = None) -> str:
    """What `root` shows; waits a little for it to be `other_than` before."""
    shown = None
    for _ in range(20):
        shown = root.evaluate(PICTURE)
        if shown is not None and shown != other_than:
            break
        root.page.wait_for_timeout(50)
    assert shown is not None, "a picture did not load"
    return str(shown)


def fresh_controls(root: Any) -> list[Any]:
    """Controls that can be used now and have not been: others appear when a panel is chosen."""
    found = root.locator(f":is({CONTROLS}):not([data-operated]):not({NOT_OURS})").all()
    return [one for one in found if one.is_visible() and one.is_enabled()]


def choices(control: Any) -> list[Any]:
    """The ways to use a control, as functions; none if it offers no choice."""
    kind = control.evaluate("node => node.classList.contains('noUi-handle') ? 'slider' : node.type || node.className")
    if kind == "select-one":
        count = control.locator("option").count()
        now = control.evaluate("node => node.selectedIndex")
        others = [(now + step) % count for step in range(1, count + 1)]
        return [lambda at=at: control.select_option(index=at) for at in others] if count > 1 else []
    if kind in ("range", "slider"):
        return [lambda key=key: control.press(key) for key in ("End", "Home", "ArrowRight")]
    if "widget-toggle-buttons" in kind:
        return [button.click for button in reversed(control.locator("button").all())]
    return [control.click]


def operate(root: Any) -> list[str]:
    """Uses all controls of `root`, those that appear on the way too; what was used. Fails where no picture changes."""
    used: list[str] = []
    while controls := fresh_controls(root):
        # Found by its place among the unused ones, which changes: marked, it has a name.
        number = root.evaluate("node => node.querySelectorAll('[data-operated]').length")
        controls[0].evaluate("(node, number) => node.setAttribute('data-operated', number)", number)
        control = root.locator(f"[data-operated='{number}']")
        ways = choices(control)
        changed, shown = not ways, ""
        for way in ways:
            before = shown or picture(root)
            assert before, "a control without a picture"
            way()
            shown = picture(root, other_than=before)
            changed |= shown != before
            if changed and fresh_controls(root):
                used, shown = used + operate(root), ""
        what = control.evaluate("node => node.outerHTML.slice(0, 200)")
        # A button that puts back what is there already changes nothing.
        assert changed or "own threshold" in what, f"nothing changes: {what}"
        used += [what] * bool(ways)
    return used


def areas(page: Any) -> list[Any]:
    """Outputs of cells that hold a widget."""
    return list(page.locator(f"article div.cell_output:has({WIDGET})").all())


def test_every_control_changes_its_picture(opened: Any) -> None:
    name = opened.name.rsplit("/", 1)[-1]
    used = [what for area in areas(opened.page) for what in operate(area)]
    if name == "explore" or name in PAPERS:
        assert used, "a page without a widget"


def test_the_page_asks_no_other_host(opened: Any) -> None:
    assert opened.asked == [], "compiled without npm or network? see book/frontend/fetch"


def test_the_page_does_not_complain(opened: Any) -> None:
    """Last, so that what the widgets did is heard as well."""
    assert opened.complaints == []
