"""How much of the papers is regenerated: every printed number counted once, every claim with its outcome.

A printed number is a row of a CSV. At a profile it agrees, differs, was run without being comparable there (a dash in
the paper, a time at `laptop`, ...), or was not run. `smoke` is no evidence and counts nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from defenselib.papers.kit import printed
from defenselib.papers.kit.claims import FAILS, HOLDS, RANK
from defenselib.papers.kit.claims import NOT_RUN as OPEN
from defenselib.papers.kit.exhibit import Exhibit, Paper
from defenselib.papers.kit.verdict import AGREES, DIFFERS, NOT_RUN

NOT_COMPARABLE = "not comparable"
VERDICTS = (AGREES, DIFFERS, NOT_COMPARABLE, NOT_RUN)
OUTCOMES = (HOLDS, FAILS, OPEN)
PROFILES = ("best", *RANK)


@dataclass(frozen=True)
class Found:
    """What the store has of an exhibit. frames, claims: by profile (paper, gpu, laptop, best)."""

    exhibit: Exhibit
    frames: Mapping[str, pd.DataFrame]
    claims: Mapping[str, pd.DataFrame]

    @property
    def prints(self) -> bool:
        """Whether the paper prints numbers here; of a figure the claims judge alone."""
        return self.exhibit.key in printed.tables(self.exhibit.paper)


def collect(paper: Paper, profile: str | None = None, store: Any = None) -> list[Found]:
    """Every exhibit of a paper with its frames and claims: of one profile, or of `PROFILES` with each cell looked up
    once."""
    found = []
    for exhibit in paper.exhibits:
        only = {} if profile is None else {profile: exhibit.reproduce(profile=profile, store=store)}
        frames = only or exhibit.evidence(store)
        found.append(Found(exhibit, frames, {name: exhibit.claims(frame) for name, frame in frames.items()}))
    return found


def sorted_out(frame: pd.DataFrame) -> dict[str, int]:
    """The rows of a frame by what became of them: agrees, differs, not comparable, not run. They add up to all rows."""
    there = frame["reproduced"].notna()
    return {
        AGREES: int((there & (frame["verdict"] == AGREES)).sum()),
        DIFFERS: int((there & (frame["verdict"] == DIFFERS)).sum()),
        NOT_COMPARABLE: int((there & (frame["verdict"] == NOT_RUN)).sum()),
        NOT_RUN: int((~there).sum()),
    }


def outcomes(claims: pd.DataFrame) -> dict[str, int]:
    """The claims of an exhibit by outcome: holds, fails, not run."""
    return {name: int((claims["outcome"] == name).sum()) for name in OUTCOMES}


def numbers(found: Iterable[Found]) -> pd.DataFrame:
    """One row an exhibit with printed numbers and a profile: paper, exhibit, profile, printed, the four verdicts."""
    rows = [
        {**_where(one, name), "printed": len(frame), **sorted_out(frame)}
        for one in found
        if one.prints
        for name, frame in one.frames.items()
    ]
    return pd.DataFrame(rows, columns=["paper", "exhibit", "profile", "printed", *VERDICTS])


def claims(found: Iterable[Found]) -> pd.DataFrame:
    """One row an exhibit and a profile: paper, exhibit, profile, claims, and the three outcomes."""
    rows = [
        {**_where(one, name), "claims": len(table), **outcomes(table)}
        for one in found
        for name, table in one.claims.items()
    ]
    return pd.DataFrame(rows, columns=["paper", "exhibit", "profile", "claims", *OUTCOMES])


def _where(one: Found, profile: str) -> dict[str, str]:
    return {"paper": one.exhibit.paper, "exhibit": one.exhibit.key, "profile": profile}


def totals(counted: pd.DataFrame) -> pd.DataFrame:
    """`numbers` or `claims` added up over the exhibits: one row a paper and profile, then those of all papers."""
    sums = counted.drop(columns="exhibit").groupby(["paper", "profile"], sort=False, as_index=False).sum()
    whole = sums.drop(columns="paper").groupby("profile", sort=False, as_index=False).sum()
    return pd.concat([sums, whole.assign(paper="all")[sums.columns]], ignore_index=True)
