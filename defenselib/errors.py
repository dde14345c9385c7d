"""Errors that name the value, what is allowed, and the nearest match."""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any, TypeVar

T = TypeVar("T")
MOST = 1_000_000  # epochs, steps, samples of a batch, ...: no count of a method is larger


class DefenseLibError(Exception):
    """Base of every error that a user can cause and mend. Its text can be printed whatever names stand in it."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(printable(item) if isinstance(item, str) else item for item in args))


@contextmanager
def told() -> Iterator[None]:
    """For programs: what a user can mend ends them with one line, and the code 2."""
    try:
        yield
    except DefenseLibError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error


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


class BusyError(DefenseLibError):
    """Another process is at work on what was not to be waited for."""


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
    near = difflib.get_close_matches(name[:99], names, n=1, cutoff=0.5) if isinstance(name, str) else []
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    return UnknownNameError(f"unknown {kind} {shown(name)}{hint} available: {', '.join(names) or 'none'}")


def check_choice(kind: str, name: str, allowed: Iterable[str]) -> str:
    """Return `name` if it is allowed, else raise UnknownNameError."""
    names = tuple(allowed)
    if name not in names:
        raise unknown(kind, name, names)
    return name


def shown(value: object) -> str:
    """`value` as an error shows it: what Python would write, at most 80 characters of it."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of more digits than Python writes out
        text = f"of type {type(value).__name__} and too long to show"
    return text if len(text) <= 80 else f"{text[:76]} ..."


def check_range(what: str, value: float, low: float, high: float) -> float:
    """Return `value` if low <= value <= high, else raise InvalidValueError, as for NaN, True and what is no number."""
    if low == -math.inf:
        allowed = "be a number"
    else:
        allowed = f"be at least {low}" if high == math.inf else f"lie in [{low}, {high}]"
    try:
        if not isinstance(value, str | bool) and low <= value <= high:
            return value
        known = isinstance(value, Real) and not isinstance(value, bool)
    except (TypeError, ValueError):  # nothing that has an order
        known = False
    raise InvalidValueError(f"{what} is {_told(value)}, it must {'' if known else 'be a number and '}{allowed}")


def _told(value: object) -> str:
    """A number without the name of its kind, which its `repr` may have."""
    return shown(float(value)) if isinstance(value, Real) and not isinstance(value, Integral) else shown(value)


def check_fields(method: object, low: float, high: float, *names: str, prefix: str = "") -> None:
    """`check_range` for several hyper-parameters of a method; prefix: what their names begin with for the caller."""
    for name in names:
        check_range(prefix + name, getattr(method, name), low, high)


def check_counts(method: object, *names: str, prefix: str = "", low: int = 1) -> None:
    """Raise InvalidValueError unless these hyper-parameters are whole numbers from `low` to `MOST`."""
    check_fields(method, low, MOST, *names, prefix=prefix)
    for name in names:
        value = getattr(method, name)
        if not isinstance(value, Integral):
            raise InvalidValueError(f"{prefix}{name} is {shown(value)}, it must be a whole number")


def check_batch_sizes(method: object, *names: str, prefix: str = "") -> None:
    """`check_counts` for batches that a network with BatchNorm is trained on: one image has no spread."""
    check_counts(method, *names, prefix=prefix, low=2)


def check_positive(method: object, *names: str, prefix: str = "") -> None:
    """Raise InvalidValueError unless these hyper-parameters of a method are positive and finite."""
    check_not_negative(method, *names, prefix=prefix, zero=False)


def check_not_negative(method: object, *names: str, prefix: str = "", zero: bool = True) -> None:
    """Raise InvalidValueError unless these hyper-parameters of a method are finite and above 0, or `zero`."""
    for name in names:
        value = check_range(prefix + name, getattr(method, name), -math.inf, math.inf)
        if not (0 < value < math.inf or (zero and value == 0)):
            allowed = "not be negative" if zero else "be positive"
            raise InvalidValueError(f"{prefix}{name} is {value}, it must {allowed}")


def check_shares(method: object, *names: str, prefix: str = "") -> None:
    """Raise InvalidValueError unless these hyper-parameters of a method lie in [0, 1]."""
    check_fields(method, 0.0, 1.0, *names, prefix=prefix)


def check_increasing(method: object, *names: str, prefix: str = "") -> None:
    """Raise InvalidValueError unless these hyper-parameters are sequences of whole numbers from 0 on, in order."""
    for name in names:
        values = getattr(method, name)
        whole = isinstance(values, list | tuple) and all(type(item) is not bool for item in values)
        if not whole or not all(isinstance(item, Integral) for item in values):
            raise InvalidValueError(f"{prefix}{name} is {shown(values)}, it must be a sequence of whole numbers")
        if list(values) != sorted(values) or any(item < 0 for item in values):
            raise InvalidValueError(f"{prefix}{name} is {shown(values)}, it must begin at 0 or above and not fall")


def construct(cls: type[T], kind: str, name: str, arguments: dict[str, Any]) -> T:
    """Make the frozen dataclass `cls` from keyword arguments, naming the nearest field for an unknown one."""
    known = dataclasses.fields(cls)  # type: ignore[arg-type]
    fields = [field.name for field in known if field.init and field.metadata.get("hyper_parameter", True)]
    for key in arguments:
        if key not in fields:
            raise unknown(f"hyper-parameter of {kind} {name!r}:", key, fields)
    return cls(**arguments)
