"""The coverage page: how many of the printed numbers are regenerated, and what became of them, as tables and bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from defenselib.papers.coverage import NOT_COMPARABLE, OUTCOMES, VERDICTS
from defenselib.papers.kit.claims import FAILS, HOLDS
from defenselib.papers.kit.verdict import AGREES, DIFFERS, NOT_RUN
from defenselib.plots import style
from defenselib.plots.canvas import grid
from defenselib.report.tables import Html, render

# Told apart without colours by their hatches.
LOOKS: Mapping[str, tuple[str, str]] = {
    AGREES: (style.GREEN, ""),
    DIFFERS: (style.ORANGE, "////"),
    NOT_COMPARABLE: (style.GREY, "...."),
    NOT_RUN: (style.GRID, ""),
    HOLDS: (style.GREEN, ""),
    FAILS: (style.ORANGE, "////"),
}
ALL = "all five papers"


def numbers(totals: pd.DataFrame, caption: str, profile: str | None = None) -> Html:
    """The rows of `papers.coverage.totals` of printed numbers; of one profile, or of all with a column for it."""
    rows = totals if profile is None else totals[totals["profile"] == profile]
    shown = _labelled(rows, profile is None)
    shown["printed"] = _counts(rows["printed"])
    run = rows["printed"] - rows[NOT_RUN]
    shown["regenerated"] = [
        f"{count:,} ({share:.1f} %)" for count, share in zip(run, 100 * run / rows["printed"], strict=True)
    ]
    for name in VERDICTS:
        shown[name] = _counts(rows[name])
    return render(shown, caption, headers=1 if profile else 2)


def claims(totals: pd.DataFrame, caption: str, profile: str | None = None) -> Html:
    """The same of claims."""
    rows = totals if profile is None else totals[totals["profile"] == profile]
    shown = _labelled(rows, profile is None)
    for name in ("claims", *OUTCOMES):
        shown[name] = _counts(rows[name])
    return render(shown, caption, headers=1 if profile else 2)


def bars(numbers: pd.DataFrame, claims: pd.DataFrame, profile: str = "best") -> Figure:
    """A bar a paper for its printed numbers and one for its claims, in percent of each; counts stand in the bars."""
    with style.look():
        figure, axes = grid(7.6, 6.0, 2, 1)
        for axis, totals, whole, title in (
            (axes[0, 0], numbers, "printed", "Printed numbers"),
            (axes[1, 0], claims, "claims", "Claims"),
        ):
            rows = totals[(totals["profile"] == profile) & (totals["paper"] != "all")]
            names = [style.label(name) for name in rows["paper"]]
            _bars(axis, names, rows, whole, VERDICTS if whole == "printed" else OUTCOMES)
            axis.set_title(title, pad=26)
        return figure


def stacked(names: Sequence[str], counted: pd.DataFrame, whole: str, parts: Sequence[str]) -> Figure:
    """A stacked bar a row of `counted`, in percent of its column `whole`."""
    with style.look():
        figure, axes = grid(7.6, 1.4 + 0.3 * len(counted), 1, 1)
        _bars(axes[0, 0], names, counted, whole, parts)
        return figure


def _bars(axis: Axes, names: Sequence[str], counted: pd.DataFrame, whole: str, parts: Sequence[str]) -> None:
    places = list(range(len(counted)))
    left = np.zeros(len(counted))
    for part in parts:
        colour, hatch = LOOKS[part]
        width = 100 * counted[part].to_numpy() / counted[whole].to_numpy()
        axis.barh(places, width, left=left, color=colour, hatch=hatch, edgecolor="white", label=part, height=0.7)
        for place, start, wide, count in zip(places, left, width, counted[part], strict=True):
            if wide > 4:
                ink = style.INK if part == NOT_RUN else "white"
                box = {"facecolor": colour, "edgecolor": "none", "pad": 1}
                axis.text(
                    start + wide / 2, place, str(count), ha="center", va="center", color=ink, fontsize=9, bbox=box
                )
        left = left + width
    labels = [f"{name} ({total})" for name, total in zip(names, counted[whole], strict=True)]
    axis.set_yticks(places, labels)
    axis.set(xlim=(0, 100), ylim=(len(counted) - 0.5, -0.5), xlabel="%")
    axis.grid(visible=False, axis="y")
    axis.legend(ncols=len(parts), loc="lower left", bbox_to_anchor=(0, 1.0))


def _labelled(rows: pd.DataFrame, with_profile: bool) -> pd.DataFrame:
    labels = [ALL if name == "all" else style.label(name) for name in rows["paper"]]
    shown = pd.DataFrame({"paper": labels}, index=rows.index)
    return shown.assign(profile=rows["profile"]) if with_profile else shown


def _counts(values: pd.Series) -> list[str]:
    return [f"{value:,}" for value in values]
