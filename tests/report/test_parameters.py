"""Texts become typed values or an error that says what was expected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from defenselib.errors import InvalidValueError, UnknownNameError
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
