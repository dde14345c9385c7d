"""The expressions that claims are made of. Each names cells by column and says what must be true of each.

`every("asr", "<=", LOW, defense="asd")`: numbers against a bound. `change("acc", "defense", "none", "asd", ">=", -5)`:
a difference, seed by seed, outside the seeds' spread. `leads("acc", "asd", others)`: the best of several in every cell.
How they are joined, counted and shifted to other numbers is in `compound`.

A bound may be a pair (at laptop, at gpu and paper): where numbers are compared, the paper's own bound counts.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from defenselib.papers.kit.claims import Point, every_point
from defenselib.papers.kit.verdict import ASR_LOW, WITHIN, blind, near
from defenselib.papers.kit.view import Not, View
from defenselib.plots import words

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
Bound = float | tuple[float, float]
Row = Mapping[str, Any]
SAME_PLACE = ("dataset", "attack")


def low(printed: float) -> Bound:
    """A low ASR: at laptop what every table calls low; where numbers are compared, what the paper prints at most."""
    return ASR_LOW, printed


def bound_at(bound: Bound, mode: str) -> float:
    return bound if isinstance(bound, int | float) else bound[0 if mode == "order" else 1]


@dataclass(frozen=True)
class All:
    """A statement on all of its points."""

    def decide(self, points: Sequence[Point]) -> str:
        return every_point(points)


@dataclass(frozen=True)
class Every(All):
    metric: str
    op: str
    bound: Bound
    where: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rule(self) -> str:
        return f"{_metric(self.metric)} {self.op} {_bound(self.bound)}{_words(self.where)}"

    def points(self, view: View) -> list[Point]:
        limit = bound_at(self.bound, view.mode)
        rough = view.mode == "order"  # where numbers are compared the bounds are the paper's own, without a spread
        return [self._point(row, limit, view.keys, rough) for row in view.select(self.metric, **self.where)]

    def _point(self, row: Row, limit: float, keys: Sequence[str], rough: bool) -> Point:
        if _missing(row):
            return _absent(row, keys)
        value = float(row["reproduced"])
        true = OPERATORS[self.op](round(value, 6), limit)
        # Of what is made of an ASR (ACC minus ASR), nothing counts behind a closed gate; an ACC alone has none.
        rests = true == self.op.startswith("<") if self.metric == "asr" else True
        why = str(row["gate"]) if rests else ""
        if self.metric == "asr" and true == self.op.startswith(">"):
            why = why or blind(value, row["false_target"], row["spread"])
        why = why or (near(value, limit, row["spread"]) if rough else "")
        if true and not (words.missing(row["published"]) or OPERATORS[self.op](row["published"], limit)):
            why = why or f"where the paper prints {row['published']:g}"  # it speaks of another cell than this
        return _settled(true, f"{value:.2f}", _where(row, keys), why)


def every(metric: str, op: str, bound: Bound, **where: Any) -> Every:
    """Every number of the metric that `where` names stands so to the bound. A low ASR counts only with an open gate."""
    return Every(metric, op, bound, where)


@dataclass(frozen=True)
class Change(All):
    metric: str
    first: Mapping[str, Any]
    second: Mapping[str, Any]
    op: str
    bound: Bound
    where: Mapping[str, Any]

    @property
    def rule(self) -> str:
        steps = " to ".join(" and ".join(on(k, v) for k, v in side.items()) for side in (self.first, self.second))
        bound = _bound(self.bound, signed=True)
        return f"change of {_metric(self.metric)} from {steps} {self.op} {bound}{_words(self.where)}"

    def points(self, view: View) -> list[Point]:
        chosen = {**self.first, **self.second}
        keys = [key for key in view.keys if key not in chosen]
        listed = [view.select(self.metric, **{**self.where, **side}) for side in (self.first, self.second)]
        keys = _telling(listed, keys)
        sides = [{_key(row, keys): row for row in rows} for rows in listed]
        # A cell that only one side has in print is no pair; one that the other side has elsewhere on an axis lacks one.
        both = [key for key in sides[0] if key in sides[1]]
        limit = bound_at(self.bound, view.mode)
        points = [self._point(sides[0][key], sides[1][key], limit, keys) for key in both]
        first, second = ({key: row for key, row in side.items() if key not in both} for side in sides)
        points += _unpaired(first, second, keys)
        steps = {k: f"{words.value(self.first.get(k), k)} → {words.value(v, k)}" for k, v in self.second.items()}
        return [replace(point, where={**point.where, **steps}) for point in points]

    def _point(self, one: Row, two: Row, limit: float, keys: Sequence[str]) -> Point:
        if _missing(one) or _missing(two):
            return _absent(one if _missing(one) else two, keys)
        step, spread = difference(one, two)
        value = f"{float(one['reproduced']):.2f} to {float(two['reproduced']):.2f}"
        true, chance = OPERATORS[self.op](round(step, 6), limit), WITHIN.format(spread)
        if limit:
            chance = f"a change of {step:+.1f}, {chance} of {limit:+g}"
        return _compared(true, step - limit, spread, chance, value, one, two, self.metric, keys)


def change(metric: str, axis: str, first: Any, second: Any, op: str, bound: Bound = 0.0, **where: Any) -> Change:
    """From `first` to `second` along an axis the number moves so, in every cell that has both.

    first and second may be selections of their own ({"setting": "default"}, {"without": "init"}); axis is "" then.
    """
    one, two = (side if isinstance(side, Mapping) else {axis: side} for side in (first, second))
    return Change(metric, one, two, op, bound, where)


@dataclass(frozen=True)
class Leads(All):
    metric: str
    axis: str
    who: Any
    others: tuple[Any, ...]
    lowest: bool
    margin: float
    where: Mapping[str, Any]

    @property
    def rule(self) -> str:
        ahead = f" by {self.margin:g} points or more" if self.margin else ""
        rivals = ", ".join(words.value(name, self.axis) for name in self.others)
        side = "lowest" if self.lowest else "highest"
        who = words.value(self.who, self.axis)
        return f"{who} has the {side} {_metric(self.metric)}{ahead}, against {rivals}{_words(self.where)}"

    def points(self, view: View) -> list[Point]:
        names = (self.who, *self.others)
        listed = view.select(self.metric, **{**self.where, self.axis: names})
        by_name = [[row for row in listed if row[self.axis] == name] for name in names]
        keys = _telling(by_name, [key for key in view.keys if key != self.axis])
        groups: dict[tuple[Any, ...], dict[Any, Row]] = {}
        for row in listed:
            groups.setdefault(_key(row, keys), {})[row[self.axis]] = row
        paired = {key: rows for key, rows in groups.items() if self.who in rows and len(rows) > 1}
        mine = {key: rows[self.who] for key, rows in groups.items() if key not in paired and self.who in rows}
        rest = {key: next(iter(rows.values())) for key, rows in groups.items() if self.who not in rows}
        return [*(self._point(rows, keys) for rows in paired.values()), *_unpaired(mine, rest, keys)]

    def _point(self, rows: Mapping[Any, Row], keys: Sequence[str]) -> Point:
        mine = rows[self.who]
        rivals = {name: row for name, row in rows.items() if name != self.who}
        ran = {name: row for name, row in rivals.items() if not _missing(row)}
        if _missing(mine) or not ran:
            return _absent(mine, keys)
        shown = {words.value(name, self.axis): row for name, row in {self.who: mine, **ran}.items()}
        value = ", ".join(f"{name} {float(row['reproduced']):.2f}" for name, row in shown.items())
        settled = [self._against(mine, row, value, keys) for row in ran.values()]
        worst = min(settled, key=lambda point: ("false", "open", "true").index(point.state))
        absent = [words.value(name, self.axis) for name in rivals if name not in ran]
        if worst.state == "true" and absent:
            return Point("absent", value, worst.where, f"needs {', '.join(absent)}")
        return worst

    def _against(self, mine: Row, rival: Row, value: str, keys: Sequence[str]) -> Point:
        step, spread = difference(rival, mine)
        ahead = (-step if self.lowest else step) - self.margin
        true, chance = round(ahead, 6) >= 0, WITHIN.format(spread)
        return _compared(true, ahead, spread, chance, value, rival, mine, self.metric, keys)


def leads(
    metric: str, who: Any, others: Sequence[Any], *, axis: str = "defense", lowest: bool = False, margin: float = 0.0,
    **where: Any,
) -> Leads:  # fmt: skip
    """`who` is the best of all along an axis, in every cell: the highest number (or the lowest), by `margin` points."""
    return Leads(metric, axis, who, tuple(name for name in others if name != who), lowest, margin, where)


def difference(one: Row, two: Row) -> tuple[float, float]:
    """Second minus first over the seeds that both have (over their means, if seeds are not told), and how much of it
    chance explains: the profile's spread, or that of these differences if it is larger; of single runs, both of which
    chance has moved, the root of two of it."""
    seeds = sorted(set(one["by_seed"]) & set(two["by_seed"]))
    steps = [two["by_seed"][seed] - one["by_seed"][seed] for seed in seeds]
    if not steps:
        return float(two["reproduced"]) - float(one["reproduced"]), max(float(one["spread"]), float(two["spread"]))
    mean, known = fmean(steps), max(float(one["spread"]), float(two["spread"]))
    if len(steps) < 2:
        return mean, math.sqrt(2) * known
    own = (sum((step - mean) ** 2 for step in steps) / (len(steps) - 1)) ** 0.5
    return mean, max(known, own) if known else 0.0


def _compared(
    true: bool, beyond: float, spread: float, chance: str, value: str, one: Row, two: Row, metric: str,
    keys: Sequence[str],
) -> Point:  # fmt: skip
    """A comparison of two rows; open within the spread (chance: in words), and where the better number is nobody's
    merit."""
    if metric == "asr":
        better = one if float(one["reproduced"]) < float(two["reproduced"]) else two
    else:
        better = one if float(one["reproduced"]) > float(two["reproduced"]) else two
    gate = str(better["gate"])
    return _settled(true, value, _where(two, keys), gate or (chance if spread and abs(beyond) <= spread else ""))


def _unpaired(
    ones: Mapping[tuple[Any, ...], Row], others: Mapping[tuple[Any, ...], Row], keys: Sequence[str]
) -> list[Point]:
    """Cells that have no partner only because the other side stands elsewhere on an axis, while data set and attack are
    the same: they count as missing, and say on which axis."""
    found = []
    for row in ones.values():
        beside = [
            other for other in others.values() if all(_same(row, other, key) for key in SAME_PLACE if key in keys)
        ]
        if beside:
            apart = [key for key in keys if not any(_same(row, other, key) for other in beside)]
            named = ", ".join(words.axis(key) or key for key in apart) or "setting"
            found.append(replace(_absent(row, keys), why=f"no partner at this {named}"))
    return found


def _same(one: Row, two: Row, key: str) -> bool:
    return _key(one, [key]) == _key(two, [key])


def _missing(row: Row) -> bool:
    return bool(row["reproduced"] != row["reproduced"])


def _absent(row: Row, keys: Sequence[str]) -> Point:
    return Point("absent", "", _where(row, keys))


def _settled(true: bool, value: str, where: Mapping[str, Any], why: str) -> Point:
    """What is true or false, unless something keeps it open."""
    return Point("open", value, where, why) if why else Point("true" if true else "false", value, where)


def _where(row: Row, keys: Sequence[str]) -> dict[str, Any]:
    return {key: row[key] for key in keys}


def _telling(sides: Sequence[Sequence[Row]], keys: Sequence[str]) -> list[str]:
    """The columns by which cells of several sides are paired: not those that a side never has and the others always
    have the same (the share of clean data that only some methods take)."""
    sides = [side for side in sides if side]

    def tells(key: str) -> bool:
        found = [{_key(row, [key])[0] for row in side} for side in sides]
        return any(len(values) > 1 for values in found) or {""} not in found or all(values == {""} for values in found)

    return [key for key in keys if tells(key)]


def _key(row: Row, keys: Sequence[str]) -> tuple[Any, ...]:
    return tuple("" if words.missing(row[key]) else row[key] for key in keys)


def _metric(name: str) -> str:
    return words.value(name, "metric")


def _bound(bound: Bound, signed: bool = False) -> str:
    told, *rest = (f"{one:{'+' * signed}g}" for one in (bound if isinstance(bound, tuple) else (bound,)))
    return f"{told} (at laptop; else {rest[0]})" if rest else told


def _words(where: Mapping[str, Any]) -> str:
    return f", for {'; '.join(on(key, value) for key, value in where.items())}" if where else ""


def on(key: str, value: Any) -> str:
    """A column and what is selected of it, in words."""
    values = value.values if isinstance(value, Not) else value if isinstance(value, tuple | list) else (value,)
    said = ", ".join(words.value(one, key) for one in values)
    return f"{words.axis(key)} {'not ' if isinstance(value, Not) else ''}{said}".strip()
