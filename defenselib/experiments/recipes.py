"""What papers set otherwise than a method's defaults: on a data set, or of methods that are not their own."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any


@cache
def _rules() -> list[dict[str, Any]]:
    text = Path(__file__).with_name("recipes.toml").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = tomllib.loads(text)["recipe"]
    return found


def recipe(defense: str, dataset: str, paper: str | None) -> dict[str, Any]:
    """Overrides of `defense`'s defaults on `dataset` in `paper`, as `recipes.toml` has them; the later rule wins."""
    asked, result = {"defenses": defense, "datasets": dataset, "papers": paper}, dict[str, Any]()
    for rule in _rules():
        if all(name in rule.get(axis, (name,)) for axis, name in asked.items()):
            result |= rule["sets"]
    return result
