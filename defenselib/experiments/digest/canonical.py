"""A definition as a text that says what it computes.

Left out: comments, docstrings, annotations, imports, the order of methods, the name of the definition itself, and what
can only raise. Names stand for what they mean: a local name for itself, another for a definition, a name of a foreign
package for its full dotted name, whatever alias it was imported by.
"""

from __future__ import annotations

import ast

from defenselib.experiments.digest.names import Comprehension, Function, Key, Meaning, Scopes, arguments_of, bound_by
from defenselib.experiments.digest.rules import Rules

Token = str | Key
CAN_RAISE = (ast.Raise, ast.Assert, ast.Expr, ast.If, ast.For)
SILENT = ("ctx", "kind", "type_comment", "type_params", "annotation", "returns")


class Canonical:
    """Writes the nodes of one definition as `tokens`: texts, and keys of the definitions that it refers to."""

    def __init__(self, rules: Rules, scopes: Scopes) -> None:
        self.tokens: list[Token] = []
        self._rules = rules
        self._scopes = scopes
        self._caught = False  # inside a `try` after which an error is no end

    def definition(self, node: ast.AST) -> None:
        """Write a definition at the top of a module without its own name."""
        if isinstance(node, ast.ClassDef):
            self._class(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            self._function(node)
        else:
            self._node(node)

    def _node(self, node: ast.AST) -> None:
        match node:
            case ast.Name():
                self._name(node.id)
            case ast.Attribute():
                self._attribute(node)
            case ast.Constant():
                self.tokens.append(repr(node.value))
            case ast.ClassDef():
                self.tokens.append(node.name)
                self._class(node)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self.tokens.append(node.name)
                self._function(node)
            case ast.Lambda():
                self._function(node)
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                self._comprehension(node)
            case ast.JoinedStr():
                # Python 3.12 puts empty texts between the parts.
                self._field("JoinedStr", [item for item in node.values if getattr(item, "value", None) != ""])
            case ast.Try():
                self._try(node)
            case ast.Call() if (stands_for := self._stands_for(node)) is not None:
                self._node(stands_for)
            case ast.AnnAssign(value=ast.expr() as value) if not self._scopes.in_class:
                self._plain(ast.Assign([node.target], value))
            case _:
                self._plain(node)

    def _plain(self, node: ast.AST) -> None:
        # Not ast.dump: its output differs between Python versions (empty lists, type parameters).
        self.tokens.append(f"{type(node).__name__}(")
        for name, value in sorted(ast.iter_fields(node)):
            if name not in SILENT and value is not None:
                self._field(name, value)
        self.tokens.append(")")

    def _field(self, name: str, value: object) -> None:
        if not isinstance(value, list):
            self.tokens.append(f"{name}=")
            self._item(value)
        elif items := [item for item in value if self._counts(item)]:
            self.tokens.append(f"{name}=[")
            for item in items:
                self._item(item)
            self.tokens.append("]")

    def _counts(self, item: ast.AST) -> bool:
        return self._rules.counts(item, self._scopes) or (self._caught and isinstance(item, CAN_RAISE))

    def _item(self, value: object) -> None:
        if isinstance(value, ast.AST):
            self._node(value)
        else:
            self.tokens.append(repr(value))

    def _function(self, node: Function) -> None:
        self.tokens.append(f"{type(node).__name__}(")
        # Decorators and defaults are worked out in the scope around the function.
        self._field("decorators", getattr(node, "decorator_list", []))
        self._field("defaults", node.args.defaults)
        self._field("keyword defaults", node.args.kw_defaults)
        arguments = [item.arg for item in arguments_of(node)]
        kinds = [bool(node.args.vararg), bool(node.args.kwarg), len(node.args.posonlyargs), len(node.args.kwonlyargs)]
        self.tokens.append(f"{arguments}{kinds}")
        body: list[ast.AST] = [node.body] if isinstance(node, ast.Lambda) else [*node.body]
        with self._scopes.within(bound_by(body, self._scopes.package) | dict.fromkeys(arguments)):
            self._field("body", body)
        self.tokens.append(")")

    def _try(self, node: ast.Try) -> None:
        self.tokens.append("Try(")
        before = self._caught
        self._caught = before or not all(isinstance(item.body[-1], ast.Raise) for item in node.handlers)
        self._field("body", node.body)
        self._caught = before
        for name in ("handlers", "orelse", "finalbody"):
            self._field(name, getattr(node, name))
        self.tokens.append(")")

    def _class(self, node: ast.ClassDef) -> None:
        self.tokens.append("ClassDef(")
        for name in ("decorator_list", "bases", "keywords"):
            self._field(name, getattr(node, name))
        methods = [item for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)]
        others = [item for item in node.body if item not in methods]
        if node.decorator_list or any(ast.unparse(base).endswith("NamedTuple") for base in node.bases):
            # A field without a default is part of the constructor: it counts though it only has an annotation.
            bare = [item for item in others if isinstance(item, ast.AnnAssign) and item.value is None]
            self.tokens += [f"field {ast.unparse(item.target)}" for item in bare]
        with self._scopes.within(bound_by(node.body, self._scopes.package), of_class=True):
            self._field("body", others)
            self._field("methods", sorted(methods, key=lambda item: item.name))
        self.tokens.append(")")

    def _comprehension(self, node: Comprehension) -> None:
        self.tokens.append(f"{type(node).__name__}(")
        self._node(node.generators[0].iter)  # in the scope around it
        with self._scopes.within(bound_by([item.target for item in node.generators], self._scopes.package)):
            for place, item in enumerate(node.generators):
                self._node(item.target)
                if place:
                    self._node(item.iter)
                self._field("ifs", item.ifs)
            for name in ("key", "value", "elt"):
                if hasattr(node, name):
                    self._field(name, getattr(node, name))
        self.tokens.append(")")

    def _name(self, name: str) -> None:
        kind, meaning = self._scopes.look_up(name)
        if kind != "outer":
            self.tokens.append(f"{kind} {name}")
        if kind == "outer" or meaning is not None:
            self._refer(name, meaning)

    def _attribute(self, node: ast.Attribute) -> None:
        meaning = self._scopes.resolve(node)
        if meaning is not None:
            self._refer(node.attr, meaning)
        else:
            self._node(node.value)
            self.tokens.append(f".{node.attr}")

    def _refer(self, name: str, meaning: Meaning) -> None:
        if isinstance(meaning, tuple):
            self.tokens.append(f"outside {meaning[1]}" if self._rules.opaque(meaning) else meaning)
        else:
            self.tokens.append(f"name {meaning or name}")

    def _stands_for(self, node: ast.Call) -> ast.expr | None:
        """The expression that a call only hands on."""
        if len(node.args) == 2 and self._scopes.resolve(node.func) == "typing.cast":
            return node.args[1]
        return None if self._caught else self._rules.checked(node, self._scopes)
