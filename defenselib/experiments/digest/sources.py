"""The texts of a package's modules, and the definitions that each of them holds."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from defenselib.experiments.digest.names import Bound, bound_by, for_checkers_only


class Sources:
    """A package as texts by dotted module name. `changed` stands in for what is on disk; None for a module: gone."""

    def __init__(self, folder: Path, changed: Mapping[str, str | None] | None = None) -> None:
        self._files = {_dotted(path.relative_to(folder.parent)): path for path in folder.rglob("*.py")}
        self._texts: dict[str, str | None] = dict(changed or {})

    def __contains__(self, module: str) -> bool:
        return self._texts[module] is not None if module in self._texts else module in self._files

    def text(self, module: str) -> str:
        """Raises KeyError for a module that is not there."""
        text = self._texts.get(module)
        return self._files[module].read_text(encoding="utf-8") if text is None else text

    def is_package(self, module: str) -> bool:
        """Whether other modules can lie in it."""
        if module in self._files:
            return self._files[module].name == "__init__.py"
        return any(name.startswith(f"{module}.") for name in (*self._files, *self._texts))

    def add(self, module: str, text: str) -> None:
        """Take in a module that does not lie in the package."""
        self._texts[module] = text


class Module:
    """One module: the nodes that define each of its names, and what its imports stand for.

    A name bound once by `name = value` is its value, a function or a class is itself; of any other name (bound twice,
    under a condition, changed in place) all statements at the top of the module that touch it are its definition.
    """

    def __init__(self, name: str, text: str, is_package: bool) -> None:
        self.name = name
        self.package = name if is_package else name.rpartition(".")[0]
        body = [node for node in ast.parse(text).body if not for_checkers_only(node)]
        self.imports: Bound = {key: what for key, what in bound_by(body, self.package).items() if what is not None}
        self.definitions: dict[str, list[ast.AST]] = {}
        for statement in body:
            for key, node in _defined(statement, self.package):
                if key not in self.imports:
                    self.definitions.setdefault(key, []).append(node)

    def entries(self, registry: str) -> dict[str, ast.AST]:
        """The values of a dictionary written out in the module, by those of its keys that are texts."""
        found = self.definitions.get(registry, [None])[0]
        if not isinstance(found, ast.Dict):
            return {}
        pairs = zip(found.keys, found.values, strict=True)
        return {
            key.value: value for key, value in pairs if isinstance(key, ast.Constant) and isinstance(key.value, str)
        }


def _dotted(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _defined(statement: ast.stmt, package: str) -> Iterator[tuple[str, ast.AST]]:
    """The names that a statement at the top of a module defines or changes, and by what."""
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    if isinstance(statement, ast.Assign | ast.AnnAssign) and all(map(_is_plain, targets)):
        for target in targets:
            if statement.value is not None:
                yield from _assigned(target, statement.value)
        return
    names = {name for name, what in bound_by([statement], package).items() if what is None}
    yield from ((name, statement) for name in sorted(names | set(_changed(statement))))


def _is_plain(target: ast.expr | None) -> bool:
    return isinstance(target, ast.Name) or (isinstance(target, ast.Tuple) and all(map(_is_plain, target.elts)))


def _assigned(target: ast.expr | None, value: ast.expr) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple):
        pairwise = isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts)
        pairwise = pairwise and not any(isinstance(item, ast.Starred) for item in value.elts)  # type: ignore[attr-defined]
        for place, item in enumerate(target.elts):
            part = value.elts[place] if pairwise else ast.Tuple([value, ast.Constant(place)])  # type: ignore[attr-defined]
            yield from _assigned(item, part)


def _changed(statement: ast.stmt) -> Iterator[str]:
    """Names that are changed in place: `TABLE["key"] = value`, `TABLE.update(more)`."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return
    parts = [node for node in ast.walk(statement) if isinstance(node, ast.Subscript | ast.Attribute)]
    called = statement.value.func if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call) else None
    for node in parts:
        if node is called or not isinstance(node.ctx, ast.Load):
            inner: ast.expr = node
            while isinstance(inner, ast.Subscript | ast.Attribute):
                inner = inner.value
            if isinstance(inner, ast.Name):
                yield inner.id
