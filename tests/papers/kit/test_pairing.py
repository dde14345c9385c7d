"""Which cells are compared, and what a closed gate lets through."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from defenselib.papers.kit import frame as frames
from defenselib.papers.kit.claims import Claim, Statement
from defenselib.papers.kit.compound import along, both, combined
from defenselib.papers.kit.statements import change, every, leads
from defenselib.papers.kit.table import judged


def table(*rows: dict[str, Any]) -> pd.DataFrame:
    made = [{"dataset": "d", "attack": "a", "metric": "acc", **row, **frames.entry([row["value"]])} for row in rows]
    gates = [row.get("gate", "") for row in rows]
    listed = [{key: value for key, value in row.items() if key not in ("value", "gate")} for row in made]
    return frames.finish(frames.rows_of(listed), [{**row, "gate": gate} for row, gate in zip(made, gates, strict=True)],
                         "paper")  # fmt: skip


def outcome(frame: pd.DataFrame, expression: Statement) -> str:
    return str(Claim("c", "", "", expression).judge(frame)["outcome"])


@pytest.mark.parametrize(("value", "expected"), [(90.0, "holds"), (70.0, "fails")])
def test_a_column_of_some_methods_alone_keeps_no_cells_apart(value: float, expected: str) -> None:
    frame = table(
        {"defense": "none", "value": 80.0}, {"defense": "ft", "share": 0.01, "value": 85.0},
        {"defense": "own", "value": value},
    )  # fmt: skip
    assert outcome(frame, leads("acc", "own", ("ft",))) == expected
    assert outcome(frame, change("acc", "defense", "none", "ft", ">", 0.0)) == "holds"


def test_a_column_with_several_values_keeps_cells_apart() -> None:
    frame = table(
        {"defense": "none", "rate": 0.1, "value": 80.0}, {"defense": "own", "rate": 0.1, "value": 79.0},
        {"defense": "own", "rate": 0.2, "value": 20.0},
    )  # fmt: skip
    assert outcome(frame, change("acc", "defense", "none", "own", ">=", -5.0)) == "holds", "at 0.2 there is no pair"


def test_a_gate_closes_what_is_made_of_an_asr() -> None:
    def made(gate: str) -> pd.DataFrame:
        return table(
            {"defense": "own", "value": 80.0}, {"defense": "own", "metric": "asr", "value": 0.0, "gate": gate},
            {"defense": "ft", "value": 80.0}, {"defense": "ft", "metric": "asr", "value": 50.0},
            {"defense": "own", "metric": "ra", "value": 9.0}, {"defense": "abl", "value": 70.0},
        )  # fmt: skip

    ahead = combined("gap", {"acc": 1.0, "asr": -1.0}, leads("gap", "own", ("ft",)))
    above = combined("gap", {"acc": 1.0, "asr": -1.0}, every("gap", ">", 50.0, defense="own"))
    for expression in (ahead, above):
        assert outcome(made(""), expression) == "holds"
        assert outcome(made("the target class is gone"), expression) == "undecided"


def test_within_both_the_ends_of_curves_count_cell_by_cell() -> None:
    points = [{"defense": name, "epoch": epoch, "value": 90.0 - epoch} for name in ("x", "y") for epoch in (0, 1)]
    frame = table(*points, {"defense": "z", "metric": None, "value": float("nan")})
    found = Claim("c", "", "", both(along("epoch", "last", every("acc", ">", 50.0)))).judge(frame)
    assert (found["outcome"], found["true"], found["of"]) == ("holds so far", 2, 3)


def test_an_average_is_held_against_what_clean_images_reach_on_average() -> None:
    """Of one cell a high ASR counts only above the share of clean images that are called the target; a mean over cells
    is no way around that, in the verdict or in a claim."""
    cells = [("a", 60.0), ("b", 80.0), ("average", 70.0), ("worst", 80.0)]
    rows = frames.rows_of([{"dataset": "d", "attack": attack, "defense": "own", "metric": "asr", "published": 99.0}
                           for attack, _ in cells])  # fmt: skip
    for called, said in ((75.0, "undecided"), (5.0, "agrees"), (float("nan"), "agrees")):
        found = [{**frames.entry([value]), "false_target": called + 10 * (attack == "b")} for attack, value in cells]
        frames.fill_averages(rows, found, frames.parts_of_averages(rows))
        made = judged(rows, found, "asd", (), "laptop").set_index("attack")
        assert list(made.loc[["average", "worst"], "reproduced"]) == [70.0, 80.0]
        assert list(made.loc[["average", "worst"], "verdict"]) == [said, said]
        # Of the mean over all attacks, whichever stands last.
        for order in (["a", "b"], ["b", "a"]):
            mean = along("attack", "mean", every("asr", ">", 50.0))
            expected = "undecided" if said == "undecided" else "holds"
            assert outcome(made.loc[order].reset_index(), mean) == expected
    mixed = [{**frames.entry([60.0]), "false_target": 99.0}, {**frames.entry([80.0]), "false_target": 0.0},
             frames.entry([]), frames.entry([])]  # fmt: skip
    frames.fill_averages(rows, mixed, frames.parts_of_averages(rows))
    assert [one["false_target"] for one in mixed[2:]] == [49.5, 0.0], "the worst case is one cell, with what it reaches"
