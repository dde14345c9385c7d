"""The front end of papermill: parameters checked before anything runs, failing notebooks kept and named."""

from __future__ import annotations

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("papermill")

from defenselib.errors import InvalidValueError, UnknownNameError  # noqa: E402
from defenselib.report.execute import NotebookFailedError, check, execute, parameters_of  # noqa: E402

PARAMETERS = """profile: str = "smoke"  # how big
seeds: list[int] = [0]  # whole numbers
attacks: list[str] = []
rate: float = 0.05
run: bool = False
limit: "Optional[int]" = None
count = 3
"""


def write(path: Path, *cells: str, parameters: str = PARAMETERS, tag: str = "parameters") -> Path:
    first = nbformat.v4.new_code_cell(parameters, metadata={"tags": [tag]})
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = nbformat.v4.new_notebook(metadata=metadata)
    notebook.cells = [first, *(nbformat.v4.new_code_cell(cell) for cell in cells)]
    nbformat.write(notebook, path)
    return path


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    return write(tmp_path / "paper.ipynb", "assert count != 13, 'unlucky'\nprint(profile, seeds, attacks, rate, run)")


def test_parameters_are_read_with_types_defaults_and_remarks(notebook: Path) -> None:
    found = parameters_of(notebook)
    assert {name: item.kind for name, item in found.items()} == {
        "profile": str,
        "seeds": list[int],
        "attacks": list[str],
        "rate": float,
        "run": bool,
        "limit": int | None,
        "count": int,
    }
    assert found["profile"].default == '"smoke"'
    assert found["seeds"].help == "whole numbers"


def test_texts_become_typed_values(notebook: Path) -> None:
    given = {"profile": "laptop", "seeds": "0,1", "attacks": "badnets,blend", "run": "true", "limit": "none"}
    assert check(notebook, given) == {
        "profile": "laptop",
        "seeds": [0, 1],
        "attacks": ["badnets", "blend"],
        "run": True,
        "limit": None,
    }


def test_unknown_parameter_names_the_nearest(notebook: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"parameter of paper.*: 'attack'; did you mean 'attacks'"):
        check(notebook, {"attack": "badnets"})


def test_ill_typed_value_is_refused_before_anything_runs(notebook: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="parameter 'rate' is 'much', it must be a number"):
        execute(notebook, tmp_path / "out.ipynb", {"rate": "much"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["paper.ipynb"]


@pytest.mark.parametrize(
    ("parameters", "tag", "words"),
    [
        ("a = 1", "other", "no cell tagged 'parameters'"),
        ("a, b = 1, 2", "parameters", r"'a, b = \(1, 2\)' is no parameter; each is written as name: type = default"),
        ("a: dict = {}", "parameters", "parameter 'a': type 'dict' is not one that a parameter may have: str, int"),
        ("a = = 1", "parameters", "is not Python"),
    ],
)
def test_a_cell_that_cannot_be_read_is_an_error(tmp_path: Path, parameters: str, tag: str, words: str) -> None:
    with pytest.raises(InvalidValueError, match=words):
        parameters_of(write(tmp_path / "n.ipynb", parameters=parameters, tag=tag))


def test_a_notebook_without_a_kernel_is_an_error(notebook: Path) -> None:
    content = nbformat.read(notebook, as_version=4)
    del content.metadata["kernelspec"]
    nbformat.write(content, notebook)
    with pytest.raises(InvalidValueError, match="names no Python kernel"):
        parameters_of(notebook)


def test_a_missing_notebook_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="there is no notebook"):
        parameters_of(tmp_path / "none.ipynb")


@pytest.mark.slow
def test_success_failure_and_success_again(notebook: Path, tmp_path: Path) -> None:
    output = tmp_path / "deep" / "out.ipynb"
    assert execute(notebook, output, {"seeds": "4,5", "profile": "gpu"}, progress=False) == output
    text = output.read_text()
    assert "gpu [4, 5] [] 0.05 False" in text
    assert str(tmp_path) not in text, "the page does not tell where it was made"

    with pytest.raises(
        NotebookFailedError, match=r"paper.ipynb failed in cell \[\d\]: AssertionError: unlucky"
    ) as info:
        execute(notebook, output, {"count": "13"}, progress=False)
    assert info.value.kept == output.with_name("out.failed.ipynb")
    assert "unlucky" in info.value.kept.read_text()
    assert output.read_text() == text, "the last good one stays"

    execute(notebook, output, {}, progress=False)
    assert [path.name for path in output.parent.iterdir()] == ["out.ipynb"]


@pytest.mark.slow
def test_a_dead_kernel_is_a_failure_that_is_told(tmp_path: Path) -> None:
    deadly = write(tmp_path / "deadly.ipynb", "import os\nos._exit(1)")
    with pytest.raises(NotebookFailedError, match=r"deadly\.ipynb failed"):
        execute(deadly, tmp_path / "out.ipynb", {}, progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deadly.ipynb", "out.failed.ipynb"]


@pytest.mark.slow
def test_the_text_names_the_parameters_values(tmp_path: Path) -> None:
    path = write(tmp_path / "page.ipynb", "print(paper)", parameters='paper: str = "asd"')
    content = nbformat.read(path, as_version=4)
    content.cells.insert(0, nbformat.v4.new_markdown_cell("# Verdicts: {{ paper }}, {{ other }}"))
    content.cells[1].metadata["mystnb"] = {"figure": {"name": "bars-{{ paper }}"}}
    nbformat.write(content, path)
    for given, title in (({}, "ASD"), ({"paper": "dst_dbr"}, "D-ST and D-BR")):
        done = nbformat.read(execute(path, tmp_path / "out.ipynb", given, progress=False), as_version=4)
        figure = next(cell.metadata["mystnb"]["figure"] for cell in done.cells if "mystnb" in cell.metadata)
        assert figure["name"] == f"bars-{given.get('paper', 'asd')}"
        assert done.cells[0].source == f"# Verdicts: {title}, {{{{ other }}}}"
