"""Texts become typed values or an error that says what was expected."""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from defenselib.errors import DefenseLibError, InvalidValueError, UnknownNameError
from defenselib.experiments import fields
from defenselib.experiments.fields import hyper_parameters
from defenselib.report.parameters import arguments_for, convert, pairs, parse_kind


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("3", int, 3),
        ("1e-3", float, 1e-3),
        ("2", float, 2.0),
        ("true", bool, True),
        ("No", bool, False),
        ("3", str, "3"),
        ("badnets,blend", list[str], ["badnets", "blend"]),
        ("['badnets', 'blend']", list[str], ["badnets", "blend"]),
        ("0, 1,2", list[int], [0, 1, 2]),
        ("", list[str], []),
        ("60,90", tuple[int, ...], (60, 90)),
        ("none", int | None, None),
        ("4", int | None, 4),
        ("0.5", int | float, 0.5),
        ("step", Literal["step", "cosine"], "step"),
        ("0.5", Any, 0.5),
        ("word", Any, "word"),
    ],
)
def test_convert(text: str, kind: Any, value: Any) -> None:
    found = convert(text, kind, "x")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("abc", int, "x is 'abc', it must be a whole number"),
        ("1.5", int, "a whole number"),
        ("maybe", bool, "true or false"),
        ("0,one", list[int], "an entry of x is 'one'"),
        ("stepp", Literal["step", "cosine"], "did you mean 'step'"),
    ],
)
def test_convert_refuses(text: str, kind: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        convert(text, kind, "x")


@given(st.lists(st.integers(), min_size=1))
def test_lists_of_whole_numbers_survive(numbers: list[int]) -> None:
    assert convert(",".join(map(str, numbers)), list[int], "x") == numbers


@given(st.floats(allow_nan=False))
def test_numbers_survive(number: float) -> None:
    assert convert(repr(number), float, "x") == number


@pytest.mark.parametrize(
    ("annotation", "default", "kind"),
    [
        ("str", '"smoke"', str),
        ("list[str]", '["a"]', list[str]),
        ("List[int]", "[]", list[int]),
        ("Optional[int]", "None", int | None),
        ("Optional[list[str]]", "None", list[str] | None),
        ("None", "[1, 2]", list[int]),
        ("None", "0.5", float),
        ("None", "True", bool),
    ],
)
def test_parse_kind(annotation: str, default: str, kind: Any) -> None:
    assert parse_kind(annotation, default) == kind


def test_a_type_that_no_parameter_may_have_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="dict"):
        parse_kind("dict", "{}")


SCALAR = st.sampled_from(["str", "int", "float", "bool", "Literal['a', 1]", "int | None", "Optional[str]", "Any"])
KIND = st.one_of(
    SCALAR,
    SCALAR.map("list[{}]".format),
    SCALAR.map("tuple[{}, ...]".format),
    st.tuples(SCALAR, SCALAR).map(lambda pair: f"tuple[{pair[0]}, {pair[1]}]"),
    st.tuples(SCALAR, SCALAR).map(" | ".join),
)
# Texts near what is meant, and any other.
TEXT = st.one_of(
    st.text(),
    st.text("[]()'\",.0123456789eE+-_ nNoaxj\\\n", max_size=30),
    st.from_regex(r"[\[(]?-?[0-9]{1,3}(\.\.|,)-?[0-9]{1,3}[\])]?", fullmatch=True),
    st.recursive(st.integers() | st.text() | st.floats() | st.none(), st.lists, max_leaves=5).map(repr),
)


@settings(max_examples=500)
@given(TEXT, KIND)
@example("[0x" + "f" * 5000 + "]", "list[int]")
@example("[" * 500, "list[str]")
@example("9" * 5000, "int")
@example("{[]: 1}", "Any")
def test_any_text_for_any_type_is_a_value_of_it_or_an_error_of_ours(text: str, annotation: str) -> None:
    kind = parse_kind(annotation, "''")
    try:
        value = convert(text, kind, "x")
    except DefenseLibError as error:
        assert "x" in str(error) and len(str(error).splitlines()) == 1
    else:
        assert fields.convert(value, kind) is not fields.MISSING or value in (math.inf, -math.inf, [], ())
        json.dumps(value if kind is not Any else None)


@given(st.lists(st.text(st.characters(codec="utf-8"))))
def test_lists_of_texts_survive_as_python_writes_them(texts: list[str]) -> None:
    assert convert(repr(texts), list[str], "x") == texts
    assert convert(json.dumps(texts, ensure_ascii=False), list[str], "x") == texts


@given(st.text(), st.text())
def test_any_annotation_is_a_type_or_an_error_of_ours(annotation: str, default: str) -> None:
    with contextlib.suppress(DefenseLibError):
        parse_kind(annotation, default)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("0.1,0.2", parse_kind("", "[0, 0.05]"), [0.1, 0.2]),
        ('["a, b","c"]', list[str], ["a, b", "c"]),
        ('"a, b",c', list[str], ["a, b", "c"]),
        ("it's 5'", str, "it's 5'"),
        ("'quoted'", str, "quoted"),
        ('"', str, '"'),
        ("it's,5'", list[str], ["it's", "5'"]),
        ("0..3,7", list[int], [0, 1, 2, 3, 7]),
        ("-1..1", tuple[int, ...], (-1, 0, 1)),
        ("0..3", list[str], ["0..3"]),
        ("[badnets, blend]", list[str], ["badnets", "blend"]),
        ("1,2", tuple[int, str], (1, "2")),
        ("2", Literal[1, 2], 2),
        ("['none']", list[str | None], ["none"]),
        ("none,a", list[str | None], [None, "a"]),
    ],
)
def test_brackets_quotes_and_ranges(text: str, kind: Any, value: Any) -> None:
    assert convert(text, kind, "x") == value


def test_pairs() -> None:
    assert pairs(["a=1", "b = x=y"], "-p") == {"a": "1", "b": "x=y"}
    with pytest.raises(InvalidValueError, match="name=value"):
        pairs(["a"], "-p")
    with pytest.raises(InvalidValueError, match="twice"):
        pairs(["a=1", "a=2"], "-p")


@dataclass(frozen=True)
class Method:
    epochs: int = 3
    schedule: str = "step"


def test_arguments_take_the_types_of_the_fields() -> None:
    assert arguments_for(hyper_parameters(Method), "defense 'm'", {"epochs": "5", "schedule": "7"}) == {
        "epochs": 5,
        "schedule": "7",
    }
    with pytest.raises(UnknownNameError, match="did you mean 'epochs'"):
        arguments_for(hyper_parameters(Method), "defense 'm'", {"epoch": "5"})
    with pytest.raises(InvalidValueError, match="epochs of defense 'm' is 'many'"):
        arguments_for(hyper_parameters(Method), "defense 'm'", {"epochs": "many"})
