"""The files that tools read say the same thing everywhere."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from defenselib import papers

from .book.conftest import toc_pages

ALLOWED_CORE = {
    "torch", "torchvision", "numpy", "pandas", "pyarrow", "scikit-learn", "scikit-image", "safetensors",
    "filelock", "typer", "rich", "tqdm", "matplotlib", "seaborn", "pillow",
}  # fmt: skip


@pytest.fixture(scope="module")
def project(request: pytest.FixtureRequest) -> dict[str, Any]:
    content: dict[str, Any] = tomllib.loads((request.config.rootpath / "pyproject.toml").read_text())
    return content


def name_of(requirement: str) -> str:
    return re.split(r"[\s<>=!~\[;]", requirement)[0]


def test_core_dependencies_are_the_allowed_ones(project: dict[str, Any]) -> None:
    assert {name_of(item) for item in project["project"]["dependencies"]} == ALLOWED_CORE


def test_environment_holds_nothing_but_python_pip_and_the_package(root: Path, project: dict[str, Any]) -> None:
    environment = yaml.safe_load((root / "environment.yml").read_text())
    python, pip, packages = environment["dependencies"]
    assert python == f"python{project['project']['requires-python']}"
    assert pip == "pip"
    assert packages == {"pip": ["-e .[book,test]"]}
    assert environment["name"] == project["project"]["name"]
    assert {"book", "test"} <= set(project["project"]["optional-dependencies"])


def test_makefile_looks_for_the_versions_of_pyproject(root: Path, project: dict[str, Any]) -> None:
    assert project["project"]["requires-python"] == ">=3.11,<3.14"
    assert "(3, 11) <= sys.version_info[:2] <= (3, 13)" in (root / "Makefile").read_text()


def test_the_top_level_is_fixed(root: Path) -> None:
    if not (root / ".git").exists():
        pytest.skip("not a clone")
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=root,
                            capture_output=True, text=True, check=True)  # fmt: skip
    top = {line.split("/")[0] for line in listed.stdout.splitlines()}
    assert top <= {
        "book", "notebooks", "defenselib", "tests", "environment.yml", "_config.yml", "_toc.yml", "README.md",
        "pyproject.toml", "Makefile", "LICENSE", "CITATION.cff", ".ci", ".gitignore", "CONTRIBUTING.md",
        "CHANGELOG.md", ".pre-commit-config.yaml",
    }  # fmt: skip


def test_citation_and_package_have_one_version(root: Path, project: dict[str, Any]) -> None:
    citation = yaml.safe_load((root / "CITATION.cff").read_text())
    assert citation["version"] == project["project"]["version"]
    assert citation["license"] == project["project"]["license"]


def test_every_notebook_is_a_page_and_every_page_exists(root: Path) -> None:
    pages = toc_pages()
    executed = {Path(page).name for page in pages if page.startswith("book/_executed/")}
    notebooks = {path.stem for path in (root / "notebooks").glob("*.ipynb")} - {"verdicts"}
    unlike = executed ^ (notebooks | {f"verdicts-{key}" for key in papers.available()})  # one notebook, a page a paper
    assert not unlike, f"_toc.yml needs book/_executed/NAME for every notebook, verdicts-KEY for every paper: {unlike}"
    for page in pages:
        assert page.startswith("book/_executed/") or (root / f"{page}.md").is_file(), page


def test_package_data_covers_every_file_that_is_no_code(root: Path, project: dict[str, Any]) -> None:
    patterns = project["tool"]["setuptools"]["package-data"]["*"]
    others = [path for path in (root / "defenselib").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    for path in others:
        assert path.suffix == ".py" or any(path.match(pattern) for pattern in patterns), path


def test_no_path_outside_the_project_is_named(root: Path) -> None:
    """Data comes by DEFENSELIB_DATA; a path of one machine would work only there."""
    # Written in two parts, so that this file does not find itself.
    wrong = re.compile(r"(?<![\w.])/" + r"work/|\.\./" + r"shared|/" + r"root/|/home/\w")
    for folder, patterns in (("defenselib", ("*.py", "*.toml")), ("tests", ("*.py",)), ("notebooks", ("*.ipynb",))):
        for pattern in patterns:
            for path in (root / folder).rglob(pattern):
                assert not wrong.search(path.read_text(encoding="utf-8")), path


def test_ci_script_is_strict_and_runs_the_suite(root: Path) -> None:
    script = root / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text() and "make test" in script.read_text()
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_make_without_a_target_helps(root: Path) -> None:
    said = subprocess.run(["make"], cwd=root, capture_output=True, text=True, check=True).stdout
    for target in ("check", "test", "book", "bench", "clean", ".venv"):
        assert f"make {target} " in said
