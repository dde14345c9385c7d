"""A notebook as a program with parameters: read from its file, each parameter with type and default."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from defenselib.errors import DefenseLibError, InvalidValueError, unknown
from defenselib.report.parameters import convert, parse_kind


class JupyterMissingError(DefenseLibError, ImportError):
    """A package of the extra `book` is not installed."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a notebook: its type as Python knows it, its default as it is written."""

    name: str
    kind: Any
    default: str

    @property
    def value(self) -> Any:
        """The default as a value; an expression stays as it is written."""
        try:
            return ast.literal_eval(self.default)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return self.default


@contextmanager
def needed(said: str) -> Iterator[None]:
    """Inside, an import that fails raises JupyterMissingError. said: as in "notebooks need packages that are"."""
    try:
        yield
    except ImportError as error:
        raise JupyterMissingError(f"{said} not installed ({error.name}): pip install defenselib[book]") from error


def need_jupyter() -> None:
    """Errors: JupyterMissingError where notebooks cannot be executed."""
    with needed("notebooks need packages that are"):
        import ipykernel  # noqa: F401
        import nbformat  # noqa: F401
        import papermill  # noqa: F401


def read(notebook: Path) -> Any:
    """A notebook's content. Errors: InvalidValueError, naming the file, for what is none."""
    need_jupyter()
    import nbformat

    if notebook.is_dir():
        raise InvalidValueError(f"{notebook} is a folder; name a notebook in it")
    if not notebook.is_file():
        raise InvalidValueError(f"there is no notebook {notebook}")
    try:
        text = notebook.read_text(encoding="utf-8-sig")
        if any(line.startswith("<<<<<<< ") for line in text.splitlines()):
            raise InvalidValueError(f"{notebook} has an unresolved merge conflict")
        content = json.loads(text)
        if not isinstance(content, dict) or ("cells" not in content and "worksheets" not in content):
            raise InvalidValueError(f"{notebook} is not a notebook: it has no cells")
        found = nbformat.reads(text, as_version=4)
        nbformat.validate(found)
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, InvalidValueError):
            raise
        reason = "it is empty" if notebook.stat().st_size == 0 else str(error).splitlines()[0] if str(error) else error
        raise InvalidValueError(f"{notebook} is not a notebook ({reason})") from error
    except nbformat.ValidationError as error:
        raise InvalidValueError(f"{notebook} is not a notebook ({str(error).splitlines()[0]})") from error
    return found


def parameters_of(notebook: Path) -> dict[str, Parameter]:
    """The parameters of a notebook, from its cell tagged `parameters`.

    Raises InvalidValueError if there is no such notebook or cell, or the cell has a line that is no parameter.
    """
    content = read(notebook)
    metadata = content.metadata
    language = metadata.get("kernelspec", {}).get("language") or metadata.get("language_info", {}).get("name")
    if language != "python":
        raise InvalidValueError(f"{notebook} names no Python kernel in its metadata (language: {language})")
    for cell in content.cells:
        if cell.cell_type == "code" and "parameters" in cell.metadata.get("tags", []):
            return _parameters(str(cell.source), notebook)
    raise InvalidValueError(f"{notebook} has no cell tagged 'parameters'")


def check(notebook: Path, given: Mapping[str, str]) -> dict[str, Any]:
    """Typed values for the texts in `given`; an unknown name or an ill-typed text raises before anything runs."""
    known = parameters_of(notebook)
    values = {}
    for name, text in given.items():
        if name not in known:
            raise unknown(f"parameter of {notebook.name}:", name, known)
        values[name] = convert(text, known[name].kind, f"parameter {name!r}")
        if values[name] in ([], ()):
            raise InvalidValueError(f"parameter {name!r} is empty; leave it out for what it is without")
    return values


def _parameters(source: str, notebook: Path) -> dict[str, Parameter]:
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError) as error:
        raise InvalidValueError(f"{notebook}: the parameters cell is not Python: {error}") from error
    found = {}
    for line in body:
        if isinstance(line, ast.Import | ast.ImportFrom | ast.Expr):
            continue
        annotation = ""
        match line:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=kind, value=value) if value is not None:
                annotation = ast.unparse(kind)
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                pass
            case _:
                said = ast.unparse(line).splitlines()[0]
                raise InvalidValueError(
                    f"{notebook}: {said!r} is no parameter; each is written as name: type = default"
                )
        default = ast.get_source_segment(source, value) or ast.unparse(value)
        try:
            read_as = parse_kind(annotation, default)
        except InvalidValueError as error:
            raise InvalidValueError(f"{notebook}: parameter {name!r}: {error}") from error
        found[name] = Parameter(name, read_as, default)
    return found
