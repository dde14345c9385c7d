"""A real set that nobody here prepared: solar cells, from PyPI where somebody has installed them (their licence is
non-commercial, so they are no requirement): pip install --no-deps elpv-dataset."""

from __future__ import annotations

import csv
import importlib.util
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from defenselib.cli import app

FOUND = importlib.util.find_spec("elpv_dataset")
DEFECTS = {0: "none", 1: "a third", 2: "two thirds", 3: "certain"}  # how likely one is, in thirds


@pytest.mark.slow
@pytest.mark.skipif(FOUND is None, reason="pip install --no-deps elpv-dataset")
def test_a_set_with_a_cameras_habits_in_its_largest_class_gets_a_calm_report(tmp_path: Path) -> None:
    assert FOUND is not None and FOUND.submodule_search_locations
    source = Path(FOUND.submodule_search_locations[0]) / "data"
    with (source / "labels.csv").open() as file:
        rows = list(csv.reader(file, delimiter=" ", skipinitialspace=True))
    for name, defect, *_ in rows:
        folder = tmp_path / "cells" / DEFECTS[round(3 * float(defect))]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / name, folder)
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["scan", str(tmp_path / "cells"), "--budget", "quick", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert len(rows) == 2624 and "CALM" in done.output and "Nothing stands out" in done.output
    assert (out / "report.html").is_file()
