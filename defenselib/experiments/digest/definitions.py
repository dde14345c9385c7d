"""Digests of definitions over all that they reach, blind to where a definition stands and what it is called."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Mapping
from functools import lru_cache

from defenselib.experiments.digest.canonical import Canonical, Token
from defenselib.experiments.digest.names import Imported, Key, Meaning, Scopes
from defenselib.experiments.digest.rules import Rules
from defenselib.experiments.digest.sources import Module, Sources


class Definitions:
    """`digest(key)` of a function, a class, a constant or an entry of a registry: key is its module and its name,
    "REGISTRY[entry]" for an entry. Everything is read and worked out once."""

    def __init__(self, sources: Sources, rules: Rules | None = None) -> None:
        self.sources = sources
        self._rules = rules or Rules()
        self._modules: dict[str, Module] = {}
        self._tokens: dict[Key, list[Token]] = {}
        self._digests: dict[Key, str] = {}

    def __contains__(self, key: Key) -> bool:
        return key[0] in self.sources and bool(self._nodes(key))

    def digest(self, key: Key) -> str:
        """SHA-256 of the definition and of all that it reaches. Raises KeyError for one that is not there."""
        if key not in self:
            raise KeyError(f"{key[0]} defines no {key[1]}")
        if key not in self._digests:
            self._walk(key, {}, [])
        return self._digests[key]

    def reach(self, *start: Key) -> set[Key]:
        """These definitions and all that they refer to, directly or not."""
        found: set[Key] = set()
        waiting = list(start)
        while waiting:
            key = waiting.pop()
            if key not in found:
                found.add(key)
                waiting += _references(self._written(key))
        return found

    def meaning(self, module: str, name: str | None) -> Meaning:
        """What `from module import name` takes, through re-exports; without a name, the module."""
        if name is None:
            return module
        if module not in self.sources:
            return f"{module}.{name}"
        here = self._module(module)
        if name in here.definitions:
            return module, name
        imported = here.imports.get(name)
        if imported is not None and imported != Imported(module, name):
            return self.meaning(imported.module, imported.name)
        return f"{module}.{name}" if f"{module}.{name}" in self.sources else None

    def _module(self, name: str) -> Module:
        if name not in self._modules:
            self._modules[name] = _parsed(name, self.sources.text(name), self.sources.is_package(name))
        return self._modules[name]

    def _nodes(self, key: Key) -> list[ast.AST]:
        module, (name, _, entry) = self._module(key[0]), key[1].partition("[")
        if not entry:
            return module.definitions.get(name, [])
        found = module.entries(name).get(entry.removesuffix("]"))
        return [] if found is None else [found]

    def _written(self, key: Key) -> list[Token]:
        if key not in self._tokens:
            writer = Canonical(self._rules, Scopes(key[0], self._module(key[0]).package, self.meaning))
            for node in self._nodes(key):
                writer.definition(node)
            self._tokens[key] = writer.tokens
        return self._tokens[key]

    def _walk(self, key: Key, low: dict[Key, int], path: list[Key]) -> int:
        """Tarjan's algorithm: gives digests to `key` and all below it, circles of references at once."""
        here = low[key] = len(low)
        path.append(key)
        for other in _references(self._written(key)):
            if other not in self._digests:
                # One that has no digest though it was met before waits on the path: it is part of a circle.
                low[key] = min(low[key], low[other] if other in low else self._walk(other, low, path))
        if low[key] == here:
            circle = path[path.index(key) :]
            del path[len(path) - len(circle) :]
            self._digests |= self._settled(circle)
        return low[key]

    def _settled(self, circle: list[Key]) -> dict[Key, str]:
        """Digests of definitions that refer to one another: in every round, each takes in those of the round before."""
        found = dict.fromkeys(circle, "circle")
        for _ in circle:
            found = {key: _hash(self._written(key), {**self._known(key), **found}) for key in circle}
        return found

    def _known(self, key: Key) -> dict[Key, str]:
        return {other: self._digests.get(other, "") for other in _references(self._written(key))}


@lru_cache(maxsize=512)
def _parsed(name: str, text: str, is_package: bool) -> Module:
    # Sources that differ in one module share all others.
    return Module(name, text, is_package)


def _references(tokens: list[Token]) -> list[Key]:
    return list(dict.fromkeys(token for token in tokens if isinstance(token, tuple)))


def _hash(tokens: list[Token], digests: Mapping[Key, str]) -> str:
    parts = (f"-> {digests[token]}" if isinstance(token, tuple) else token for token in tokens)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
