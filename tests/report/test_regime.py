"""What the page "When does each method work?" says is what its rows say."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from defenselib.errors import DataError
from defenselib.report import regime


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    made = pd.DataFrame(
        {
            "curve": ["vab"] * 6,
            "steps": [63, 63, 189, 189, 756, 756],
            "acc": [60.0, 64.0, 50.0, 40.0, 98.0, 98.0],
            "asr": [97.0] * 6,
            "auc": [0.95] * 6,
            "auc_hardest": [0.70, 0.74, 0.95, 0.97, 0.10, 0.12],
        }
    )
    monkeypatch.setattr(regime, "table", lambda name: made)
    return made


def test_the_sentence_names_the_best_the_worst_and_where_it_separates(rows: pd.DataFrame) -> None:
    said = str(regime.sentence("vab"))
    assert "best at 189 steps (AUC 0.96, ACC 45)" in said
    assert "worst at 756 steps (0.11, ACC 98)" in said
    assert said.count("steps") == 3 and "at or above 0.8 at 189 steps." in said


def test_turning_the_rows_around_turns_the_sentence_around(rows: pd.DataFrame) -> None:
    rows["auc_hardest"] = 0.5 - rows["auc_hardest"] / 2
    said = str(regime.sentence("vab"))
    assert "best at 756 steps" in said and "worst at 189 steps" in said and "nowhere at or above 0.8" in said


def test_a_curve_draws_its_rows(rows: pd.DataFrame) -> None:
    model, rule = regime.figure("vab").axes
    drawn = {line.get_label(): list(line.get_ydata()) for line in [*model.lines, *rule.lines]}
    assert drawn["ACC"] == [62, 45, 98]
    assert drawn["from the hardest tenth"] == pytest.approx([0.72, 0.96, 0.11])


def test_a_missing_table_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DEFENSELIB_RESULTS", str(tmp_path))
    with pytest.raises(DataError, match=r"regime_demo.csv of trials is missing: python -m"):
        regime.rows("vab")
