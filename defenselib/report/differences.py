"""What separates the reproduced numbers from the printed ones, as a figure."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from defenselib.papers.kit.verdict import AGREES, DIFFERS, NOT_RUN, TIMES
from defenselib.plots import style
from defenselib.plots.canvas import empty, grid
from defenselib.report.tables import rate

LOOKS = {
    AGREES: {"marker": "o", "color": style.GREEN, "markerfacecolor": style.GREEN},
    DIFFERS: {"marker": "X", "color": style.ORANGE, "markerfacecolor": style.ORANGE},
    NOT_RUN: {"marker": "o", "color": style.GREY, "markerfacecolor": "white"},
}
WORDS = {AGREES: "agrees", DIFFERS: "differs", NOT_RUN: "not comparable"}
OTHER_UNITS = (*TIMES, "count", "correct")
AXES = ("dataset", "attack", "defense")


def comparable(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows in percent that have both numbers, with their `difference` in points and a `label` that tells them
    apart."""
    printed = pd.to_numeric(frame["published"], errors="coerce")
    rows = frame.assign(difference=frame["reproduced"] - printed)
    rows = rows[rows["difference"].notna() & ~rows["metric"].isin(OTHER_UNITS)]
    # What all rows share need not be said in every row.
    told = [name for name in (*AXES, "model", "target", "poisoning_rate", "variant") if rows[name].nunique() > 1]
    return rows.assign(label=[_label(row, told or ["defense"]) for row in rows.to_dict("records")])


def _label(row: dict[Any, Any], told: list[str]) -> str:
    parts = []
    for name in told:
        value = row[name]
        if not pd.isna(value):
            said = style.label(str(value), name) if name in AXES else str(value)
            parts.append(rate(value) if name == "poisoning_rate" else said)
    return ", ".join(parts)


def draw(frame: pd.DataFrame, title: str) -> Figure:
    """A point a number, to the right of zero where more was reproduced than printed; one panel a metric, bars are one
    standard deviation over the seeds."""
    rows = comparable(frame)
    if rows.empty:
        return empty(title)
    labels = list(dict.fromkeys(rows["label"]))
    metrics = list(dict.fromkeys(rows["metric"]))
    with style.look():
        figure, axes = grid(7.6, 1.5 + 0.26 * len(labels), 1, len(metrics))
        for place, metric in enumerate(metrics):
            _panel(axes[0, place], rows[rows["metric"] == metric], labels, str(metric), place == 0)
        shown = [name for name in LOOKS if (rows["verdict"] == name).any()]
        marks = [Line2D([], [], linestyle="", **LOOKS[name], label=WORDS[name]) for name in shown]  # type: ignore[arg-type]
        figure.legend(handles=marks, ncols=len(marks), loc="outside lower center")
        figure.suptitle(title)
        return figure


def _panel(axis: Axes, rows: pd.DataFrame, labels: list[str], metric: str, first: bool) -> None:
    axis.axvline(0, color=style.INK, linewidth=1)
    for row in rows.to_dict("records"):
        look = LOOKS[str(row["verdict"])]
        spread = None if pd.isna(row["sd"]) else row["sd"]
        place = labels.index(row["label"])
        axis.errorbar(row["difference"], place, xerr=spread, linestyle="", markersize=7, **look)  # type: ignore[arg-type]
    furthest = max(1.0, (rows["difference"].abs() + rows["sd"].fillna(0)).max())
    axis.set(xlim=(-1.15 * furthest, 1.15 * furthest), ylim=(len(labels) - 0.4, -0.6))
    axis.set_title(metric.upper() if len(metric) <= 3 else metric)
    axis.set_xlabel("reproduced − printed")
    axis.set_yticks(range(len(labels)), labels if first else [""] * len(labels))
