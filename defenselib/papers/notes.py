"""What must be known of an exhibit beside its numbers: how it is read here, what the paper leaves open, misprints.

A text an exhibit, in Markdown, in the `notes.toml` of its paper. They state no outcome: those come from frames.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from defenselib.errors import check_choice
from defenselib.papers import available, get


def note(paper: str, exhibit: str) -> str:
    """The text of an exhibit; empty where there is none. Errors: UnknownNameError for a paper that there is not."""
    return notes(check_choice("paper", paper, available())).get(exhibit, "")


@cache
def notes(paper: str) -> dict[str, str]:
    """All texts of a paper, by exhibit. Errors: UnknownNameError for an exhibit that the paper has not."""
    path = Path(__file__).parent / paper / "notes.toml"
    found = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    known = [one.key for one in get(paper).exhibits]
    return {check_choice(f"exhibit of {paper!r}:", key, known): str(text) for key, text in found.items()}
