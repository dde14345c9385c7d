"""What was found in a user's folder before any picture is opened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from defenselib.audit.pictures import Content


@dataclass(frozen=True)
class Skipped:
    """A file (or folder) that is not part of the data: its path relative to the user's folder, and one reason."""

    file: str
    reason: str


@dataclass(frozen=True)
class Found:
    """Pictures by name, not yet opened.

    names: relative path or row of each picture; labels: its position in `classes`; contents: the pictures in this
    order, anew at every call; skipped, notes: as of `UserData`.
    """

    names: tuple[str, ...]
    labels: tuple[int, ...]
    contents: Callable[[], Iterator[Content]]
    classes: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
