"""How the house is built (design, section 2): who may import whom, and that importing the package does no work."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "defenselib"
# From the ground up; a room imports only rooms below its own. The package's own `__init__` stands above all but `cli`.
STOREYS = (
    ("errors", "lazy", "seeds", "version"),
    ("cpu", "folders"),
    ("content", "models", "tensor_files"),
    ("data",),
    ("learning",),
    ("attacks",),
    ("defenses",),
    ("experiments",),
    ("plots",),
    ("audit", "papers"),
    ("report", "workflow"),
    ("commands",),
    ("bench", "cli", "defenselib"),
    ("__main__",),
)


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = ("defenselib", *path.relative_to(PACKAGE).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(module: str, path: Path) -> Iterator[str]:
    """Own modules that a module imports: at the top, in a function, for type checkers only, by a name in a string."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (item.name for item in node.names if item.name in modules())
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            for item in node.names:
                name = f"{node.module}.{item.name}"
                yield from ({name if name in modules() else str(node.module)} & set(modules()))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and first.value in modules():
                yield first.value


@cache
def graph() -> dict[str, set[str]]:
    return {module: set(imported(module, path)) - {module} for module, path in modules().items()}


def storey(module: str) -> int:
    room = [*module.split(".")[1:], "defenselib"][0]
    return next(number for number, rooms in enumerate(STOREYS) if room in rooms)


def arrows() -> Iterator[tuple[str, str]]:
    return ((module, other) for module, others in sorted(graph().items()) for other in sorted(others))


def test_every_room_has_a_storey_and_is_seen() -> None:
    assert {storey(module) for module in modules()} == set(range(len(STOREYS)))
    assert "defenselib.learning.context" in graph()["defenselib.defenses.base"]


def test_there_is_no_circle() -> None:
    try:
        TopologicalSorter(graph()).prepare()
    except CycleError as error:
        pytest.fail(f"an import circle: {' -> '.join(error.args[1])}")


def test_arrows_point_down() -> None:
    def room(module: str) -> str:
        return module.split(".")[1] if "." in module else module

    wrong = {(a, b) for a, b in arrows() if room(a) != room(b) and storey(a) <= storey(b)}
    assert not wrong, sorted(wrong)


def test_the_kit_knows_no_paper() -> None:
    kit = "defenselib.papers.kit"
    papers = {f"defenselib.papers.{path.name}" for path in (PACKAGE / "papers").iterdir() if path.is_dir()} - {kit}
    found = {(a, b) for a, b in arrows() if a.startswith(kit) for paper in papers if f"{b}.".startswith(f"{paper}.")}
    assert found == set()


READS = """
import sys

seen = []
sys.addaudithook(lambda event, args: seen.append(str(args[0])) if event == "open" else None)
import defenselib

root = defenselib.__path__[0]
print(*(path for path in seen if path.startswith(root) and not path.endswith((".py", ".pyc"))), sep="\\n")
"""


def test_importing_the_package_reads_no_file_of_it() -> None:
    done = subprocess.run([sys.executable, "-c", READS], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert done.stdout.split() == []


def test_no_file_is_above_three_hundred_lines() -> None:
    long = {module: count for module, path in modules().items() if (count := len(path.read_text().splitlines())) > 300}
    assert not long
