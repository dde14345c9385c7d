"""How much of the papers is regenerated: every printed number counted once, every claim with its outcome.

A printed number is a row of a CSV in which something is printed; at a profile it has one of the five verdicts, a claim
one of the five outcomes.
Drawn images are no evidence and count nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from defenselib.papers.kit import printed
from defenselib.papers.kit.claims import OUTCOMES
from defenselib.papers.kit.exhibit import Exhibit, Paper, best_of
from defenselib.papers.kit.verdict import VERDICTS


@dataclass(frozen=True)
class Found:
    """What the store has of an exhibit. frames, claims: by profile (paper, gpu, laptop)."""

    exhibit: Exhibit
    frames: Mapping[str, pd.DataFrame]
    claims: Mapping[str, pd.DataFrame]

    @property
    def prints(self) -> bool:
        """Whether the paper prints numbers here; of a figure the claims judge alone."""
        return self.exhibit.key in printed.tables(self.exhibit.paper)

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """By profile the rows in which the paper prints something; none of a figure."""
        return {name: frame[frame["published"].notna()] for name, frame in self.frames.items() if self.prints}

    @property
    def best(self) -> str:
        """The profile that answers most of it."""
        return str(best_of(self.frames)["profile"].iloc[0])


def collect(paper: Paper, profile: str | None = None, store: Any = None) -> list[Found]:
    """Every exhibit of a paper with its frames and claims, at one profile or at all that count."""
    found = []
    for exhibit in paper.exhibits:
        only = {} if profile is None else {profile: exhibit.reproduce(profile=profile, store=store)}
        frames = only or exhibit.evidence(store)
        found.append(Found(exhibit, frames, {name: exhibit.claims(frame) for name, frame in frames.items()}))
    return found


def sorted_out(frame: pd.DataFrame) -> dict[str, int]:
    """The rows of a frame by verdict. They add up to all rows."""
    return {name: int((frame["verdict"] == name).sum()) for name in VERDICTS}


def outcomes(claims: pd.DataFrame) -> dict[str, int]:
    """The claims of an exhibit by outcome."""
    return {name: int((claims["outcome"] == name).sum()) for name in OUTCOMES}


def distinct(found: Iterable[Found], profile: str) -> int:
    """How many measurements stand behind the reproduced numbers: one that several tables show counts once."""
    what = ["dataset", "attack", "defense", "metric", "reproduced"]
    shown = [one.tables[profile] for one in found if one.prints]
    ran = [frame.loc[frame["reproduced"].notna(), what] for frame in shown]
    return len(pd.concat(ran).drop_duplicates()) if ran else 0


def reached(found: Iterable[Found], profile: str | None = None) -> int:
    """How many printed numbers have a reproduced one at a profile, or at some profile."""
    shown = [one.tables if profile is None else {profile: one.tables[profile]} for one in found if one.prints]
    return sum(
        int(pd.concat([frame["reproduced"] for frame in frames.values()], axis=1).notna().any(axis=1).sum())
        for frames in shown
    )


def numbers(found: Iterable[Found]) -> pd.DataFrame:
    """One row an exhibit with printed numbers and a profile: paper, exhibit, profile, printed, run, the verdicts."""
    rows = [
        {
            **_where(one, name),
            "printed": len(frame),
            "run": int(frame["reproduced"].notna().sum()),
            **sorted_out(frame),
        }
        for one in found
        for name, frame in one.tables.items()
    ]
    return pd.DataFrame(rows, columns=["paper", "exhibit", "profile", "printed", "run", *VERDICTS])


def claims(found: Iterable[Found]) -> pd.DataFrame:
    """One row an exhibit and a profile: paper, exhibit, profile, claims, and the outcomes."""
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
