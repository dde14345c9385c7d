"""The page that adds an attack and a defense is followed to the letter, in a copy of the package."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```\{code-block\} (\w+)\n:caption: ([^\n]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EVERY = ("attacks/test_every_attack.py", "defenses/test_every_defense.py", "experiments/test_registry.py")
EVERY += ("experiments/test_schedule.py", "experiments/test_floors.py")


def patched(text: str, diff: str) -> str:
    """`text` with the lines that start with + put in after the line before them; the others must be there, in order."""
    lines, place = text.splitlines(), 0
    for change in diff.splitlines():
        sign, line = change[:1], change[1:]
        if sign == " ":
            place = lines.index(line, place) + 1
        elif sign == "+":
            lines.insert(place, line)
            place += 1
    return "\n".join(lines) + "\n"


def test_a_patch_is_put_where_it_belongs() -> None:
    assert patched("a\nb\nc\n", " a\n+x\n b\n@@\n c\n+y\n") == "a\nx\nb\nc\ny\n"
    with pytest.raises(ValueError, match="is not in list"):
        patched("a\nb\n", " b\n a\n")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package and the tests with the changes of the page, and the code of its last section as try_it.py."""
    folder = tmp_path_factory.mktemp("copy")
    skipped = shutil.ignore_patterns("__pycache__")
    for part in ("defenselib", "tests"):
        shutil.copytree(ROOT / part, folder / part, ignore=skipped)
    shutil.copy(ROOT / "pyproject.toml", folder)
    blocks = BLOCK.findall((ROOT / "book" / "extend.md").read_text())
    assert [kind for kind, _, _ in blocks] == ["python", "diff", "python", "diff", "diff", "diff", "python"]
    for kind, name, code in blocks:
        file = folder / ("try_it.py" if name == "Try it" else name.strip('"`'))
        if kind == "python":
            assert not file.exists()
            file.write_text(code)
        else:
            file.write_text(patched(file.read_text(), code))
    return folder


def python(folder: Path, *arguments: str) -> str:
    """What Python prints in the copy, whose package comes before the installed one."""
    stores = {name: str(folder / "made") for name in ("DEFENSELIB_STORE", "DEFENSELIB_RESULTS", "DEFENSELIB_CACHE")}
    found = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, **stores, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


def test_the_newcomers_pass_what_every_method_passes(copy: Path) -> None:
    tests, mine = [f"tests/{name}" for name in EVERY], "border or low-loss or tiny_settings or its_stages"
    said = python(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", mine, *tests)
    passed = re.search(r"(\d+) passed", said)
    assert passed and int(passed[1]) >= 30, said


def test_the_pages_across_the_papers_plan_the_newcomers(copy: Path) -> None:
    said = python(copy, "-m", "defenselib", "plan", "--profile", "smoke", "--attack", "border", "--json")
    cells = json.loads(said)["cells"]
    planned = {(page, cell["fields"].get("defense", "none")) for cell in cells for page in cell["exhibits"]}
    assert {("leaderboard", "low-loss"), ("leaderboard", "none"), ("attacks", "none")} <= planned


def test_the_code_of_the_last_section_runs(copy: Path) -> None:
    said = python(copy, "try_it.py")
    found = re.fullmatch(r"ACC ([\d.]+), ASR ([\d.]+), (\d+) samples suspected", said.strip())
    assert found and 0 <= float(found[1]) <= 100 and int(found[3]) == 60  # a tenth of the 600 shapes of `smoke`
