"""What became of numbers and claims, as stacked bars, and what separates reproduced numbers from printed ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from defenselib.plots import style, words
from defenselib.plots.canvas import empty, grid


def stacked(panels: Mapping[str, tuple[Sequence[str], pd.DataFrame, str, Sequence[str]]]) -> Figure:
    """A panel a title: names of the bars, their counts, the column that is the whole of each, the columns that are its
    parts (words of `words.MARKS`). In percent of the whole; counts stand in the bars."""
    tall = [1.1 + 0.3 * len(counted) for _, counted, _, _ in panels.values()]
    with style.look():
        figure, axes = grid(7.6, 0.3 + sum(tall), len(panels), 1)
        for axis, (title, (names, counted, whole, parts)) in zip(axes[:, 0], panels.items(), strict=True):
            _bars(axis, names, counted, whole, parts)
            axis.set_title(title, pad=26 if title else 6)
        return figure


def _bars(axis: Axes, names: Sequence[str], counted: pd.DataFrame, whole: str, parts: Sequence[str]) -> None:
    places = list(range(len(counted)))
    left = np.zeros(len(counted))
    for part in parts:
        colour, hatch, _ = style.OUTCOMES[part]
        width = 100 * counted[part].to_numpy() / counted[whole].to_numpy()
        axis.barh(places, width, left=left, color=colour, hatch=hatch, edgecolor="white", label=part, height=0.7)
        for place, start, wide, count in zip(places, left, width, counted[part], strict=True):
            if wide > 4:
                ink = style.INK if colour == style.GRID else "white"
                box = {"facecolor": colour, "edgecolor": "none", "pad": 1}
                axis.text(
                    start + wide / 2, place, str(count), ha="center", va="center", color=ink, fontsize=9, bbox=box
                )
        left = left + width
    labels = [f"{name} ({total:,})" for name, total in zip(names, counted[whole], strict=True)]
    axis.set_yticks(places, labels)
    axis.set(xlim=(0, 100), ylim=(len(counted) - 0.5, -0.5), xlabel="%")
    axis.grid(visible=False, axis="y")
    axis.legend(ncols=len(parts), loc="lower left", bbox_to_anchor=(0, 1.0), fontsize=9, columnspacing=1.2)


def differences(rows: pd.DataFrame, title: str) -> Figure:
    """A point a number, to the right of zero where more was reproduced than printed; one panel a metric, bars are one
    standard deviation over the seeds. rows: metric, label, difference (points), sd, verdict."""
    if rows.empty:
        return empty(title)
    labels = list(dict.fromkeys(rows["label"]))
    metrics = list(dict.fromkeys(rows["metric"]))
    with style.look():
        figure, axes = grid(7.6, 1.5 + 0.26 * len(labels), 1, len(metrics))
        for place, metric in enumerate(metrics):
            _panel(axes[0, place], rows[rows["metric"] == metric], labels, str(metric), place == 0)
        shown = [name for name in style.OUTCOMES if (rows["verdict"] == name).any()]
        figure.legend(handles=[_mark(name) for name in shown], ncols=len(shown), loc="outside lower center")
        figure.suptitle(title)
        return figure


def _mark(name: str) -> Line2D:
    colour, _, marker = style.OUTCOMES[name]
    return Line2D([], [], linestyle="", marker=marker, color=colour, label=words.marked(name))


def _panel(axis: Axes, rows: pd.DataFrame, labels: list[str], metric: str, first: bool) -> None:
    axis.axvline(0, color=style.INK, linewidth=1)
    for row in rows.to_dict("records"):
        colour, _, marker = style.OUTCOMES[str(row["verdict"])]
        spread = None if pd.isna(row["sd"]) else row["sd"]
        place = labels.index(row["label"])
        axis.errorbar(row["difference"], place, xerr=spread, linestyle="", markersize=7, marker=marker, color=colour)
    furthest = max(1.0, (rows["difference"].abs() + rows["sd"].fillna(0)).max())
    axis.set(xlim=(-1.15 * furthest, 1.15 * furthest), ylim=(len(labels) - 0.4, -0.6))
    axis.set_title(words.value(metric, "metric"))
    axis.set_xlabel("reproduced − printed")
    axis.set_yticks(range(len(labels)), labels if first else [""] * len(labels))
