"""What a caption names is in the picture: captions of executed notebooks against the words that their figures hold."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from defenselib import attacks, defenses
from defenselib.plots import words

from .conftest import ROOT

EXECUTED = ROOT / "book" / "_executed"
NOTEBOOKS = sorted(path.stem for path in EXECUTED.glob("[!.]*.ipynb") if ".failed" not in path.name)
NAMES = {words.label(name) for name in (*defenses.available(), *attacks.available()) if name != "none"}

pytestmark = pytest.mark.skipif(not NOTEBOOKS, reason="no notebook is executed: make book")


def figures(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Caption and metadata of the picture of every cell with both."""
    for cell in json.loads((EXECUTED / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]:
        caption = cell["metadata"].get("mystnb", {}).get("figure", {}).get("caption")
        for output in cell.get("outputs", ()):
            found = output.get("metadata", {}).get("image/png", {})
            if caption and found:
                yield caption, found


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_no_caption_names_what_is_not_drawn(name: str) -> None:
    for caption, found in figures(name):
        drawn = " ".join(found.get("drawn", ()))
        if not any(named in drawn for named in NAMES):
            continue  # a sketch: nothing in it has a name
        for named in NAMES:
            # "BSD's pool", "as ASD sets them": whose it is, not what is drawn.
            if re.search(rf"(?<![\w-]){re.escape(named)}(?![\w-]|'s\b| sets\b)", caption):
                assert named in drawn, f"{caption}: {named}"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_in_no_figure_words_lie_over_words(name: str) -> None:
    for caption, found in figures(name):
        assert not found.get("clashes"), caption


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_no_figure_is_without_data(name: str) -> None:
    for caption, found in figures(name):
        assert not found.get("nothing"), caption
