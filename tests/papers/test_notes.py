"""Notes are of exhibits that exist, and become HTML with formulas that the page typesets."""

from __future__ import annotations

import pytest

from defenselib import papers
from defenselib.errors import UnknownNameError
from defenselib.papers import notes

markup = pytest.importorskip("defenselib.report.markup")
pytest.importorskip("markdown_it")


@pytest.mark.parametrize("paper", papers.available())
def test_every_note_belongs_to_an_exhibit(paper: str) -> None:
    known = {one.key for one in papers.get(paper).exhibits}
    found = notes.notes(paper)
    assert found and set(found) <= known
    for key, text in found.items():
        assert markup.html(text).count("<p>") >= 1 and notes.note(paper, key) == text
        assert text.count("$") % 2 == 0


def test_an_unknown_paper_is_refused_and_a_missing_note_is_empty() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'asd'"):
        notes.note("asdd", "table-1")
    assert notes.note("asd", "figure-2") == ""


def test_formulas_code_and_markup() -> None:
    text = markup.html("A *b* `c` with $\\alpha < 3$ and <script>.")
    assert r"\(\alpha &lt; 3\)" in text and "<em>b</em>" in text and "<code>c</code>" in text
    assert "<script>" not in text and 'class="math notranslate nohighlight"' in text
