"""Statements made of others.

`both`, `most`, `one`, `one_each` say of how many cells; `along("epoch", "last", ...)` looks at the end of curves,
`combined("acc - asr", {...}, ...)` at a sum of metrics; `Check` is for what nothing else says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from defenselib.papers.kit.claims import NAMED, Point, Statement, any_point, most_points
from defenselib.papers.kit.statements import All, Change, Every, on
from defenselib.papers.kit.view import View
from defenselib.plots import words

HALF = "nothing decides the rest of the sentence"


@dataclass(frozen=True)
class Both(All):
    parts: tuple[Statement, ...]

    @property
    def rule(self) -> str:
        return "; ".join(part.rule for part in self.parts)

    def points(self, view: View) -> list[Point]:
        found: list[tuple[Statement, list[Point]]] = []
        decided: set[Any] = set()
        for part in self.parts:
            mine = part.points(view)
            if any(point.state in ("true", "false") for point in mine):
                decided.add(_kind(part))
            # A part that is no sentence on all of its cells counts as one cell.
            mine = mine if _of_all(part) else [as_one(mine, part.decide(mine))]
            cells = _without_bound(part)
            twin = next((points for other, points in found if other == cells), None)
            if twin is None:
                found.append((cells, mine))
            else:
                twin[:] = map(_worse, twin, mine)
        told = [point for _, points in found for point in points]
        if decided == set(map(_kind, self.parts)) or any(point.state == "false" for point in told):
            return told
        # Half a sentence is none, however true.
        return [replace(point, state="open", why=HALF) if point.state == "true" else point for point in told]


def _kind(part: Statement) -> Any:
    """What a part says, wherever: a sentence on many pairs of attacks has one part for each of them."""
    while isinstance(part, _Seen):
        part = part.inner
    return type(part), getattr(part, "metric", ""), getattr(part, "op", "")


def _without_bound(part: Statement) -> Statement:
    """What a part speaks of: two bounds on the same numbers, one from below and one from above, share their cells."""
    return replace(part, op="", bound=0.0) if isinstance(part, Every | Change) else part


def _worse(one: Point, two: Point) -> Point:
    """Of a cell under two bounds, what it says of both: against, missing, or undecided, where it is that of one."""
    return min(one, two, key=lambda point: ("false", "absent", "open", "true").index(point.state))


def _of_all(part: Statement) -> bool:
    return isinstance(part, All) or (isinstance(part, _Seen) and not part.counted and _of_all(part.inner))


def both(*parts: Statement) -> Both:
    """All of these statements."""
    return Both(parts)


def as_one(points: Sequence[Point], outcome: str) -> Point:
    """Several points as the one that their outcome makes."""
    state = {"holds": "true", "fails": "false", "not run": "absent"}.get(outcome, "open")
    values = [point.value for point in points if point.value]
    true = sum(point.state == "true" for point in points)
    said = ", ".join(values) if len(values) <= NAMED else f"{true} of {len(points)} cells"
    return Point(state, said, points[0].where if points else {})  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Seen:
    """A statement on another view of the numbers, or on so many of its cells. said: its rule, around that of the inner
    one. counted: what decides, where it is not the inner one."""

    inner: Statement
    said: str = "{}"
    see: Callable[[View], View] = lambda view: view
    counted: Callable[[Sequence[Point]], str] | None = None

    @property
    def rule(self) -> str:
        return self.said.format(self.inner.rule)

    def points(self, view: View) -> list[Point]:
        return self.inner.points(self.see(view))

    def decide(self, points: Sequence[Point]) -> str:
        return (self.counted or self.inner.decide)(points)


def most(inner: Statement) -> Statement:
    """True of more than half of the cells."""
    return _Seen(inner, "in most cells: {}", counted=most_points)


def one(inner: Statement) -> Statement:
    """True of one cell at least."""
    return _Seen(inner, "in one cell at least: {}", counted=any_point)


@dataclass(frozen=True)
class _OneEach(All):
    axis: str
    inner: Statement

    @property
    def rule(self) -> str:
        return f"for each {words.axis(self.axis)} once at least: {self.inner.rule}"

    def points(self, view: View) -> list[Point]:
        groups: dict[Any, list[Point]] = {}
        for point in self.inner.points(view):
            groups.setdefault(point.where.get(self.axis), []).append(point)
        made = [as_one(mine, any_point(mine)) for mine in groups.values()]
        return [Point(p.state, p.value, {self.axis: name}, p.why) for name, p in zip(groups, made, strict=True)]


def one_each(axis: str, inner: Statement) -> Statement:
    """For each value of an axis true of one cell at least."""
    return _OneEach(axis, inner)


def along(axis: str, how: str, inner: Statement, **where: Any) -> Statement:
    """On the first, last, mean, sum, max, min or span of the numbers along an axis; where: over these rows alone."""
    parts = "; ".join(on(key, value) for key, value in where.items())
    said = f"{how} over {words.axis(axis)}" + (f": {parts}" if parts else "")
    return _Seen(inner, f"{{}} ({said})", lambda view: (view.only(**where) if where else view).reduced(axis, how))


def combined(name: str, weights: Mapping[str, float], inner: Statement) -> Statement:
    """On a weighted sum of metrics, called `name` in the inner statement."""
    return _Seen(inner, see=lambda view: view.derived(name, weights))


@dataclass(frozen=True)
class Check(All):
    """What no other expression says. rule: in words. find: the points of a view."""

    rule: str
    find: Callable[[View], list[Point]]

    def points(self, view: View) -> list[Point]:
        return self.find(view)
