"""The committed notebooks: no outputs, short cells, one typed parameters cell, words and pictures for everybody."""

from __future__ import annotations

import ast
from pathlib import Path

import nbformat
import pytest

from defenselib import papers

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path: Path) -> list:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def test_no_outputs_and_short_cells(path):
    for cell in code_cells(path):
        assert cell.outputs == []
        assert cell.execution_count is None
        assert len(cell.source.splitlines()) < 15, cell.source


def test_one_parameters_cell_of_typed_scalars_and_lists(path):
    (cell,) = (cell for cell in code_cells(path) if "parameters" in cell.metadata.get("tags", []))
    values = {}
    for line in ast.parse(cell.source).body:
        assert isinstance(line, ast.AnnAssign), "a parameter needs a type"
        assert line.value is not None
        values[line.target.id] = ast.literal_eval(line.value)
    # What trains shows a method that works, in minutes; what only reads shows the best there is.
    if path.stem in papers.available():
        assert values["profile"] == "demo" and values["run"] is True
    elif path.stem == "your_data":
        assert values["profile"] == "demo"
    elif "run" not in values:
        assert values.get("profile", "best") == "best"
    assert all(isinstance(value, str | int | float | bool | list) for value in values.values())


def test_no_algorithm_in_a_notebook(path):
    for cell in code_cells(path):
        nodes = list(ast.walk(ast.parse(cell.source)))
        assert not any(isinstance(node, ast.FunctionDef | ast.ClassDef | ast.While | ast.Lambda) for node in nodes)
        imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        assert not imported & {"torch", "numpy"}


DRAWING = (
    ".draw(",
    "charts.",
    "pictures.",
    "gallery.one_image",
    "gallery.before_after",
    "gallery.paper_figure",
    "board.pareto",
    "pages.bars",
    "changed.bars",
    "pages.times",
    "widgets.separation",
    "own_data.looks",
    "boxes.picture",
    "chapters.figure(",
    "regime.figure",
    "costs.shares",
)


def test_figures_have_captions_and_alt_texts(path):
    drawn = 0
    for cell in code_cells(path):
        shown = cell.metadata.get("mystnb", {})
        # What is glued for another page has its caption there.
        if any(words in cell.source for words in DRAWING) and "display=False" not in cell.source:
            drawn += 1
            assert shown["figure"]["caption"] and shown["figure"]["name"]
            assert len(shown["image"]["alt"]) > 20
    assert drawn or path.stem in ("findings", "questions"), "pages of answers have none, others do"


def test_no_toy_is_mentioned(path):
    text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
    mine = path.stem in (*papers.available(), "findings", "verdicts")
    assert not mine or "smoke" not in text


def test_a_chapter_answers_first_and_leads_to_the_rest(path):
    if path.stem not in papers.available():
        pytest.skip("not the notebook of a paper")
    cells = nbformat.read(path, as_version=4).cells
    sources = [cell.source for cell in cells]
    box = sources.index("boxes.box(paper.key)")
    assert sources[box + 1] == "boxes.picture(paper.key)"
    # Only the title and what is set up stand above.
    assert [cell.cell_type for cell in cells[:box]] == ["markdown", "code", "code"]
    assert sources[0].startswith("# ") and "##" not in sources[0]
    whole = "\n".join(sources)
    for heading in ("## The method", "## See it work", "## Where this differs", "## Exercises", "## Everything else"):
        assert heading in whole, heading
    assert whole.count("chapters.live(") == 1 and "widgets.split_threshold(" in whole
    assert f"(verdicts-{path.stem})" in sources[-1]
