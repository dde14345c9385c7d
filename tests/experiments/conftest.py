"""A store for the whole session, so that a cell which several tests look at is trained once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from defenselib.experiments import Experiment, Result, Store, run


@pytest.fixture(scope="session")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def run_once(shared_store: Store) -> Callable[..., Result]:
    """`run_once(**experiment)`: its result, trained on the CPU the first time."""

    def get(**arguments: Any) -> Result:
        return run(Experiment(**arguments), shared_store, device="cpu", progress=False)

    return get
