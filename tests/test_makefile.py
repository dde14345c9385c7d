"""What `make book` does again: tried on an empty clone with programs that only note that they were called."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

EMPTY = ("pyproject.toml", "_config.yml", "_toc.yml", "defenselib/a.py")
NOTEBOOKS = ("notebooks/one.ipynb", "notebooks/verdicts.ipynb")
FETCH = "mkdir -p book/_static/vendor && touch book/_static/vendor/.fetched"
DEFENSELIB = """
echo "$@" >> log
while [ $# -gt 0 ]; do [ "$1" = --output ] && mkdir -p "$(dirname "$2")" && touch "$2"; shift; done; exit 0
"""
# As Sphinx: a page that is there and the same is not written again.
PAGE = "book/_build/html/index.html"
BUILD = f"echo compiled >> log; mkdir -p $(dirname {PAGE}); [ -e {PAGE} ] || touch {PAGE}"


@pytest.fixture
def clone(tmp_path: Path, root: Path) -> Path:
    if shutil.which("make") is None:
        pytest.skip("no make here")
    shutil.copy(root / "Makefile", tmp_path)
    for name in (*EMPTY, *NOTEBOOKS, "book/page.md", "book/frontend/package-lock.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    programs = {"book/frontend/fetch": FETCH, ".venv/bin/defenselib": DEFENSELIB, ".venv/bin/jupyter-book": BUILD}
    for name, text in programs.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / ".venv" / ".installed").touch()
    return tmp_path


def made(clone: Path, touched: str = "") -> tuple[int, bool]:
    """How many notebooks `make book` executes after a file was touched, and whether it compiles the book."""
    (clone / "log").write_text("")
    if touched:
        newest = max(path.stat().st_mtime for path in clone.rglob("*"))
        os.utime(clone / touched, (newest + 0.01, newest + 0.01))
    # What an outer make was called with, VENV=elsewhere, is in the environment too.
    usual = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    line = ["make", "book", "VENV=.venv"]
    done = subprocess.run(line, cwd=clone, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=usual)
    assert done.returncode == 0, done.stdout
    log = (clone / "log").read_text().splitlines()
    return sum(line.startswith("reproduce") for line in log), "compiled" in log


def test_only_what_changed_is_made_again(clone: Path) -> None:
    every = made(clone)
    assert every == (6, True)  # one notebook, and one page a paper of another
    assert made(clone) == (0, False)
    assert made(clone, "book/page.md") == (0, True)
    assert made(clone, "notebooks/one.ipynb") == (1, True)
    (clone / "book/_store/kept").touch()
    assert made(clone, "defenselib/a.py") == every
    assert (clone / "book/_store/kept").exists() and "clean --outdated" in (clone / "log").read_text()
    shutil.rmtree(clone / "book/_build")
    assert made(clone) == (0, True) and made(clone) == (0, False)
