"""Hyper-parameters as data: which fields a method has, their types, what differs from the defaults."""

from __future__ import annotations

import dataclasses
import math
import os
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, Union

import numpy as np

from defenselib.errors import InvalidValueError, shown, unknown

MISSING = object()
WORDS = {
    str: "a text (str)",
    int: "a whole number (int)",
    float: "a finite number (float)",
    bool: "True or False (bool)",
    type(None): "None",
}
# Of an attack, what the experiment states elsewhere.
ATTACK_RESERVED = ("image_size", "seed", "plan")


def hyper_parameters(cls: type, leave_out: tuple[str, ...] = ()) -> Mapping[str, Any]:
    """Names and types of the fields that a caller may set; `Any` where an annotation cannot be resolved."""
    return _read(cls, leave_out)


@cache
def _read(cls: type, leave_out: tuple[str, ...]) -> Mapping[str, Any]:
    """Kept, because reading types compiles every annotation and a book asks thousands of times."""
    try:
        hints = typing.get_type_hints(cls)
    except NameError:
        hints = {}
    return types.MappingProxyType({f.name: hints.get(f.name, Any) for f in _settable(cls) if f.name not in leave_out})


def _settable(method: Any) -> Iterator[dataclasses.Field[Any]]:
    """Fields that are hyper-parameters; what an attack has trained is none."""
    return (f for f in dataclasses.fields(method) if f.init and f.metadata.get("hyper_parameter", True))


def arguments(kind: str, name: str) -> Mapping[str, Any] | None:
    """What a caller may set of an attack or a defense (`kind`), an attack's preset included; None for a name that is
    unknown."""
    from defenselib.attacks import ATTACKS
    from defenselib.defenses import DEFENSES

    if kind == "defense":
        return hyper_parameters(DEFENSES[name]) if name in DEFENSES else None
    allowed = {"preset": str | None}
    return {**hyper_parameters(ATTACKS[name], ("image_size", "plan")), **allowed} if name in ATTACKS else None


def typed(allowed: Mapping[str, Any], values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """`values` in the types of `allowed` (an int for a float, a list for a tuple, plain numbers for NumPy's).

    Raises UnknownNameError for a key that is not in `allowed`, with the nearest one, and InvalidValueError for a value
    of another type. `where` opens the message: "laptop.toml [defense.asd]", "defense 'asd'".
    """
    if not isinstance(values, Mapping):
        raise InvalidValueError(f"{where} is {shown(values)}, it must be a dictionary")
    result = {}
    for key, value in values.items():
        if key not in allowed:
            raise unknown(f"key in {where}:", key, allowed)
        result[key] = checked(f"{where}: {key}", value, allowed[key])
    return result


def checked(what: str, value: Any, kind: Any) -> Any:
    """`value` as the type `kind`; `what` it is called. Errors: InvalidValueError for one of another type."""
    converted = convert(value, kind)
    if converted is MISSING:
        raise InvalidValueError(f"{what} is {shown(value)}, it must be {_say(kind)}")
    return converted


def convert(value: Any, kind: Any) -> Any:
    """`value` as the type `kind`, or MISSING if it is none. Nothing is guessed: "3" is no int, True no number."""
    origin = typing.get_origin(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        return _first(convert(value, option) for option in typing.get_args(kind))
    if origin is Literal:
        return value if value in typing.get_args(kind) else MISSING
    if origin in (tuple, list) or kind in (tuple, list):
        return _sequence(value, typing.get_args(kind))
    if kind in (float, int):
        return _number(value, kind)
    if kind is bool:
        return bool(value) if isinstance(value, bool | np.bool_) else MISSING
    if kind is str:
        text = os.fspath(value) if isinstance(value, os.PathLike) else value
        return str(text) if isinstance(text, str) else MISSING
    if kind is type(None):
        return None if value is None else MISSING
    return value if isinstance(value, origin or kind) else MISSING


def _number(value: Any, kind: type) -> Any:
    """A plain int or finite float of whatever kind of number `value` is."""
    if isinstance(value, bool) or not isinstance(value, Integral if kind is int else Real):
        return MISSING
    try:
        number = kind(value)
    except OverflowError:
        return MISSING
    return number if kind is int or math.isfinite(number) else MISSING


def _first(converted: Iterable[Any]) -> Any:
    return next((item for item in converted if item is not MISSING), MISSING)


def _sequence(value: Any, kinds: tuple[Any, ...]) -> Any:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list | tuple):
        return MISSING
    if not kinds:
        return tuple(value)
    wanted = [kinds[0]] * len(value) if len(kinds) == 1 or kinds[-1] is Ellipsis else list(kinds)
    if len(wanted) != len(value):
        return MISSING
    items = tuple(convert(item, kind) for item, kind in zip(value, wanted, strict=True))
    return MISSING if any(item is MISSING for item in items) else items


def _say(kind: Any) -> str:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(map(_say, inner))
    if origin is Literal:
        return f"one of {', '.join(map(repr, inner))}"
    if origin in (tuple, list):
        parts = [item for item in inner if item is not ...]
        return f"a {origin.__name__}: {', '.join(map(_say, parts))}{', ...' if ... in inner or origin is list else ''}"
    return WORDS.get(kind) or (kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", ""))


def default_of(item: dataclasses.Field[Any]) -> Any:
    """A field's default value; MISSING where it has none."""
    if item.default is not dataclasses.MISSING:
        return item.default
    return item.default_factory() if item.default_factory is not dataclasses.MISSING else MISSING


def settings(method: Any, leave_out: Iterable[str] = (), defaults: bool = True) -> dict[str, Any]:
    """A method's hyper-parameters as JSON values; `defaults=False` leaves out those equal to their default."""
    hidden = set(leave_out)
    chosen = (f for f in _settable(method) if f.name not in hidden)
    return {
        f.name: plain(getattr(method, f.name)) for f in chosen if defaults or getattr(method, f.name) != default_of(f)
    }


def plain(value: Any) -> Any:
    """`value` as something JSON can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return settings(value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Path):
        return value.as_posix()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise InvalidValueError(f"{value!r} cannot be a hyper-parameter: it has no JSON form")
