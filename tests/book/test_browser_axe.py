"""Every page by axe-core, in light and dark: nothing serious in the markup that the book itself makes."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import ROOT

AXE = ROOT / "book" / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
# The theme's frame around a page, typeset formulas and the rows of DataTables are others' markup.
OTHERS = ["mjx-container", ".dt-layout-row", ".headerlink", ".copybtn"]
AUDIT = """async (others) => {
  const found = await axe.run(
    { include: [["article"]], exclude: others.map((one) => [one]) },
    { resultTypes: ["violations"], runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] });
  const said = (one) => one.nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(" | ");
  return found.violations.filter((one) => ["serious", "critical"].includes(one.impact))
    .map((one) => `${one.id} (${one.nodes.length}): ${said(one)}`);
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(opened: Any, theme: str) -> None:
    if not AXE.exists():
        pytest.skip("axe-core is not fetched: book/frontend/fetch")
    page = opened.page
    page.emulate_media(color_scheme=theme)
    try:
        page.wait_for_selector(f"html[data-theme={theme}]", state="attached")
        if not page.evaluate("'axe' in window"):
            page.add_script_tag(path=str(AXE))
        assert page.evaluate(AUDIT, OTHERS) == []
    finally:
        page.emulate_media(color_scheme="light")
