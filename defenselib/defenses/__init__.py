"""Defenses by name: one module a method family, one line here."""

from __future__ import annotations

from typing import Any

from defenselib.defenses.asd import ASD
from defenselib.defenses.base import CleanRequest, Defense, Fitted
from defenselib.defenses.none import Undefended
from defenselib.errors import construct, unknown

DEFENSES: dict[str, type[Defense]] = {
    "none": Undefended,
    "asd": ASD,
}

__all__ = ["DEFENSES", "CleanRequest", "Defense", "Fitted", "available", "create"]


def available() -> tuple[str, ...]:
    """Names that `create` knows."""
    return tuple(DEFENSES)


def create(name: str, **hyper: Any) -> Defense:
    """The defense called `name` with the paper's hyper-parameters, except those given.

    Raises UnknownNameError for an unknown name or hyper-parameter, naming the nearest.
    """
    if name not in DEFENSES:
        raise unknown("defense", name, DEFENSES)
    return construct(DEFENSES[name], "defense", name, hyper)
