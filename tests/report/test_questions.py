"""The page of public questions says what its results say, and that there is none where there is none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from defenselib.report import questions


def kept(monkeypatch: pytest.MonkeyPatch, *results: Any) -> None:
    monkeypatch.setattr(questions, "_kept", lambda *cell: iter(results))


@pytest.mark.parametrize("ask", [questions.distances, questions.unlearning, questions.linear_stage])
def test_without_a_result_the_page_says_so(monkeypatch: pytest.MonkeyPatch, ask: Any) -> None:
    kept(monkeypatch)
    assert "Not run here yet: " in str(ask())


def test_distances_counts_zeros_on_either_side(monkeypatch: pytest.MonkeyPatch) -> None:
    poisoned = np.array([True, True, False, False, False, False, False, False])
    after = np.array([0.0, 8.0, 0.0, 0.0, 0.0, 1.0, 2.0, 9.0])
    arrays = {"scores/fct_before/3": after[::-1].copy(), "scores/fct/8": after, "is_poisoned": np.packbits(poisoned)}
    kept(monkeypatch, SimpleNamespace(profile="laptop", arrays=arrays))
    said = str(questions.distances())
    assert "of 8 images" in said and "3 clean and 1 poisoned ones" in said and "median is 4." in said
    # Of twelve pairs with a clean sample: 9 is above six and 2 above five; then 0 ties with three and 8 is above five.
    assert f"AUC of {11 / 12:.3f} before the fine-tuning and of {6.5 / 12:.3f} after" in said


def test_the_course_of_unlearning_is_told_from_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("isolate", 50, 97), ("finetune", 79.5, 100), ("unlearn", 79, 92), ("unlearn", 76, 5)]
    frame = pd.DataFrame(rows, columns=["stage", "acc", "asr"])
    result = SimpleNamespace(
        profile="gpu", metrics={"suspects_poisoned": 199.0, "isolated": 200.0}, history_frame=lambda: frame
    )
    kept(monkeypatch, result)
    said = str(questions.unlearning())
    assert (
        "199 poisoned samples of 200" in said
        and "79.5 / 100.0 before the unlearning" in said
        and "79.0 / 92.0; 76.0 / 5.0" in said
    )
