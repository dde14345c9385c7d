"""The table of `demo`: which goals a row misses, and that a table takes a pair once."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defenselib.errors import told
from defenselib.experiments import drawn
from defenselib.experiments.drawn import missed, put, row
from defenselib.experiments.result import Result


def result(defense: str = "asd", attack: str = "badnets", **changes: Any) -> Result:
    numbers: dict[str, Any] = {"acc": 98.0, "asr": 0.0, "per_class": (100.0, 100.0, 100.0, 90.0), **changes}
    described = {"attack": attack, "defense": defense, "seed": 0, "target": 3}
    return Result(described, {}, "f" * 16, "demo", **{"machine": {"bf16": "hardware"}, **numbers})


NONE = result("none", acc=99.0, asr=100.0)


@pytest.mark.parametrize(
    ("changes", "goals"),
    [
        ({}, []),
        ({"asr": 5.1}, ["asr<=5"]),
        ({"acc": 93.9}, ["acc within 5"]),
        ({"per_class": (100.0, 100.0, 100.0, 79.0)}, ["target recall>=80"]),
        # The target class is not asked for: its attack has no success, and no defense.
        ({"per_class": (100.0, 100.0, 100.0, 0.0)}, ["target recall>=80", "no dead class"]),
        ({"per_class": (0.0, 100.0, 100.0, 100.0)}, ["no dead class"]),
        ({"acc": math.nan, "asr": math.nan}, ["asr<=5", "acc within 5"]),
    ],
)
def test_a_defense_misses_what_it_misses(changes: dict[str, Any], goals: list[str]) -> None:
    assert missed(result(**changes), NONE) == goals


def test_an_attack_that_does_not_take_misses_its_goal() -> None:
    assert missed(NONE, NONE) == []
    weak = result("none", asr=94.0)
    assert missed(weak, weak) == ["asr>=95"]
    other = result("none", "blend", asr=86.0, acc=90.0)
    assert missed(other, other) == ["acc>=95"]


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 100))
def test_a_better_number_never_misses_more(acc: float, asr: float, better: float) -> None:
    worse = missed(result(acc=acc, asr=asr), NONE)
    assert set(missed(result(acc=max(acc, better), asr=min(asr, better)), NONE)) <= set(worse)


def test_a_table_takes_a_pair_once_for_each_arithmetic(tmp_path: Any) -> None:
    path = tmp_path / "deep" / "demo.csv"
    put(path, [row(result(), NONE), row(result("bsd"), NONE)])
    put(path, [row(result(asr=60.0), NONE)])
    told = pd.read_csv(path)
    assert [*zip(told["defense"], told["asr"], told["gates"], strict=True)] == [
        ("bsd", 0.0, "hold"),
        ("asd", 60.0, "fail: asr<=5"),
    ]
    put(path, [row(result(machine={"bf16": "as fp32"}), NONE)])
    assert [*pd.read_csv(path)["bf16"]] == ["hardware", "hardware", "as fp32"]

    # What does not say how it was computed makes room for what does.
    path.write_text(path.read_text().replace("as fp32", ""))
    assert len(pd.read_csv(path)) == 3
    put(path, [row(result(machine={"bf16": "as fp32"}), NONE)])
    assert sorted(pd.read_csv(path)["bf16"].dropna()) == ["as fp32", "hardware", "hardware"]


def test_unknown_names_are_told_in_one_line_before_anything_is_trained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(drawn, "measured", lambda *given: pytest.fail("it trains"))
    for attack, defense, near in (("blende", "asd", "did you mean 'blend'"), ("blend", "asdd", "did you mean 'asd'")):
        with pytest.raises(SystemExit) as stop, told():
            drawn.main([attack], [defense])
        said = capsys.readouterr().err
        assert stop.value.code == 2 and said.startswith("error: unknown") and near in said and said.count("\n") == 1
