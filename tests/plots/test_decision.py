"""The picture that decides says in words what was drawn, and marks what does not count."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from defenselib.plots import alt, canvas
from defenselib.plots.decision import decision


def rows(gate: str = "") -> pd.DataFrame:
    usual = {"dataset": "cifar10", "attack": "badnets", "sd": math.nan, "gate": ""}
    return pd.DataFrame(
        [
            {**usual, "defense": "none", "metric": "asr", "published": 100.0, "reproduced": 99.0},
            {**usual, "defense": "asd", "metric": "asr", "published": 1.2, "reproduced": 2.0, "gate": gate, "sd": 0.5},
            {**usual, "defense": "none", "metric": "acc", "published": 94.0, "reproduced": 80.0},
            {**usual, "defense": "asd", "metric": "acc", "published": 93.0, "reproduced": 52.0},
        ]
    )


def test_the_words_name_printed_and_reproduced_values() -> None:
    said = alt.describe(decision(rows(), 10.0, "Table 2, profile laptop"))
    assert said.startswith("Table 2, profile laptop.")
    for part in (
        "ASD, printed at 1.2",
        "ASD, reproduced at 2",
        "no defense, reproduced at 99",
        "ASD, reproduced at 52",
    ):
        assert part in said, said
    assert "does not count" not in said


def test_a_closed_gate_is_grey_and_named() -> None:
    figure = decision(rows("the target class is right in 2.6 %"), 10.0)
    said = alt.describe(figure)
    assert "ASD, reproduced (does not count) at 2" in said
    assert [text.get_text() for text in figure.axes[0].texts] == ["?"] and not len(figure.axes[1].texts)


def test_an_asr_that_is_not_low_counts_behind_a_closed_gate() -> None:
    frame = rows("the target class is right in 2.6 %")
    frame.loc[1, "reproduced"] = 49.3
    figure = decision(frame, 10.0)
    assert "does not count" not in alt.describe(figure) and not len(figure.axes[0].texts)


@pytest.mark.parametrize("frame", [rows().assign(reproduced=math.nan), rows().assign(metric="ra")])
def test_without_a_number_it_says_so(frame: pd.DataFrame) -> None:
    figure = decision(frame, 10.0)
    assert isinstance(figure, canvas.Picture) and figure.nothing
