"""What changed since version 0.1 of the book: its verdicts and outcomes against those of today, with the reason.

Version 0.1 is kept as it was in `book/earlier/`: the verdict of every number that had been run, and the outcome of
every claim at each profile and as its pages showed it (`shown`), where rows of several profiles were mixed. What it
called "not run" although there was a number is called "not comparable" there, as today.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from defenselib.errors import DataError
from defenselib.experiments.store import results_folder
from defenselib.papers.coverage import Found
from defenselib.papers.kit.claims import FAILS, HOLDS, NOT_RUN, OUTCOMES, RANK, SO_FAR
from defenselib.papers.kit.frame import records
from defenselib.papers.kit.verdict import UNDECIDED, VERDICTS
from defenselib.papers.titles import TITLES
from defenselib.plots import words
from defenselib.plots.bars import stacked
from defenselib.report import tables
from defenselib.report.html import Html, render

VERSION = "0.1"
SHOWN = "as shown"  # by the pages: then the best row of any profile, now the profile that answers most
GONE = "no longer made"
ORDER, PAPERS = (SHOWN, *RANK), (*TITLES, "all")
NUMBER = ["paper", "exhibit", "row", "profile"]
CLAIM = ["paper", "exhibit", "claim", "profile"]


def earlier(kind: str) -> pd.DataFrame:
    """The committed table of version 0.1: "verdicts" or "claims". Raises DataError outside the repository."""
    folder = results_folder()
    path = None if folder is None else folder.parent / "earlier" / f"{kind}-{VERSION}.csv"
    if path is None or not path.is_file():
        raise DataError(f"the {kind} of version {VERSION} are not at hand; they lie in the repository's book/earlier")
    return pd.read_csv(path).replace({"profile": {"best": SHOWN}})


def verdicts(found: Sequence[Found]) -> pd.DataFrame:
    """One row a printed number that was run then or now: paper, exhibit, row, profile, before, after, where, why."""
    rows = [
        {"paper": one.exhibit.paper, "exhibit": one.exhibit.key, "row": place, "profile": profile,
         "after": row["verdict"], "now": row["reproduced"], "where": words.setting(row, told), "why": _why_number(row)}
        for one in found if one.prints
        for profile, frame in one.frames.items()
        for told in [tables.telling(frame)]
        for place, row in enumerate(records(frame))
    ]  # fmt: skip
    then = earlier("verdicts").rename(columns={"verdict": "before"})
    both = pd.DataFrame(rows).merge(then, on=NUMBER, how="left")
    both["before"] = both["before"].fillna(NOT_RUN)
    moved = both["reproduced"].notna() & ((both["reproduced"] - both["now"]).abs() > 0.002 * both["now"].abs() + 1e-9)
    both["why"] = both["why"].mask(moved, "the result itself is another one: " + both["reproduced"].map(words.number))
    return both[(both["before"] != NOT_RUN) | (both["after"] != NOT_RUN)].drop(columns=["now", "reproduced"])


def claims(found: Sequence[Found]) -> pd.DataFrame:
    """One row a claim and profile that had an outcome then or has one now: paper, exhibit, claim, profile, before,
    after, statement, why."""
    rows = []
    for one in found:
        for profile, judged in {**one.claims, SHOWN: one.claims[one.best]}.items():
            for row in records(judged):
                where = {"paper": one.exhibit.paper, "exhibit": one.exhibit.key, "profile": profile}
                rows.append({**where, "claim": row["claim"], "statement": row["statement"], "after": row["outcome"],
                             "numbers": row["numbers"], "decided": row["profile"]})  # fmt: skip
    then = earlier("claims").rename(columns={"outcome": "before"})
    both = pd.DataFrame(rows).merge(then, on=CLAIM, how="outer")
    both["before"], both["after"] = both["before"].fillna(NOT_RUN), both["after"].fillna(GONE)
    both["why"] = [_why_claim(row) for row in records(both)]
    kept = both[(both["before"] != NOT_RUN) | ~both["after"].isin([NOT_RUN, GONE])]
    ordered = kept.sort_values("paper", key=lambda names: names.map(PAPERS.index), kind="stable")
    return ordered.drop(columns=["numbers", "decided"])


def _why_number(row: dict[str, Any]) -> str:
    if row["reproduced"] != row["reproduced"]:
        return f"cells missing: {row['reason']}"
    if row["verdict"] == UNDECIDED:
        return f"gate: {row['gate']}" if row["gate"] else f"spread: {row['reason']}" if row["n"] else row["reason"]
    return "another rule, see the verdicts" if not row["reason"] else f"another rule; {row['reason']}"


def _why_claim(row: dict[str, Any]) -> str:
    after, numbers = row["after"], str(row["numbers"])
    if after == GONE:
        return "replaced by a claim with a rule as strong as the sentence"
    if row["before"] == NOT_RUN:
        return f"now judged: {numbers}"
    kinds = {"spread": "within the spread", "gate": "% ", "cells missing": "not run"}
    if after == FAILS:
        return f"counter-example: {numbers}"
    if after in (SO_FAR, UNDECIDED, NOT_RUN):
        found = [kind for kind, said in kinds.items() if said in numbers]
        moved = [f"decided at {row['decided']}"] if row["profile"] == SHOWN else []
        return f"{', '.join(moved + found) or 'not decided'}: {numbers}"
    return numbers


def before_after(changes: pd.DataFrame, names: Sequence[str], caption: str) -> Html:
    """How many had each verdict or outcome then, and have it now: one row a paper and profile, "12 → 7"."""
    whole = changes.assign(paper="all")
    parts = [part for _, part in [*_groups(changes), *_groups(whole)]]
    rows = []
    for part in parts:
        counted = {side: part[side].value_counts() for side in ("before", "after")}
        pairs = {name: [int(counted[side].get(name, 0)) for side in counted] for name in names}
        paper = "all five papers" if part["paper"].iloc[0] == "all" else words.label(part["paper"].iloc[0])
        told = {name: f"{then} → {now}" if then or now else words.NONE for name, (then, now) in pairs.items()}
        rows.append({"paper": paper, "profile": part["profile"].iloc[0], **told})
    return render(pd.DataFrame(rows), caption, headers=2)


def _groups(changes: pd.DataFrame) -> list[tuple[Any, pd.DataFrame]]:
    """By paper, in the book's order, and profile, the best first."""
    ordered = changes.sort_values("profile", key=lambda names: names.map(ORDER.index), kind="stable")
    ordered = ordered.sort_values("paper", key=lambda names: names.map(PAPERS.index), kind="stable")
    return list(ordered.groupby(["paper", "profile"], sort=False))


def counts(changes: pd.DataFrame) -> Html:
    """`before_after` of verdicts, or of claims."""
    if "claim" in changes:
        names = (*OUTCOMES, GONE) if (changes["after"] == GONE).any() else OUTCOMES
        return before_after(changes, names, f"Claims by outcome, version {VERSION} → today")
    return before_after(changes, VERDICTS, f"Printed numbers by verdict, version {VERSION} → today")


def bars(changes: pd.DataFrame) -> Figure:
    """The claims as the pages showed them, then and now, in percent of those that were judged at either time."""
    panels = {}
    for title, side in ((f"Version {VERSION}", "before"), ("Today", "after")):
        shown = changes[changes["profile"] == SHOWN]
        counted = pd.DataFrame([{name: int((part[side] == name).sum()) for name in OUTCOMES} | {"all": len(part)}
                                for _, part in _groups(shown)])  # fmt: skip
        names = [words.label(part["paper"].iloc[0]) for _, part in _groups(shown)]
        panels[title] = (names, counted, "all", OUTCOMES)
    return stacked(panels)


def listed(changes: pd.DataFrame, caption: str) -> Html:
    """The rows that changed, with the reason."""
    rows = changes[changes["before"] != changes["after"]]
    shown = {
        "paper": [words.label(name) for name in rows["paper"]],
        "exhibit": [words.exhibit(key) for key in rows["exhibit"]],
        "what": rows["statement"].fillna(rows["claim"]) if "claim" in rows else rows["where"],
        "profile": rows["profile"], "before": rows["before"], "after": rows["after"], "why": rows["why"],
    }  # fmt: skip
    said = f"{caption}: {len(rows)} of {len(changes)} changed"
    return render(pd.DataFrame(shown), said, headers=3, marked=["before", "after"])


def held(changes: pd.DataFrame, still: bool | None = None) -> int:
    """How many claims the earlier pages showed as holding; still: only those that hold today, or that do not."""
    shown = changes[(changes["profile"] == SHOWN) & (changes["before"] == HOLDS)]
    return len(shown) if still is None else int(((shown["after"] == HOLDS) == still).sum())
