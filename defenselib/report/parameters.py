"""Text from a command line turned into typed values, or an error that says what was expected."""

from __future__ import annotations

import ast
import re
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, get_args, get_origin

from defenselib.errors import InvalidValueError, check_choice, unknown
from defenselib.experiments.fields import hyper_parameters

WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
SCALARS: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}
EXAMPLES = {str: "a word", int: "a whole number", float: "a number", bool: "true or false"}


def split_pair(text: str, option: str) -> tuple[str, str]:
    """Split "name=value"; `option` is what the error calls it."""
    name, sign, value = text.partition("=")
    if not sign or not name.strip():
        raise InvalidValueError(f"{option} {text!r} must read name=value")
    return name.strip(), value.strip()


def pairs(texts: Iterable[str], option: str) -> dict[str, str]:
    """Many "name=value" texts as a dict; a name given twice is an error."""
    result: dict[str, str] = {}
    for text in texts:
        name, value = split_pair(text, option)
        if name in result:
            raise InvalidValueError(f"{option} gives {name!r} twice")
        result[name] = value
    return result


def convert(text: str, kind: Any, what: str) -> Any:
    """The value of `text` as `kind`: str, int, float, bool, a list or tuple of these, or one of them or None.

    Lists are comma-separated ("badnets,blend"; brackets and quotes may stand around them), None is "none".
    `what` names the value in the error.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if type(None) in inner and text.lower() in ("none", ""):
            return None
        return _first_that_fits(text, [item for item in inner if item is not type(None)], what)
    if origin in (list, tuple) or kind in (list, tuple):
        element = inner[0] if inner else str
        items = [convert(item, element, f"an entry of {what}") for item in _entries(text)]
        return items if list in (origin, kind) else tuple(items)
    if origin is typing.Literal:
        return check_choice(what, text, [str(item) for item in inner])
    if kind is Any:
        return _literal(text)
    return _scalar(text, kind, what)


def _first_that_fits(text: str, kinds: list[Any], what: str) -> Any:
    for kind in kinds[:-1]:
        try:
            return convert(text, kind, what)
        except InvalidValueError:
            continue
    return convert(text, kinds[-1], what)


def _entries(text: str) -> list[str]:
    bare = text.strip()
    if bare[:1] in ("[", "(") and bare[-1:] in ("]", ")"):
        bare = bare[1:-1]
    return [item.strip().strip("'\"") for item in bare.split(",") if item.strip()]


def _literal(text: str) -> Any:
    if text.lower() in ("true", "false", "none"):
        return {"true": True, "false": False, "none": None}[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _scalar(text: str, kind: Any, what: str) -> Any:
    try:
        if kind is bool:
            return WORDS[text.lower()]
        if kind is str:
            return text.strip("'\"")
        if kind in (int, float):
            return kind(text)
    except (KeyError, ValueError):
        raise InvalidValueError(f"{what} is {text!r}, it must be {EXAMPLES[kind]}") from None
    raise InvalidValueError(f"{what} cannot be given as text (its type is {kind})")


def arguments_for(cls: type, kind: str, given: Mapping[str, str]) -> dict[str, Any]:
    """Hyper-parameters of the method `cls` from texts; `kind` is "attack 'badnets'" or the like."""
    known = hyper_parameters(cls)
    for name in given:
        if name not in known:
            raise unknown(f"hyper-parameter of {kind}:", name, known)
    return {name: convert(text, known[name], f"{name} of {kind}") for name, text in given.items()}


def parse_kind(annotation: str, default: str) -> Any:
    """The type that an annotation ("list[str]", "Optional[int]") names; without one, that of the default value."""
    text = annotation.replace(" ", "").replace("typing.", "")
    if text in ("", "None"):
        return _kind_of(_literal(default))
    optional = re.fullmatch(r"Optional\[(.+)\]", text)
    if optional:
        return parse_kind(optional[1], default) | None
    listed = re.fullmatch(r"[Ll]ist\[(\w+)\]", text)
    if listed and listed[1] in SCALARS:
        return types.GenericAlias(list, (SCALARS[listed[1]],))
    if text == "list":
        return _kind_of(_literal(default))
    if text not in SCALARS:
        raise InvalidValueError(f"type {annotation!r} is not one that a parameter may have: scalars and lists of them")
    return SCALARS[text]


def _kind_of(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        kinds = {type(item) for item in value}
        return types.GenericAlias(list, (kinds.pop() if len(kinds) == 1 else str,))
    return type(value) if value is not None else Any
