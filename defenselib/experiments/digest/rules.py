"""What a digest does not look at: definitions that count by their name alone, and statements that can only raise."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from defenselib.experiments.digest.names import Key, Scopes

_OF_BASE = "super().__post_init__()"


@dataclass(frozen=True)
class Rules:
    """What is not looked into.

    errors: the module of the errors. checks: its functions that return one of their arguments or raise, with that
    argument's place and name; a call of one stands for the argument. outside: modules that count by the names that are
    taken from them. registries: dictionaries of which an entry counts where it is asked for.
    """

    errors: str = ""
    checks: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    outside: tuple[str, ...] = ()
    registries: tuple[Key, ...] = ()

    def opaque(self, key: Key) -> bool:
        """Whether a definition counts by its name alone."""
        left_out = [name for name in (self.errors, *self.outside) if name]
        return key in self.registries or any(f"{key[0]}.".startswith(f"{name}.") for name in left_out)

    def counts(self, node: ast.AST, scopes: Scopes) -> bool:
        """Whether a node can change a result that exists: such a result was not raised at."""
        match node:
            case ast.Pass() | ast.Import() | ast.ImportFrom():
                return False
            case ast.Expr():
                return not isinstance(node.value, ast.Constant) and self.checked(node.value, scopes) is None
            case ast.AnnAssign():
                return node.value is not None
            case ast.Raise():
                return node.exc is None or not self._ends(node.exc, scopes)
            case ast.Assert():
                return _binds(node.test)
            case ast.If():
                return _binds(node.test) or self._any([*node.body, *node.orelse], scopes)
            case ast.For():
                return _binds(node.iter) or self._any([*node.body, *node.orelse], scopes)
            case ast.FunctionDef(name="__post_init__"):
                return self._any([item for item in node.body if ast.unparse(item) != _OF_BASE], scopes)
        return True

    def checked(self, node: ast.expr, scopes: Scopes) -> ast.expr | None:
        """The argument that a call of a checker returns; None for any other expression."""
        meaning = scopes.resolve(node.func) if isinstance(node, ast.Call) else None
        if not isinstance(node, ast.Call) or not isinstance(meaning, tuple) or meaning[0] != self.errors:
            return None
        place, keyword = self.checks.get(meaning[1], (len(node.args), ""))
        named = [item.value for item in node.keywords if item.arg == keyword]
        return named[0] if named else node.args[place] if len(node.args) > place else None

    def _any(self, body: Sequence[ast.stmt], scopes: Scopes) -> bool:
        return any(self.counts(item, scopes) for item in body)

    def _ends(self, raised: ast.expr, scopes: Scopes) -> bool:
        """Whether raising this ends a run: an error of the package's or of Python's own. Others are ways to go on."""
        called = raised.func if isinstance(raised, ast.Call) else raised
        meaning = scopes.resolve(called)
        if isinstance(meaning, tuple):
            return meaning[0] == self.errors
        if meaning is not None or not isinstance(called, ast.Name) or scopes.look_up(called.id)[0] != "outer":
            return False
        own = getattr(builtins, called.id, None)
        return isinstance(own, type) and issubclass(own, Exception) and not issubclass(own, StopIteration)


def _binds(node: ast.expr) -> bool:
    """Whether evaluating this does more than to look."""
    return any(isinstance(item, ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom) for item in ast.walk(node))
