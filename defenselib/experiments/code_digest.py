"""Which code made a result: a digest of the modules that decide its numbers, blind to comments and docstrings."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

from defenselib.attacks import ATTACKS
from defenselib.defenses import DEFENSES

PACKAGE = "defenselib"
# Modules that can change a number. Those above them (experiments, papers, ...) only ask and show.
COVERED = ("data", "learning", "models", "attacks", "defenses", "seeds")
ALWAYS = (f"{PACKAGE}.models", f"{PACKAGE}.learning.evaluation", f"{PACKAGE}.attacks.poisoning")


@cache
def code_digest(attack: str, defense: str, diagnostic: str | None = None) -> str:
    """16 hexadecimal digits over all covered modules that the attack, the defense, the models and the evaluation
    import, directly or not; "unknown" for a method that is no more."""
    if defense not in DEFENSES or attack not in ATTACKS:
        return "unknown"
    start = [*ALWAYS, DEFENSES[defense].__module__, ATTACKS[attack].__module__]
    if diagnostic is not None:
        start.append(f"{PACKAGE}.experiments.oracle")
    return digest_of_modules(*start)


@cache
def digest_of_modules(*start: str) -> str:
    """16 hexadecimal digits over these modules and all covered ones that they import, directly or not."""
    state = hashlib.sha256()
    for name in sorted(closure(list(start))):
        state.update(f"{name}\n{_digest_of_module(name)}\n".encode())
    return state.hexdigest()[:16]


@cache
def _digest_of_module(name: str) -> str:
    # Methods share most of their modules, and a status page asks for the digest of all of them.
    return digest_of_source(_source(name))


def modules_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """The modules in which a function, a method (its class and that one's bases) or a partial of one is written."""
    while isinstance(function, partial):
        function = function.func
    owner = getattr(function, "__self__", None)
    written = {function.__module__, *(cls.__module__ for cls in type(owner).__mro__ if owner is not None)}
    return tuple(sorted(name for name in written if name.split(".")[0] == PACKAGE))


def digest_of_source(text: str) -> str:
    """SHA-256 of a module's syntax tree without docstrings, the same in every Python version."""
    return hashlib.sha256(_canonical(ast.parse(text)).encode()).hexdigest()


def closure(start: list[str]) -> set[str]:
    """The modules of `start` and all covered ones that they import. Packages' `__init__` files are looked through, not
    counted: a new line in a registry changes no result."""
    found: set[str] = set()
    waiting = list(start)
    while waiting:
        name = waiting.pop()
        if name in found or _file(name) is None:
            continue
        found.add(name)
        waiting += [item for item in _imports(name) if item.split(".")[1] in COVERED]
    return found


@cache
def _imports(module: str) -> tuple[str, ...]:
    """Own modules that `module` imports."""
    return tuple(_imported(module))


def _imported(module: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(_source(module))):
        if isinstance(node, ast.Import):
            yield from (item.name for item in node.names if item.name.startswith(f"{PACKAGE}."))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == PACKAGE:
            for item in node.names:
                yield from _origin(node.module, item.name)


def _origin(module: str, name: str) -> Iterator[str]:
    """The module that `from module import name` takes `name` from, through packages' re-exports."""
    if _is_package(module):
        if _spec(f"{module}.{name}") is not None:
            yield f"{module}.{name}"
            return
        for node in ast.walk(ast.parse(_source(module))):
            if (
                isinstance(node, ast.ImportFrom)
                and node.module
                and any(name in (item.asname, item.name) for item in node.names)
            ):
                yield from _origin(node.module, name)
    elif module != PACKAGE:
        yield module


@cache
def _spec(name: str) -> Any:
    try:
        return importlib.util.find_spec(name)
    except (ModuleNotFoundError, ValueError):  # ValueError: a method defined in a notebook, of which there is no file
        return None


def _file(name: str) -> Path | None:
    """File of a module; None for packages and for what does not exist."""
    spec = _spec(name)
    return None if spec is None or spec.origin is None or _is_package(name) else Path(spec.origin)


def _is_package(name: str) -> bool:
    spec = _spec(name)
    return spec is not None and spec.submodule_search_locations is not None


def _source(name: str) -> str:
    origin = _spec(name).origin
    return "" if origin is None else Path(origin).read_text(encoding="utf-8")


def _canonical(node: Any) -> str:
    # Not ast.dump: its output differs between Python versions (empty lists, type parameters).
    if isinstance(node, ast.AST):
        fields = dict(ast.iter_fields(node))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            fields["body"] = _without_docstring(fields["body"])
        inside = ",".join(
            f"{name}={_canonical(value)}" for name, value in sorted(fields.items()) if value is not None and value != []
        )
        return f"{type(node).__name__}({inside})"
    if isinstance(node, list):
        return "[" + ",".join(map(_canonical, node)) + "]"
    return repr(node)


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0] if body else None
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return body[1:] if documented and isinstance(first.value.value, str) else body  # type: ignore[union-attr]
