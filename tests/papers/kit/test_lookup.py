"""Looking for results reads the store and nothing else: the same with data at hand and without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from defenselib import data, papers
from defenselib.data import load
from defenselib.experiments import Experiment, Result, Store
from defenselib.experiments.resolve import facts_of
from defenselib.papers.kit.grid import NO_RESULT, Grid
from defenselib.papers.kit.request import Cell, Request, Thin

COPY = "cifar100:0123456789ab"  # a copy that the library has no digest of


@pytest.fixture(autouse=True)
def no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **more: Any) -> Any:
        raise AssertionError(f"looked for data: {args}")

    for owner, name in ((load, "find"), (load, "load_dataset"), (data, "load_dataset")):
        monkeypatch.setattr(owner, name, refuse)


def ask(store: Store, dataset: str) -> Any:
    grid = Grid("dst_dbr", Request("laptop", False, Thin(), None, store), lambda cell, profile: (0,), Thin())
    return grid.answer(Cell(dataset, "badnets", "none"))


def test_results_on_a_copy_without_a_committed_digest_are_found(put: Callable[..., Result], store: Store) -> None:
    assert data.info("cifar100").source is None and facts_of("cifar100", COPY).classes == 100
    assert ask(store, "cifar100").reason == NO_RESULT
    made = put(50.0, 90.0, dataset="cifar100", attack="badnets", source=COPY, paper="dst_dbr")
    assert ask(store, "cifar100").results == (made,)
    assert [one.hash for one in store.results("cifar100")] == [made.hash] and not list(store.results("cifar10"))


@pytest.mark.parametrize("paper", papers.available())
def test_no_exhibit_looks_for_data(paper: str, store: Store, tmp_path: Path) -> None:
    for key in ("table-1", "table-2", "table-3"):
        frame = papers.get(paper).exhibit(key).reproduce(profile="best", store=store)
        assert not frame["reason"].str.contains(str(tmp_path), regex=False).any()


def test_an_experiment_names_its_copy(store: Store) -> None:
    resolved = Experiment(dataset="cifar100", profile="laptop", source=COPY).resolve()
    assert resolved.source == COPY and store.get(resolved) is None
