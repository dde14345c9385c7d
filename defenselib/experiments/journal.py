"""What became of the cells that a process was asked for, a line each: for whoever started it and waits outside."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

JOURNAL = "DEFENSELIB_JOURNAL"  # names the file; without it nothing is written


def note(state: str, cell: str, why: str = "") -> None:
    """Add one line: a cell's name, and whether it was "trained", came from the "store" or "failed", and why."""
    path = os.environ.get(JOURNAL)
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"state": state, "cell": cell, "why": why}) + "\n")


def read(path: Path) -> list[Mapping[str, str]]:
    """The lines of a journal, in order; none where there is no such file."""
    if not path.is_file():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:  # its writer was killed in the middle of it
            continue
    return found
