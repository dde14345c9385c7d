"""What all tests share: stores and caches in temporary folders, one thread each, no GPU tests without a GPU."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import matplotlib
import pytest
import torch
from hypothesis import settings

from defenselib import papers
from defenselib.papers import KEYS

matplotlib.use("Agg")
settings.register_profile("untimed", deadline=None)  # no test is judged by how busy the machine is
settings.load_profile("untimed")
torch.set_num_threads(1)

ROOT = Path(__file__).parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))
    # The batches wait for processes of their own; at the end one worker would wait for them alone.
    items.sort(key=lambda item: "workflow" not in item.path.parts)


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests neither read nor write what the user's own runs left, and never write evidence.

    Set in the environment, so that notebooks and subprocesses started by a test inherit it.
    """
    base = tmp_path_factory.mktemp("defenselib")
    for name in ("DEFENSELIB_STORE", "DEFENSELIB_RESULTS", "DEFENSELIB_CACHE"):
        folder = base / name.lower()
        folder.mkdir()
        os.environ[name] = str(folder)


@pytest.fixture(autouse=True)
def no_kept_frames() -> None:
    """A process keeps the frames of exhibits as long as their store is the same; a test may change the code as well."""
    for key in KEYS:
        if f"defenselib.papers.{key}.exhibits" in sys.modules:
            for exhibit in papers.get(key).exhibits:
                exhibit._frames.clear()


@pytest.fixture
def root() -> Path:
    """The repository."""
    return ROOT
