"""Where a result was made: its memory is its own process's."""

from __future__ import annotations

import subprocess
import sys

import pytest

PARENT = """
import subprocess, sys
held = b"." * 900_000_000
subprocess.run([sys.executable, "-c", sys.argv[1]], check=True)
"""
CHILD = """
from defenselib.experiments.provenance import process_peak
before = process_peak()
held = b"." * 200_000_000
del held
print(before, process_peak())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak is told in another way")
def test_the_peak_of_memory_is_not_that_of_the_process_that_started_this_one() -> None:
    told = subprocess.run([sys.executable, "-c", PARENT, CHILD], capture_output=True, text=True, check=True).stdout
    before, after = map(int, told.split())
    assert 100e6 < before < after - 150e6 and after < 880e6
