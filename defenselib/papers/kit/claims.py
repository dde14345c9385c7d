"""A paper's statements as code: each holds, fails, or was not run, and says which numbers it used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

HOLDS, FAILS, NOT_RUN = "holds", "fails", "not run"
# The best evidence comes first; a claim is decided within one profile, never across two.
RANK = ("paper", "gpu", "laptop")


class Missing(Exception):
    """A number that a claim needs is not there."""


@dataclass(frozen=True)
class Outcome:
    """`holds`, `fails` or `not run`, with the numbers that decided."""

    outcome: str
    numbers: str
    profile: str = ""


@dataclass(frozen=True)
class Claim:
    """A checkable statement of a paper.

    check: gets the `Numbers` of one profile, returns (whether it holds, the numbers as text); raises `Missing`.
    source: where the paper says so.
    """

    key: str
    statement: str
    source: str
    check: Callable[[Numbers], tuple[bool, str]]

    def judge(self, frame: pd.DataFrame) -> Outcome:
        """Decide on the rows of `frame` that were run, profile by profile, best first; smoke rows never count."""
        reasons = []
        for profile in RANK:
            rows = frame[(frame["profile"] == profile) & frame["reproduced"].notna()]
            if rows.empty:
                continue
            try:
                holds, numbers = self.check(Numbers(rows, frame))
            except Missing as missing:
                reasons.append(f"{profile}: {missing}")
                continue
            return Outcome(HOLDS if holds else FAILS, numbers, profile)
        return Outcome(NOT_RUN, "; ".join(reasons) or "no evidence yet (smoke does not count)")


class Numbers:
    """The reproduced numbers of one profile, asked for by column: `acc(dataset="cifar10", defense="asd", ...)`."""

    def __init__(self, rows: pd.DataFrame, frame: pd.DataFrame) -> None:
        self.rows = rows
        self.frame = frame

    def select(self, **where: object) -> pd.DataFrame:
        """The rows that were run in which every named column has the given value or one of the given tuple."""
        return _select(self.rows, where)

    def one(self, **where: object) -> float:
        """The single number that `where` names; raises `Missing` if it was not run."""
        found = self.select(**where)
        if found.empty:
            raise Missing(f"needs {_words(where)}")
        return float(found["reproduced"].iloc[0])

    def many(self, **where: object) -> tuple[dict[str, float], str]:
        """All numbers that `where` names and that were run, by label, and the words "3 of 18 cells"."""
        found, wanted = self.select(**where), _select(self.frame, where)
        wanted = wanted.drop_duplicates(["dataset", "attack", "defense", "variant", "metric"])
        if found.empty:
            raise Missing(f"needs {_words(where)}")
        labels = found["dataset"] + "/" + found["attack"] + "/" + found["defense"]
        numbers = dict(zip(labels, found["reproduced"].astype(float), strict=True))
        return numbers, f"{len(found)} of {len(wanted)} cells"


def _words(where: dict[str, object]) -> str:
    # A tuple stands for "any of these": naming them all would bury what is missing.
    return " ".join(str(value) for value in where.values() if not isinstance(value, tuple | list))


def _select(rows: pd.DataFrame, where: dict[str, object]) -> pd.DataFrame:
    for column, wanted in where.items():
        rows = rows[rows[column].isin(list(wanted) if isinstance(wanted, tuple | list) else [wanted])]
    return rows


def table_of(claims: tuple[Claim, ...], frame: pd.DataFrame) -> pd.DataFrame:
    """One row a claim: claim, statement, source, outcome, numbers, profile."""
    rows = []
    for claim in claims:
        found = claim.judge(frame)
        rows.append(
            {
                "claim": claim.key,
                "statement": claim.statement,
                "source": claim.source,
                "outcome": found.outcome,
                "numbers": found.numbers,
                "profile": found.profile,
            }
        )
    return pd.DataFrame(rows, columns=["claim", "statement", "source", "outcome", "numbers", "profile"])


def as_printed(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame as if every printed number had been reproduced: do a paper's statements hold in its own tables?"""
    published = pd.to_numeric(frame["published"], errors="coerce")
    return frame.assign(reproduced=published, profile="paper")
