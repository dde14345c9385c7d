"""Text from a command line turned into typed values, or an error that says what was expected."""

from __future__ import annotations

import ast
import re
import types
import typing
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, get_args, get_origin

from defenselib.errors import InvalidValueError, check_choice, unknown

WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
SCALARS: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}
EXAMPLES = {str: "a word", int: "a whole number", float: "a number", bool: "true or false"}
KINDS = "str, int, float, bool, Literal, lists and tuples of these, and any of them or None"
# A comma in quotes divides nothing; a quote in the middle of a word is a letter.
ENTRY = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^,]*?)\s*(?:,|$)""", re.DOTALL)
COUNTED = re.compile(r"(-?[0-9]{1,12})\.\.(-?[0-9]{1,12})")
LONGEST = 10_000  # numbers that one "FIRST..LAST" may stand for


def pairs(texts: Iterable[str], option: str) -> dict[str, str]:
    """Many "name=value" texts as a dict; a name given twice is an error. option: what the error calls them."""
    result: dict[str, str] = {}
    for text in texts:
        name, sign, value = (part.strip() for part in text.partition("="))
        if not sign or not name:
            raise InvalidValueError(f"{option} {text!r} must read name=value")
        if name in result:
            raise InvalidValueError(f"{option} gives {name!r} twice")
        result[name] = value
    return result


def convert(text: str, kind: Any, what: str) -> Any:
    """The value of `text` as `kind`: str, int, float, bool, a list or tuple of these, or one of them or None.

    Lists are comma-separated ("badnets,blend"; brackets and quotes may stand around them, "0..4" counts), None is
    "none". `what` names the value in the error.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if type(None) in inner and not isinstance(text, _Exact) and text.lower() in ("none", ""):
            return None
        return _first_that_fits(text, [item for item in inner if item is not type(None)], what)
    if origin in (list, tuple) or kind in (list, tuple):
        items = _items(text, inner, origin is tuple and inner[-1:] != (...,), what)
        return items if list in (origin, kind) else tuple(items)
    if origin is typing.Literal:
        names = {str(item): item for item in inner}
        return names[check_choice(f"{what}:", _unquoted(text), names)]
    if kind is Any:
        return text if isinstance(text, _Exact) else _literal(text)
    return _scalar(text, kind, what)


class _Exact(str):
    """A text that was written in quotes: it is what it says, and neither none nor a number."""

    __slots__ = ()


def _first_that_fits(text: str, kinds: list[Any], what: str) -> Any:
    for kind in kinds[:-1]:
        try:
            return convert(text, kind, what)
        except InvalidValueError:
            continue
    return convert(text, kinds[-1], what)


def _items(text: str, kinds: tuple[Any, ...], fixed: bool, what: str) -> list[Any]:
    entries = _entries(text)
    if kinds[:1] == (int,) and not fixed:
        entries = [number for entry in entries for number in _counted(entry, what)]
    if fixed and len(entries) != len(kinds):
        raise InvalidValueError(f"{what} is {text!r}, it must have {len(kinds)} entries")
    wanted = kinds if fixed else (kinds[:1] or (str,)) * len(entries)
    return [convert(entry, kind, f"an entry of {what}") for entry, kind in zip(entries, wanted, strict=True)]


def _entries(text: str) -> list[str]:
    """What stands between the commas; in brackets, as Python reads it where it can."""
    bare = text.strip()
    if bare[:1] + bare[-1:] in ("[]", "()"):
        found = _literal(bare)
        if isinstance(found, (list, tuple)):
            return [_Exact(item) if isinstance(item, str) else _told(item) for item in found]
        bare = bare[1:-1]
    entries = (match[1] for match in ENTRY.finditer(bare))
    return [entry for entry in entries if entry]


def _told(item: Any) -> str:
    try:
        return repr(item)
    except (ValueError, RecursionError):  # more digits than Python writes out
        return "a number that is too long"


def _counted(entry: str, what: str) -> list[str]:
    """The whole numbers from FIRST to LAST for "FIRST..LAST"; any other entry as it is."""
    found = COUNTED.fullmatch(entry)
    if found is None:
        return [entry]
    first, last = int(found[1]), int(found[2])
    if not 0 <= last - first < LONGEST:
        raise InvalidValueError(f"{what} is {entry!r}, it must count upwards, and over at most {LONGEST} numbers")
    return [str(number) for number in range(first, last + 1)]


def _literal(text: str) -> Any:
    if text.lower() in ("true", "false", "none"):
        return {"true": True, "false": False, "none": None}[text.lower()]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on words that Python would rather see spelled otherwise
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def _unquoted(text: str) -> str:
    """`text` without the pair of quotes around it; a quote that stands alone stays."""
    if isinstance(text, _Exact) or len(text) < 2 or text[0] not in "'\"" or text[0] != text[-1]:
        return str(text)
    found = _literal(text)
    return found if isinstance(found, str) else text


def _scalar(text: str, kind: Any, what: str) -> Any:
    try:
        if kind is str:
            return _unquoted(text)
        if kind is bool:
            return WORDS[text.lower()]
        if kind in (int, float):
            value = kind(text)
            if value == value:
                return value
    except (KeyError, ValueError):
        pass
    if kind in EXAMPLES:
        raise InvalidValueError(f"{what} is {str(text)[:80]!r}, it must be {EXAMPLES[kind]}")
    raise InvalidValueError(f"{what} cannot be given as text (its type is {kind})")


def arguments_for(known: Mapping[str, Any], kind: str, given: Mapping[str, str]) -> dict[str, Any]:
    """Hyper-parameters of the types `known` from texts; `kind` is "attack 'badnets'" or the like."""
    for name in given:
        if name not in known:
            raise unknown(f"hyper-parameter of {kind}:", name, known)
    return {name: convert(text, known[name], f"{name} of {kind}") for name, text in given.items()}


def parse_kind(annotation: str, default: str) -> Any:
    """The type that an annotation ("list[str]", "int | None") names; without one, that of the default value.

    Errors: InvalidValueError for a type that no parameter may have.
    """
    try:
        return _kind(ast.parse(annotation.strip() or "None", mode="eval").body, default)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InvalidValueError(f"type {annotation!r} is not one that a parameter may have: {KINDS}") from None


def _kind(node: ast.expr, default: str) -> Any:
    match node:
        case ast.Constant(value=None):
            return _kind_of(_literal(default))
        case ast.Constant(value=str(text)):
            return _kind(ast.parse(text.strip(), mode="eval").body, default)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _either([left, right], default)
        case ast.Subscript(value=value, slice=inner):
            parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            return _generic(_word(value), parts, default)
    word = _word(node)
    if word in ("list", "List", "tuple", "Tuple", "Any"):
        return _kind_of(_literal(default))
    return SCALARS[word] if word in SCALARS else _refuse()


def _generic(word: str, parts: list[ast.expr], default: str) -> Any:
    if word == "Optional" and len(parts) == 1:
        return _kind(parts[0], default) | None
    if word == "Union":
        return _either(parts, default)
    if word == "Literal":
        values = [ast.literal_eval(part) for part in parts]
        return typing.Literal[tuple(values)] if values else _refuse()  # type: ignore[return-value]
    if word in ("list", "List", "Sequence") and len(parts) == 1:
        return types.GenericAlias(list, (_element(parts[0]),))
    if word in ("tuple", "Tuple") and parts:
        dots = isinstance(parts[-1], ast.Constant) and parts[-1].value is ... and len(parts) == 2
        inner = [_element(part) for part in (parts[:1] if dots else parts)]
        return types.GenericAlias(tuple, (*inner, ...) if dots else tuple(inner))
    return _refuse()


def _either(parts: list[ast.expr], default: str) -> Any:
    none = [isinstance(part, ast.Constant) and part.value is None for part in parts]
    kinds = [_kind(part, default) for part, empty in zip(parts, none, strict=True) if not empty]
    return typing.Union[(*kinds, *([None] if any(none) else []))] if kinds else _refuse()


def _element(part: ast.expr) -> Any:
    kind = _kind(part, "")
    return _refuse() if list in (kind, get_origin(kind)) or tuple in (kind, get_origin(kind)) else kind


def _word(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _refuse() -> Any:
    raise ValueError


def _kind_of(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        kinds = {type(item) for item in value} or {str}
        element = float if kinds == {int, float} else kinds.pop() if len(kinds) == 1 else Any
        return types.GenericAlias(list, (element if element in SCALARS.values() else Any,))
    return type(value) if type(value) in SCALARS.values() else Any
