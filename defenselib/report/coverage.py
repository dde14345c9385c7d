"""The coverage page: how many of the printed numbers are regenerated, and what became of them, as tables and bars."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from defenselib.papers.kit.claims import OUTCOMES
from defenselib.papers.kit.verdict import NOT_RUN, VERDICTS
from defenselib.plots import bars as plots
from defenselib.plots import words
from defenselib.report.html import Html, render

ALL = "all five papers"


def numbers(totals: pd.DataFrame, caption: str) -> Html:
    """The rows of `papers.coverage.totals` of printed numbers."""
    shares = zip(totals["run"], 100 * totals["run"] / totals["printed"], strict=True)
    return _table(
        totals.drop(columns="run"), {"regenerated": [f"{count:,} ({share:.1f} %)" for count, share in shares]}, caption
    )


def claims(totals: pd.DataFrame, caption: str) -> Html:
    """The same of claims."""
    return _table(totals, {}, caption)


def bars(numbers: pd.DataFrame, claims: pd.DataFrame, profile: str) -> Figure:
    """A bar a paper for its printed numbers at a profile and one for its claims, in percent of each."""
    panels = {}
    for title, totals, whole, parts in (
        (f"Printed numbers, profile {profile}", numbers, "printed", VERDICTS),
        (f"Claims, profile {profile}", claims, "claims", OUTCOMES),
    ):
        rows = totals[(totals["profile"] == profile) & (totals["paper"] != "all")]
        panels[title] = ([words.label(name) for name in rows["paper"]], rows, whole, parts)
    return plots.stacked(panels)


def fullest(totals: pd.DataFrame) -> str:
    """The profile at which most printed numbers were run."""
    whole = totals[totals["paper"] == "all"]
    return str(whole["profile"].iloc[int(whole[NOT_RUN].argmin())])


def _table(totals: pd.DataFrame, more: dict[str, list[str]], caption: str) -> Html:
    counted = [name for name in totals if name not in ("paper", "profile")]
    shown: dict[str, object] = {"paper": [ALL if name == "all" else words.label(name) for name in totals["paper"]]}
    shown |= {"profile": totals["profile"], **more}
    shown |= {str(name): words.numbers(totals[name], 0) for name in counted}
    return render(pd.DataFrame(shown, index=totals.index), caption, headers=2)
