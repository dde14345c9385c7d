"""What each paper promises above all, as claims of its own exhibits, and what came of them at each profile.

The promises are declared; everything that is said about them comes from `Claim.judge` and the frames below it. An
answer is of one profile: at `laptop` it speaks about a miniature, and never settles what a paper printed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from defenselib import papers
from defenselib.experiments.result import Result
from defenselib.experiments.store import Store
from defenselib.papers.kit.cells import needs
from defenselib.papers.kit.claims import FAILS, HOLDS, NOT_RUN, RANK, SO_FAR, UNDECIDED, Claim, Evidence, Point
from defenselib.papers.kit.exhibit import Exhibit
from defenselib.papers.kit.request import checked_request

Frames = Mapping[str, Mapping[str, pd.DataFrame]]  # by exhibit and profile


@dataclass(frozen=True)
class Headline:
    """A paper's promise. claims: pairs of an exhibit and one of its claims, the most important first. shown: the
    defenses that the picture shows beside none, the paper's own last."""

    paper: str
    claims: tuple[tuple[str, str], ...]
    shown: tuple[str, ...]

    @property
    def live(self) -> tuple[tuple[str, str], ...]:
        """What the chapter trains while it is built, pairs of attack and defense."""
        return ("badnets", "none"), ("badnets", self.shown[-1])

    @property
    def exhibits(self) -> tuple[Exhibit, ...]:
        """Those that the claims stand on; the first decides."""
        keys = dict.fromkeys(key for key, _ in self.claims)
        return tuple(papers.get(self.paper).exhibit(key) for key in keys)

    def claim(self, exhibit: str, key: str) -> Claim:
        return next(one for one in papers.get(self.paper).exhibit(exhibit).checks if one.key == key)


HEADLINES: Mapping[str, Headline] = {
    one.paper: one
    for one in (
        Headline("asd", (("table-2", "asd-low"), ("table-2", "asd-acc")), ("asd",)),
        Headline("bsd", (("table-1", "low"), ("table-1", "keeps-acc")), ("bsd",)),
        Headline("vab", (("table-1", "vab-low"), ("table-1", "vab-acc")), ("vab",)),
        Headline(
            "dst_dbr", (("table-1", "dst-low"), ("table-2", "dbr-below-1"), ("table-2", "dbr-acc")), ("dst", "dbr")
        ),
        Headline("aabl", (("table-3", "aabl-easy"), ("table-3", "aabl-hard")), ("adv-train", "aabl")),
    )
}


@dataclass(frozen=True)
class Outcome:
    """What became of one claim at one profile."""

    exhibit: str
    claim: Claim
    profile: str
    outcome: str
    points: tuple[Point, ...]

    def of(self, state: str) -> list[Point]:
        return [point for point in self.points if point.state == state]


def frames_of(headline: Headline, store: Store | None = None) -> dict[str, dict[str, pd.DataFrame]]:
    """The frames of a headline's exhibits at every profile that counts."""
    return {exhibit.key: exhibit.evidence(store) for exhibit in headline.exhibits}


def outcomes(headline: Headline, frames: Frames) -> dict[str, list[Outcome]]:
    """The outcomes of all claims by profile, in the order of `RANK`, of the profiles at which any was run."""
    found: dict[str, list[Outcome]] = {}
    for profile in RANK:
        mine = [judged(one, headline.claim(one, key), frames[one][profile]) for one, key in headline.claims]
        if any(one.outcome != NOT_RUN for one in mine):
            found[profile] = mine
    return found


def judged(exhibit: str, claim: Claim, frame: pd.DataFrame) -> Outcome:
    """A claim on the frame of one profile."""
    evidence = Evidence.of(frame)
    outcome, points = claim.found(evidence)
    return Outcome(exhibit, claim, evidence.profile, outcome, tuple(points))


def answer(found: Iterable[Outcome]) -> str:
    """What became of all main claims at one profile, as one outcome: they fail where one fails, hold where all do, hold
    so far where some do."""
    words = [one.outcome for one in found]
    if FAILS in words:
        return FAILS
    if words and set(words) == {HOLDS}:
        return HOLDS
    if HOLDS in words or SO_FAR in words:
        return SO_FAR
    return UNDECIDED if UNDECIDED in words else NOT_RUN


def results_behind(exhibit: Exhibit, profile: str, store: Store | None = None) -> tuple[Result, ...]:
    """The stored results that an exhibit's numbers are made of at a profile, each once."""
    request = checked_request(exhibit.paper, profile, store=store)
    grid = exhibit.grid(request)
    found: dict[str, Result] = {}
    for need in needs(exhibit, profile):
        for choice in need.made_of:
            for cell in choice:
                found |= {result.hash: result for result in grid.answer(cell).results}
    return tuple(found.values())


def seeds_of(frames: Sequence[pd.DataFrame]) -> tuple[int, int]:
    """The fewest and the most seeds that a number has; 0 and 0 where there is none."""
    counted = [int(n) for frame in frames for n in frame.loc[frame["reproduced"].notna(), "n"]]
    return (min(counted), max(counted)) if counted else (0, 0)


def spread_of(frames: Sequence[pd.DataFrame], metric: str) -> tuple[float, bool]:
    """By how many points chance alone moves a metric, the most over some frames, and whether seeds say so (three of a
    cell) or it is assumed; NaN and False where there is no number."""
    found: dict[bool, list[float]] = {True: [], False: []}
    for frame in frames:
        rows: Any = frame[frame["reproduced"].notna() & (frame["metric"] == metric)]
        found[bool((rows["n"] >= 3).any())] += [float(value) for value in rows["spread"]]
    known = found[True] or found[False]
    return (max(known) if known else float("nan")), bool(found[True])
