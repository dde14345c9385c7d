"""What is said before a delivered model is used, in the report's head and in the terminal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from bs4 import BeautifulSoup

from defenselib.audit.cautions import accuracy_shown, cautions
from defenselib.audit.page import report
from defenselib.audit.results import Accuracy, Delivery, Measured, accuracy
from defenselib.commands.defend import _tell
from tests.audit.made import reported
from tests.audit.test_measured import data_of
from tests.audit.test_suspects import delivered

DATA = data_of(300, 3)
ALARM = reported(DATA, torch.arange(300) < 9, target=1)
GOOD = Accuracy("held-out part", 120, 91.25, (90.0, 91.0, 92.0), guess=40.0)


def made(**changes: Any) -> Delivery:
    return delivered(300, **{"scan": ALARM, "accuracy": GOOD, "target": 1} | changes)


def told(delivery: Delivery, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The warnings, the same in the terminal and before the report's first section."""
    found = cautions(DATA, delivery)
    _tell(SimpleNamespace(data=DATA, test=None), delivery, Path("out"))  # type: ignore[arg-type]
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if line.startswith("warning: ")] == [f"warning: {text}" for text in found]
    head = BeautifulSoup(report(DATA, delivery.scan, delivery).split("<nav")[0], "html.parser")
    assert all(text in head.get_text() for text in found)
    assert ("Before you use this model" in head.get_text()) == bool(found)
    return found


def test_a_method_that_worked_against_another_class_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(made(), capsys) == []
    (found,) = told(made(target=2), capsys)
    assert found.startswith("BSD worked against class 'c', the scan's alarm names 'b': this model may still obey the")
    assert told(made(target=None), capsys) == []
    assert not any("alarm names" in text for text in told(made(target=2, scan=reported(DATA)), capsys))


def test_what_a_defense_costs_where_there_is_nothing_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = told(made(scan=reported(DATA)), capsys)
    assert "raised no alarm. BSD trains against poison all the same" in found and "--defense none" in found
    assert told(made(scan=replace(reported(DATA), alarm="look")), capsys) == [found]
    assert told(made(scan=reported(DATA), defense="none"), capsys) == []
    assert told(made(scan=replace(reported(DATA), alarm="unknown")), capsys) == []


def test_an_accuracy_that_says_little_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = told(made(accuracy=replace(GOOD, percent=40.0)), capsys)
    assert "held-out part, 40.00 %, is not above the share of its largest class, 40.00 %" in found
    (found,) = told(made(accuracy=replace(GOOD, images=99)), capsys)
    assert "rests on 99 images" in found and "fewer than 100" in found
    shown = report(DATA, ALARM, made(accuracy=replace(GOOD, images=99, percent=91.4)))
    assert "(99 images): 91 %." in shown and "91.4" not in shown
    assert accuracy_shown(91.25, 100) == "91.25 %"
    assert len(told(made(accuracy=replace(GOOD, images=9, percent=3.0)), capsys)) == 2
    assert told(made(accuracy=None), capsys) == []


def test_the_largest_class_is_that_of_the_measured_images() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    index = torch.tensor([False, False, True, True, True, False])
    found = accuracy(Measured("held-out part", index, 0), torch.zeros(6, dtype=torch.int64), labels, 3)
    assert found is not None and found.guess == pytest.approx(200 / 3) and found.percent == pytest.approx(100 / 3)
