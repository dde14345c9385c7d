"""A paper's statements as data: each an expression over one profile's numbers, with the sentence and its place.

An expression names the cells that the sentence speaks of and what must be true of each. So a claim

- *holds*, where it is true of all of them; *fails*, where it is false of one;
- *holds so far* (k of n), where it is true of some and the others were not run or are undecided;
- is *undecided*, where all that was run is: a gate is closed, or a difference lies within the seeds' spread;
- was *not run*.

See `statements` for the expressions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import pandas as pd

from defenselib.errors import check_choice
from defenselib.experiments import profile as profiles
from defenselib.papers.kit.view import View
from defenselib.plots import words as in_words
from defenselib.plots.words import missing

HOLDS, SO_FAR, FAILS, UNDECIDED, NOT_RUN = "holds", "holds so far", "fails", "undecided", "not run"
OUTCOMES = (HOLDS, SO_FAR, FAILS, UNDECIDED, NOT_RUN)
# The best evidence comes first; a claim is decided within one profile, never across two.
RANK = ("paper", "gpu", "laptop")
COLUMNS = ("claim", "statement", "source", "rule", "outcome", "numbers", "profile", "true", "of")
NAMED = 6  # cells that an outcome names, of each kind
State = Literal["true", "false", "open", "absent"]


def levels(profile: str) -> tuple[str, ...]:
    """The profiles that a name stands for: "best" for all that are evidence. Errors: UnknownNameError."""
    return RANK if profile == "best" else (check_choice("profile", profile, profiles.available()),)


@dataclass(frozen=True)
class Point:
    """One cell that a sentence speaks of. value: its number in words. why: what keeps it open or absent."""

    state: State
    value: str = ""
    where: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""


class Statement(Protocol):
    """rule: what must be true, in words and numbers. decide: of all points, see `every_point`."""

    @property
    def rule(self) -> str: ...

    def points(self, view: View) -> list[Point]: ...

    def decide(self, points: Sequence[Point]) -> str: ...


@dataclass(frozen=True)
class Claim:
    """A checkable statement of a paper; source: where the paper says so."""

    key: str
    sentence: str
    source: str
    expression: Statement

    def judge(self, frame: pd.DataFrame) -> dict[str, Any]:
        """claim, statement, source, rule, outcome, numbers (what decided), profile, true, of (cells)."""
        return self.judged(Evidence.of(frame))

    def judged(self, evidence: Evidence) -> dict[str, Any]:
        """`judge`, of evidence that several claims are judged by."""
        outcome, points = self.found(evidence)
        return {
            "claim": self.key,
            "statement": self.sentence,
            "source": self.source,
            "rule": self.expression.rule,
            "outcome": outcome,
            "numbers": evidence.said or words(points),
            "profile": evidence.profile,
            "true": sum(point.state == "true" for point in points),
            "of": len(points),
        }

    def found(self, evidence: Evidence) -> tuple[str, list[Point]]:
        """The outcome and the cells that the sentence speaks of; none of them where a profile is no evidence."""
        if evidence.view is None:
            return NOT_RUN, []
        points = self.expression.points(evidence.view)
        return self.expression.decide(points), points


@dataclass(frozen=True)
class Evidence:
    """A frame as claims see it: the numbers of its one profile; no view where that profile is no evidence, and what is
    said then."""

    profile: str
    view: View | None
    said: str = ""

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Evidence:
        counted = frame["profile"].value_counts()
        # That of most rows: a frame holds those of one, and a stray row of another must not matter.
        profile = str(counted.index[0]) if len(counted) else ""
        mode = "none" if profile not in RANK else profiles.load(profile).verdict
        if mode == "none":
            return cls(profile, None, "" if frame["reproduced"].isna().all() else f"{profile} is no evidence")
        return cls(profile, View(frame[frame["profile"] == profile], mode))


def every_point(points: Sequence[Point]) -> str:
    """The outcome of a statement on all of its cells."""
    states = [point.state for point in points]
    if "false" in states:
        return FAILS
    if "true" in states:
        return HOLDS if set(states) == {"true"} else SO_FAR
    return UNDECIDED if "open" in states else NOT_RUN


def most_points(points: Sequence[Point]) -> str:
    """The outcome of a statement on more than half of its cells."""
    true, false = (sum(point.state == state for point in points) for state in ("true", "false"))
    if 2 * true > len(points):
        return HOLDS
    if points and 2 * false >= len(points):
        return FAILS
    if true > false:
        return SO_FAR
    return UNDECIDED if any(point.state != "absent" for point in points) else NOT_RUN


def any_point(points: Sequence[Point]) -> str:
    """The outcome of a statement on at least one of its cells."""
    states = [point.state for point in points]
    if "true" in states:
        return HOLDS
    if states and set(states) == {"false"}:
        return FAILS
    return UNDECIDED if "open" in states or "false" in states else NOT_RUN


def words(points: Sequence[Point]) -> str:
    """What decided: how many cells there are of each kind, and the first of each by name."""
    told = _telling(points)
    parts = []
    for state, called in (("false", "against"), ("true", "for"), ("open", "undecided"), ("absent", "not run")):
        mine = [point for point in points if point.state == state]
        if mine and len(points) > 1:
            parts.append(f"{len(mine)} of {len(points)} {called}: {_named(mine, told)}".removesuffix(": "))
        elif mine:
            parts.append(" ".join(filter(None, ("" if state in ("true", "false") else called, _said(mine[0], told)))))
    return "; ".join(parts)


def listed(points: Sequence[Point], among: Sequence[Point], most: int = 3) -> str:
    """The first of some points by name and value, without reasons; among: all that a name must tell them apart from."""
    told = _telling(among)
    return _named([replace(point, why="") for point in points], told, most)


def _telling(points: Sequence[Point]) -> list[str]:
    """The fewest columns that tell the points apart."""
    told = [key for key in (points[0].where if points else ()) if len({str(p.where.get(key)) for p in points}) > 1]
    for key in reversed(told):
        fewer = [other for other in told if other != key]
        if fewer and len({tuple(str(p.where.get(other)) for other in fewer) for p in points}) == len(points):
            told = fewer
    return told


def _named(points: Sequence[Point], told: Sequence[str], most: int = NAMED) -> str:
    found = list(dict.fromkeys(filter(None, (_said(point, told) for point in points))))
    return ", ".join(found[:most]) + (f" and {len(found) - most} more" if len(found) > most else "")


def _said(point: Point, told: Sequence[str]) -> str:
    """A cell by name, its number and what keeps it open."""
    where = {key: point.where.get(key) for key in told}
    name = "/".join(in_words.value(value, key) for key, value in where.items() if value != "" and not missing(value))
    return " ".join(filter(None, (name, point.value, f"({point.why})" if point.why else "")))


def table_of(claims: Sequence[Claim], frame: pd.DataFrame) -> pd.DataFrame:
    """One row a claim: claim, statement, source, rule, outcome, numbers, profile, true, of."""
    evidence = Evidence.of(frame)
    return pd.DataFrame([claim.judged(evidence) for claim in claims], columns=list(COLUMNS))


def as_printed(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame as if every printed number had been reproduced: do a paper's statements hold in its own tables?"""
    numbers = pd.to_numeric(frame["published"], errors="coerce")
    seeds = pd.Series([{} if number != number else {0: number} for number in numbers], index=frame.index, dtype=object)
    return frame.assign(reproduced=numbers, profile="paper", gate="", false_target=math.nan, spread=0.0, by_seed=seeds)
