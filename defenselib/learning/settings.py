"""Parts of a method that have settings of their own, made from its hyper-parameters; the name of a shared stage, which
its settings make."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any, TypeVar

T = TypeVar("T")


def part_of(method: object, cls: type[T], prefix: str = "", **more: Any) -> T:
    """The dataclass `cls` from a method's hyper-parameters of the same names behind `prefix`, and from `more`.

    What the method has no hyper-parameter for keeps its default.
    """
    names = [item.name for item in fields(cls) if hasattr(method, prefix + item.name)]  # type: ignore[arg-type]
    return cls(**{name: getattr(method, prefix + name) for name in names} | more)


def stage_key(stage: str, **settings: Any) -> str:
    """The key for `Context.cached`: the stage and every setting that decides its outcome, in a fixed order.

    >>> stage_key("surrogate", steps=7, eps=0.0625)
    'surrogate {"eps":0.0625,"steps":7}'
    """
    return f"{stage} {json.dumps(settings, sort_keys=True, separators=(',', ':'), allow_nan=False)}"
