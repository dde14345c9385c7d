"""Runs a parameterized notebook with papermill: parameters are checked first, a failing notebook is kept.

papermill itself only prints a message about an unknown parameter and enforces no types.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from defenselib.errors import DefenseLibError, InvalidValueError, unknown
from defenselib.plots.style import label
from defenselib.report.parameters import convert, parse_kind

MENTIONED = re.compile(r"{{ *(\w+) *}}")
# A kernel imports torch before it answers; on a machine that is busy with a training papermill's minute is too short.
START_SECONDS = 300
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class JupyterMissingError(DefenseLibError, ImportError):
    """The packages that execute notebooks are not installed."""


class NotebookFailedError(DefenseLibError):
    """A cell raised; `kept` is the notebook with the error in it, None if it did not even start."""

    def __init__(self, message: str, kept: Path | None) -> None:
        super().__init__(message)
        self.kept = kept


@dataclass(frozen=True)
class Parameter:
    """One parameter of a notebook: its type as Python knows it, its default and remark as they are written."""

    name: str
    kind: Any
    default: str
    help: str


def parameters_of(notebook: Path) -> dict[str, Parameter]:
    """The parameters of a notebook, from its cell tagged `parameters`.

    Raises InvalidValueError if there is no such notebook or cell, or the cell has a line that papermill cannot read.
    """
    papermill = _papermill()
    if not notebook.is_file():
        raise InvalidValueError(f"there is no notebook {notebook}")
    source = _parameter_source(notebook)
    try:
        found = papermill.inspect_notebook(str(notebook))
    except ValueError as error:
        raise InvalidValueError(f"{notebook} names no Python kernel in its metadata ({error})") from error
    for name in _assigned(source, notebook):
        if name not in found:
            raise InvalidValueError(f"{notebook}: the line of parameter {name!r} is not one that papermill can read")
    return {
        name: Parameter(name, parse_kind(item["inferred_type_name"], item["default"]), item["default"], item["help"])
        for name, item in found.items()
    }


def check(notebook: Path, given: Mapping[str, str]) -> dict[str, Any]:
    """Typed values for the texts in `given`; an unknown name or an ill-typed text raises before anything runs."""
    known = parameters_of(notebook)
    for name in given:
        if name not in known:
            raise unknown(f"parameter of {notebook.name}:", name, known)
    return {name: convert(text, known[name].kind, f"parameter {name!r}") for name, text in given.items()}


def execute(notebook: Path, output: Path, given: Mapping[str, str], *, progress: bool = True) -> Path:
    """Execute `notebook` with the parameters `given` (texts) into `output`, which appears only if every cell ran.

    Otherwise the notebook as far as it came stays beside it as NAME.failed.ipynb, and NotebookFailedError says where
    and why. Relative paths in the notebook start from the current folder.
    """
    papermill = _papermill()
    values = check(notebook, given)
    output.parent.mkdir(parents=True, exist_ok=True)
    # A dot hides it from the book, the process id keeps two executions apart; a killed one leaves only this behind.
    temporary = output.with_name(f".{output.stem}.{os.getpid()}.tmp.ipynb")
    failed = output.with_name(f"{output.stem}.failed.ipynb")
    try:
        papermill.execute_notebook(
            str(notebook),
            str(temporary),
            parameters=values,
            kernel_name="python3",
            progress_bar=progress,
            start_timeout=START_SECONDS,
        )
        _finish(temporary, notebook, output)
        temporary.replace(output)
    except papermill.PapermillExecutionError as error:
        reason = COLOURS.sub("", f"{error.ename}: {error.evalue}")
        raise _failure(f"{notebook.name} failed in cell [{error.exec_count}]: {reason}", temporary, failed) from error
    except Exception as error:
        # The kernel died or did not start: what papermill had written by then is kept all the same.
        raise _failure(f"{notebook.name} failed: {error}", temporary, failed) from error
    finally:
        temporary.unlink(missing_ok=True)
    failed.unlink(missing_ok=True)
    return output


def _finish(executed: Path, notebook: Path, output: Path) -> None:
    """Put names in place of the paths that papermill records (they are of this machine, and one is temporary), and the
    values of the parameters into texts (as readers know them) and names of figures."""
    import nbformat

    content = nbformat.read(executed, as_version=4)
    record = content.metadata["papermill"]
    record.update(input_path=notebook.name, output_path=output.name)
    defaults = {name: _value(one.default) for name, one in parameters_of(notebook).items()}
    values = {**defaults, **record["parameters"]}
    for cell in content.cells:
        if cell.cell_type == "markdown":
            cell.source = fill(cell.source, {name: label(str(value)) for name, value in values.items()})
        figure = cell.metadata.get("mystnb", {}).get("figure", {})
        if "name" in figure:
            figure["name"] = fill(figure["name"], {name: str(value) for name, value in values.items()})
    nbformat.write(content, executed)


def _value(default: str) -> Any:
    try:
        return ast.literal_eval(default)
    except ValueError:  # an expression; it is shown as it is written
        return default


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with the value in place of every {{ parameter }}: pages that one notebook makes for several papers need
    titles, and their figures names, of their own. What is no parameter stays."""
    return MENTIONED.sub(lambda found: values.get(found[1], found[0]), text)


def _failure(message: str, temporary: Path, failed: Path) -> NotebookFailedError:
    if not temporary.exists():
        return NotebookFailedError(message, None)
    temporary.replace(failed)
    return NotebookFailedError(f"{message}\nthe notebook as far as it came: {failed}", failed)


def _papermill() -> Any:
    try:
        import papermill
    except ImportError as error:
        raise JupyterMissingError(
            f"notebooks need packages that are not installed ({error.name}): pip install defenselib[book]"
        ) from error
    return papermill


def _parameter_source(notebook: Path) -> str:
    import nbformat

    for cell in nbformat.read(notebook, as_version=4).cells:
        if cell.cell_type == "code" and "parameters" in cell.metadata.get("tags", []):
            return str(cell.source)
    raise InvalidValueError(f"{notebook} has no cell tagged 'parameters'")


def _assigned(source: str, notebook: Path) -> list[str]:
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        raise InvalidValueError(f"{notebook}: the parameters cell is not Python: {error}") from error
    names = []
    for line in body:
        targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
        names += [target.id for target in targets if isinstance(target, ast.Name)]
    return names
