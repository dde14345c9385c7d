"""Words and pictures of a page that come from executed notebooks or the registry of papers: none is made by hand."""

from __future__ import annotations

import base64
import json
from collections import Counter
from pathlib import Path
from typing import Any

from defenselib import papers
from defenselib.errors import DataError, unknown

KINDS = ("table", "figure")


def glued(notebook: Path, key: str) -> str:
    """The text that an executed notebook glued under `key`.

    Raises DataError if it was not executed, UnknownNameError for a key that it has not.
    """
    return "".join(_output(notebook, key)["text/plain"]).strip("'")


def picture(notebook: Path, key: str) -> tuple[bytes, str]:
    """The PNG that an executed notebook glued under `key`, and its alternative text. Raises as `glued`, and DataError
    where something else than a figure of this package is glued."""
    output = _output(notebook, key)
    if "image/png" not in output or "alt" not in output:
        raise DataError(f"{key!r} of {notebook.name} is no figure with a text, it has {', '.join(output)}")
    return base64.b64decode("".join(output["image/png"])), output["alt"]


def _output(notebook: Path, key: str) -> dict[str, Any]:
    """What is glued under `key`, by mime type; of a figure also "alt"."""
    if not notebook.is_file():
        raise DataError(f"{notebook} is not there; `make book` executes the notebooks")
    found = {}
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", ()):
            metadata = output.get("metadata", {})
            if mark := metadata.get("scrapbook"):
                data = {name.removeprefix(mark["mime_prefix"]): value for name, value in output["data"].items()}
                found[mark["name"]] = {**data, **metadata.get("image/png", {})}
    if key not in found:
        raise unknown(f"glued name of {notebook.name}:", key, found)
    return found[key]


def exhibits(paper: str) -> str:
    """How many exhibits of a paper the book has, in words; those that cannot be run are named.

    >>> exhibits("bsd")
    '20 tables, 11 figures and the numbers of the text'
    """
    listed = papers.get(paper).exhibits
    here = Counter(item.key.split("-")[0] for item in listed if item.status in ("available", "nothing to run"))
    said = [f"{here[kind]} {kind}{'s' if here[kind] > 1 else ''}" for kind in KINDS if here[kind]]
    said += ["the numbers of the text"] if here["text"] else []
    words = f"{', '.join(said[:-1])} and {said[-1]}" if len(said) > 1 else "".join(said) or "nothing yet"
    left = [
        item.key.replace("-", " ").capitalize() for item in listed if item.status not in ("available", "nothing to run")
    ]
    return words + (f"; missing: {', '.join(left)}" if left else "")
