"""Parts of a method that have settings of their own, made from the method's hyper-parameters."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

T = TypeVar("T")


def part_of(method: object, cls: type[T], prefix: str = "", **more: Any) -> T:
    """The dataclass `cls` from a method's hyper-parameters of the same names behind `prefix`, and from `more`.

    What the method has no hyper-parameter for keeps its default.
    """
    names = [item.name for item in fields(cls) if hasattr(method, prefix + item.name)]  # type: ignore[arg-type]
    return cls(**{name: getattr(method, prefix + name) for name in names} | more)
