"""What a result's JSON must hold: checked where it is read, so that nothing later trips over a damaged file; which
names may become files and folders of a store (keys, profiles, stems): nothing else reaches a path."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from defenselib.errors import InvalidValueError

# Kept beside the results of a store that is worked in, and never committed; and tables beside those that are.
WORKING_FOLDERS = ("models", "cache", "checkpoints", "locks", "trials", "audit")
HASH = re.compile(r"[0-9a-f]{16}")
_STAGE = re.compile(r"[\w.]{0,40}-[0-9a-f]{16}")
_PROFILE = re.compile(r"\w[\w. -]{0,63}")
FORMAT = 1
Check = Callable[[Any], None]


def check_hash(key: str) -> str:
    """`key` if it is the hash of a result. Errors: InvalidValueError."""
    if not (isinstance(key, str) and HASH.fullmatch(key)):
        raise InvalidValueError(f"hash is {key!r}, it must be 16 hexadecimal digits")
    return key


def check_key(key: str) -> str:
    """`key` if it is the hash of a result or the name of a shared stage, NAME-HASH. Errors: InvalidValueError."""
    if not (isinstance(key, str) and (HASH.fullmatch(key) or _STAGE.fullmatch(key))):
        raise InvalidValueError(
            f"key is {key!r}, it must be 16 hexadecimal digits, after a stage's name and '-' or not"
        )
    return key


def check_profile_name(name: str, where: str = "") -> str:
    """`name` if a folder of results may be called so. Errors: InvalidValueError."""
    if not (isinstance(name, str) and _PROFILE.fullmatch(name)):
        rule = "it must begin with a letter or digit and hold no sign but '_', '-', '.' and spaces"
        raise InvalidValueError(f"{where}profile name is {name!r}, {rule}")
    if name in WORKING_FOLDERS:
        raise InvalidValueError(f"{where}profile name {name!r} is a folder of the store's own; choose another one")
    return name


def check_stem(stem: str) -> str:
    """`stem` if a result's files may be called so: one name, that ends with the hash. Errors: InvalidValueError."""
    name, _, key = stem.rpartition("-") if isinstance(stem, str) else ("", "", "")
    if not HASH.fullmatch(key) or not name or name.startswith(".") or set(name) & set("/\\\0"):
        raise InvalidValueError(f"stem is {stem!r}, it must be a file's name that ends with '-' and the hash")
    return stem


def check(content: Any) -> None:
    """Raise ValueError, naming the field, where `content` is not the JSON of a result."""
    if not isinstance(content, dict):
        raise ValueError("it is no table of fields")
    if content.get("format") != FORMAT:
        raise ValueError(f"field 'format' is {_short(content.get('format'))}, it must be {FORMAT}")
    missing = [name for name in REQUIRED if name not in content]
    if missing:
        raise ValueError(f"field {missing[0]!r} is missing")
    for name, value in content.items():
        if name not in _FIELDS:
            raise ValueError(f"field {name!r} is not known")
        try:
            _FIELDS[name](value)
        except InvalidValueError as error:
            raise ValueError(f"field {name!r}: {error}") from error
    if not content["stem"].endswith(f"-{content['hash']}"):
        raise ValueError(f"field 'stem' is {_short(content['stem'])}, it must end with the hash {content['hash']}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _expect(right: bool, value: Any, what: str) -> None:
    if not right:
        raise InvalidValueError(f"{_short(value)} is no {what}")


def _is(what: str, right: Callable[[Any], bool], first: Check | None = None) -> Check:
    """Values of which `right` is true, once `first` has found nothing wrong with them."""

    def check_it(value: Any) -> None:
        if first is not None:
            first(value)
        _expect(right(value), value, what)

    return check_it


def _finite(value: Any) -> bool:
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:
        return False


_text = _is("text", lambda value: isinstance(value, str))
_number = _is("number", _finite)
_count = _is("count", lambda value: type(value) is int and 0 <= value < 2**63)
_amount = _is("number from 0 on", lambda value: value >= 0, _number)
_percent = _is("percentage", lambda value: 0 <= value <= 100, _number)


def _or_none(inner: Check) -> Check:
    def check_it(value: Any) -> None:
        if value is not None:
            inner(value)

    return check_it


def _list_of(inner: Check) -> Check:
    def check_it(value: Any) -> None:
        _expect(isinstance(value, list), value, "list")
        for item in value:
            inner(item)

    return check_it


def _table(inner: Check = lambda value: None, **required: Check) -> Check:
    """A table with the keys `required`, checked each by its own, and any others, checked by `inner`."""

    def check_it(value: Any) -> None:
        _expect(isinstance(value, Mapping), value, "table")
        for key, own in required.items():
            _expect(key in value, sorted(value), f"table with the key {key!r}")
            _at(key, own, value[key])
        for key, item in value.items():
            if key not in required:
                _at(key, inner, item)

    return check_it


def _at(key: str, inner: Check, value: Any) -> None:
    try:
        inner(value)
    except InvalidValueError as error:
        raise InvalidValueError(f"{_short(key)}: {error}") from error


_FIELDS: dict[str, Check] = {
    "format": lambda value: None,
    "experiment": _table(
        dataset=_text, asked=_text, source=_text, attack=_text, defense=_text, seed=_count, diagnostic=_or_none(_text)
    ),
    "spec": _table(),
    "hash": check_hash,  # type: ignore[dict-item]
    "profile": check_profile_name,  # type: ignore[dict-item]
    "acc": _or_none(_percent),
    "asr": _or_none(_percent),
    "per_class": _list_of(_or_none(_percent)),
    "ra": _or_none(_percent),
    "history": _list_of(_table(_or_none(_number), stage=_text, epoch=_count)),
    "seconds": _amount,
    "stages": _table(_amount),
    "cpu_seconds": _or_none(_amount),
    "observer_seconds": _amount,
    "poisoned_count": _count,
    "cross_count": _count,
    "clean_given": _count,
    "suspects_count": _or_none(_count),
    "metrics": _table(_or_none(_number)),
    "data_digest": _text,
    "code": _text,
    "versions": _table(_text),
    "machine": _table(),
    "created": _text,
    "peak_memory_mb": _amount,
    "stem": check_stem,  # type: ignore[dict-item]
}
REQUIRED = ("experiment", "spec", "hash", "profile", "acc", "asr", "per_class", "history", "stem")
