"""The command beside a number: as it is printed, the command line asks for the very experiment of the result."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from defenselib import experiments, papers
from defenselib.cli import app
from defenselib.experiments import Experiment, Store
from defenselib.experiments.again import experiment_of
from defenselib.papers import plan as plans
from defenselib.report.provenance import run_command


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Experiment]:
    """What the command line would have run."""
    caught: list[Experiment] = []

    class Enough(Exception):
        pass

    def run(experiment: Experiment, **_: object) -> None:
        caught.append(experiment)
        raise Enough

    monkeypatch.setattr(experiments, "run", run)
    return caught


def parsed(command: str, asked: list[Experiment]) -> Experiment:
    name, *words = shlex.split(command)
    assert name == "defenselib"
    done = CliRunner().invoke(app, words)
    assert asked, done.output
    return asked.pop()


@pytest.mark.slow
def test_the_command_of_every_committed_result_has_its_hash(root: Path, asked: list[Experiment]) -> None:
    results = list(Store(root / "book" / "results").results())
    assert len(results) > 100
    for result in results:
        found = experiment_of(result)
        assert found is not None, result.stem
        assert parsed(run_command(found), asked).resolve().hash == result.hash, result.stem


def test_the_command_says_no_more_than_it_must(root: Path) -> None:
    store = Store(root / "book" / "results")
    cell = Experiment(dataset="cifar10", attack="badnets", defense="asd", profile="laptop", paper="asd", seed=1)
    result = store.get(cell.resolve())
    assert result is not None and experiment_of(result) == cell
    assert run_command(cell) == (
        "defenselib run --dataset cifar10 --attack badnets --defense asd --profile laptop --seed 1 --paper asd"
    )


@pytest.mark.slow
@pytest.mark.parametrize("paper", papers.available())
def test_the_commands_of_what_exhibits_ask_for_are_read_back(paper: str, asked: list[Experiment], store: Store) -> None:
    made = plans.make([paper], ["laptop"], store=store, everything=True)
    cells = [cell for cell in made.cells if not cell.waits_for]
    assert len(cells) > 50
    for cell in cells[::23]:
        assert parsed(run_command(cell.experiment), asked).resolve().hash == cell.hash, cell.fields


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_a_result_that_no_experiment_gives_today_has_none(root: Path) -> None:
    result = next(iter(Store(root / "book" / "results").results()))
    changed = {**result.experiment, "train_size": 7, "width": 3}
    assert experiment_of(type(result)(**{**vars_of(result), "experiment": changed, "hash": "0" * 16})) is None


def vars_of(result: object) -> dict[str, object]:
    return {name: getattr(result, name) for name in result.__dataclass_fields__}  # type: ignore[attr-defined]
