"""Errors that name the value, what is allowed, and the nearest match."""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
from collections.abc import Iterable
from typing import Any, TypeVar

T = TypeVar("T")


class DefenseLibError(Exception):
    """Base of every error that a user can cause and mend. Its text can be printed whatever names stand in it."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(printable(item) if isinstance(item, str) else item for item in args))


class UnknownNameError(DefenseLibError, ValueError):
    """A name that no registry holds."""


class InvalidValueError(DefenseLibError, ValueError):
    """A value outside its range."""


class DataError(DefenseLibError):
    """A data set that is missing, damaged or not the one that was asked for."""


class DamagedFileError(DataError):
    """A file of ours that is truncated, of another kind or not what was written."""


class FolderError(DefenseLibError):
    """A folder of ours that cannot be used: no home, a file in its place, read-only, full."""


class NotPreparedError(DefenseLibError):
    """An attack that trains something first was used before `prepare`."""


class TrainingDivergedError(DefenseLibError):
    """A loss became NaN or infinite."""


def printable(text: str) -> str:
    """`text` as any terminal and any file can hold it: bytes of a file's name that are no text become `\\xff`."""
    try:
        return os.fsencode(text).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half a character from elsewhere than a file's name
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


def unknown(kind: str, name: object, allowed: Iterable[str]) -> UnknownNameError:
    """Build "unknown attack 'badnet'; did you mean 'badnets'? available: ..."."""
    names = [str(item) for item in allowed]
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    return UnknownNameError(f"unknown {kind} {name!r}{hint} available: {', '.join(names) or 'none'}")


def check_choice(kind: str, name: str, allowed: Iterable[str]) -> str:
    """Return `name` if it is allowed, else raise UnknownNameError."""
    names = tuple(allowed)
    if name not in names:
        raise unknown(kind, name, names)
    return name


def check_range(what: str, value: float, low: float, high: float) -> float:
    """Return `value` if low <= value <= high, else raise InvalidValueError (NaN included)."""
    if not low <= value <= high:
        allowed = f"be at least {low}" if high == math.inf else f"lie in [{low}, {high}]"
        raise InvalidValueError(f"{what} is {value}, it must {allowed}")
    return value


def check_fields(method: object, low: float, high: float, *names: str, prefix: str = "") -> None:
    """`check_range` for several hyper-parameters of a method; prefix: what their names begin with for the caller."""
    for name in names:
        check_range(prefix + name, getattr(method, name), low, high)


def check_counts(method: object, *names: str, prefix: str = "") -> None:
    """Raise InvalidValueError unless these hyper-parameters of a method are at least 1."""
    check_fields(method, 1, math.inf, *names, prefix=prefix)


def check_positive(method: object, *names: str, prefix: str = "") -> None:
    """Raise InvalidValueError unless these hyper-parameters of a method are positive."""
    for name in names:
        if not getattr(method, name) > 0:
            raise InvalidValueError(f"{prefix}{name} is {getattr(method, name)}, it must be positive")


def construct(cls: type[T], kind: str, name: str, arguments: dict[str, Any]) -> T:
    """Make the frozen dataclass `cls` from keyword arguments, naming the nearest field for an unknown one."""
    known = dataclasses.fields(cls)  # type: ignore[arg-type]
    fields = [field.name for field in known if field.init and field.metadata.get("hyper_parameter", True)]
    for key in arguments:
        if key not in fields:
            raise unknown(f"hyper-parameter of {kind} {name!r}:", key, fields)
    return cls(**arguments)
