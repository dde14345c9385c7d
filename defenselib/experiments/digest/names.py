"""Which names a piece of code binds, and what one stands for: something local, another definition, or foreign."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
# Nodes with a scope of their own: what they bind inside is not bound outside.
INNER = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.ExceptHandler, ast.MatchAs, ast.MatchStar)
Key = tuple[str, str]  # a definition: its module and its name
# A definition, the dotted name of a module or of something in a foreign package, or None: nothing that is known.
Meaning = Key | str | None


@dataclass(frozen=True)
class Imported:
    """What an import binds a name to: the module, or what the module calls `name`."""

    module: str
    name: str | None = None


Bound = dict[str, Imported | None]  # None: a variable, an argument, a function, a class


def for_checkers_only(node: ast.AST) -> bool:
    """`if TYPE_CHECKING:`, which never runs."""
    test = node.test if isinstance(node, ast.If) else None
    return "TYPE_CHECKING" in (getattr(test, "id", None), getattr(test, "attr", None))


def bound_by(statements: Iterable[ast.AST], package: str) -> Bound:
    """The names that these statements bind in their own scope; `package` is what relative imports start from."""
    found: Bound = {}
    elsewhere: set[str] = set()
    for node in _own(statements):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {name: what for name, what in imports(node, package) if name not in found}
        elif isinstance(node, ast.Global | ast.Nonlocal):
            elsewhere |= set(node.names)
        else:
            found |= dict.fromkeys(_names(node))
    return {name: what for name, what in found.items() if name not in elsewhere}


def arguments_of(node: Function) -> Iterator[ast.arg]:
    """All arguments of a function, in a fixed order."""
    given = node.args
    yield from (*given.posonlyargs, *given.args, *given.kwonlyargs)
    yield from (item for item in (given.vararg, given.kwarg) if item is not None)


def imports(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[tuple[str, Imported]]:
    """Every name that an import binds, with what it stands for."""
    if isinstance(node, ast.ImportFrom):
        parents = package.split(".")
        above = parents[: len(parents) - node.level + 1] if node.level else []
        module = ".".join([*above, *([node.module] if node.module else [])])
        yield from ((item.asname or item.name, Imported(module, item.name)) for item in node.names)
        return
    for item in node.names:
        if item.asname:
            yield item.asname, Imported(item.name)
        else:  # `import a.b` binds `a`
            root = item.name.partition(".")[0]
            yield root, Imported(root)


def _own(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """These nodes and all below them in the same scope, in no particular order."""
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, Comprehension):
            # An assignment expression in a comprehension binds in the scope around it.
            yield from (item.target for item in ast.walk(node) if isinstance(item, ast.NamedExpr))
        elif not isinstance(node, INNER) and not for_checkers_only(node):
            waiting += ast.iter_child_nodes(node)


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, _NAMED) and node.name:
        yield node.name
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest


class Scopes:
    """The scopes around the node that is looked at, within one module.

    meaning(module, name): what `from module import name` takes; without a name, the module.
    """

    def __init__(self, module: str, package: str, meaning: Callable[[str, str | None], Meaning]) -> None:
        self.package = package
        self._module = module
        self._meaning = meaning
        self._inner: list[tuple[Bound, bool]] = []  # innermost last; True: of a class, which functions do not see

    @contextmanager
    def within(self, bound: Bound, of_class: bool = False) -> Iterator[None]:
        """A scope that binds these names."""
        self._inner.append((bound, of_class))
        yield
        self._inner.pop()

    @property
    def in_class(self) -> bool:
        """Whether the innermost scope is the body of a class."""
        return bool(self._inner) and self._inner[-1][1]

    def look_up(self, name: str) -> tuple[str, Meaning]:
        """Where a name is bound ("local", "class" or "outer"), and what it stands for where it is not local."""
        for place, (bound, of_class) in enumerate(reversed(self._inner)):
            if name in bound and (place == 0 or not of_class):
                what = bound[name]
                if isinstance(what, Imported):
                    return "outer", self._meaning(what.module, what.name)
                # In the body of a class a name can be the module's until the class binds it.
                return ("class", self._meaning(self._module, name)) if of_class else ("local", None)
        return "outer", self._meaning(self._module, name)

    def resolve(self, node: ast.expr) -> Meaning:
        """What a name, or a chain of attributes that leads through modules, stands for; None for all else."""
        if isinstance(node, ast.Name):
            kind, meaning = self.look_up(node.id)
            return meaning if kind == "outer" else None
        if isinstance(node, ast.Attribute):
            below = self.resolve(node.value)
            return self._meaning(below, node.attr) if isinstance(below, str) else None
        return None
