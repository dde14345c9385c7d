"""The line in place of an empty exhibit: its count is that of the cells, its command makes that very plan."""

from __future__ import annotations

import html
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from defenselib import papers
from defenselib.cli import app
from defenselib.errors import UnknownNameError
from defenselib.experiments import Experiment, Store
from defenselib.papers.kit.request import checked_request
from defenselib.papers.planned import read
from defenselib.report import missing

from ..papers.made import cells_of, made

HERE = {"cpu": "a slow one", "cores": 2, "gpu": None}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """One undefended model, an hour on one machine."""
    store = Store(tmp_path / "store")
    for name in ("badnets", "blend"):
        resolved = Experiment(paper="asd", profile="laptop", attack=name).resolve()
        store.put(made(resolved, 80.0, 99.0, machine=HERE, seconds=3600.0))
    return store


def test_the_line_counts_the_trainings_that_the_exhibit_needs(store: Store) -> None:
    exhibit = papers.get("asd").exhibit("table-5")
    cells = cells_of(exhibit, checked_request("asd", "laptop", store=store))
    there = [cell for cell in cells if store.get(cell.resolve()) is not None]
    found = missing.lacking("asd", "table-5", store=store)
    assert found.there + found.trainings >= len(cells) and found.there >= len(there)
    assert found.machine == "a slow one" and found.seconds > 0
    text = str(missing.line("asd", "table-5", store=store))
    assert f"<b>Table 5</b>: not run at profile laptop. {found.trainings} of its" in text and "a slow one" in text


def test_its_command_plans_exactly_the_missing_trainings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    text = html.unescape(str(missing.line("bsd", "table-13", store=store)))
    (code,) = re.findall(r"<code>(.*?)</code>", text)
    first, then = code.split(" && ")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEFENSELIB_STORE", str(store.root))
    done = CliRunner().invoke(app, shlex.split(first)[1:])
    assert done.exit_code == 0, done.output
    assert then == "defenselib batch plan.json"
    assert len(read(tmp_path / "plan.json").missing) == missing.lacking("bsd", "table-13", store=store).trainings > 0


def test_what_no_training_changes_has_no_command(store: Store) -> None:
    assert "<code>" not in str(missing.line("asd", "figure-2", store=store))
    with pytest.raises(UnknownNameError, match="table-2"):
        missing.line("asd", "table-22", store=store)


@pytest.mark.parametrize(
    ("seconds", "said"), [(1, "1 minute"), (2400, "40 minutes"), (9 * 3600, "9 hours"), (3 * 86400, "3 days")]
)
def test_times_are_said_in_the_unit_that_one_plans_with(seconds: float, said: str) -> None:
    assert missing.duration(seconds) == said
