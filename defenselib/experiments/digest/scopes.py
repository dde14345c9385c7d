"""What a name in a definition stands for: something local, another definition, or something foreign."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from defenselib.experiments.digest.names import Bound, Imported

Key = tuple[str, str]  # a definition: its module and its name
# A definition, the dotted name of a module or of something in a foreign package, or None: nothing that is known.
Meaning = Key | str | None


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
