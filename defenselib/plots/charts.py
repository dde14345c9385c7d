"""Charts that several papers' exhibits are drawn by: tables as dots, curves by epoch, pools by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from defenselib.plots import style
from defenselib.plots.canvas import empty, grid
from defenselib.plots.panels import drawing


def _dots(frame: pd.DataFrame) -> Figure:
    """Printed (hollow) and reproduced (filled) numbers side by side: a panel a data set and metric, a row an attack."""
    ran = frame[frame["metric"].isin(["acc", "asr"])]
    datasets = list(dict.fromkeys(ran["dataset"]))
    metrics = [metric for metric in ("acc", "asr") if (ran["metric"] == metric).any()]
    if not metrics:
        return empty("")
    names = list(dict.fromkeys(ran["attack"]))
    height = 1.6 + len(datasets) * (0.8 + 0.55 * len(names))
    figure, axes = grid(7.2, height, len(datasets), len(metrics))
    for row, dataset in enumerate(datasets):
        for column, metric in enumerate(metrics):
            part = ran[(ran["dataset"] == dataset) & (ran["metric"] == metric)]
            _dot_panel(axes[row, column], part, names)
            axes[row, column].set(title=f"{style.label(dataset)}: {metric.upper()}", xlabel="%", xlim=(-4, 104))
    figure.legend(handles=dot_legend(ran, style.GREY), loc="outside lower center", ncols=4)
    return figure


def _dot_panel(axis: Axes, part: pd.DataFrame, names: Sequence[str]) -> None:
    defenses = list(dict.fromkeys(part["defense"]))
    for place, attack in enumerate(names):
        for rank, defense in enumerate(defenses):
            hit = part[(part["attack"] == attack) & (part["defense"] == defense)]
            if hit.empty:
                continue
            y = place + 0.5 * (rank - (len(defenses) - 1) / 2) / max(1, len(defenses) - 1)
            sign = style.method(defense)
            printed, found = float(hit["published"].iloc[0]), float(hit["reproduced"].iloc[0])
            axis.plot([printed, found], [y, y], color=style.GRID, zorder=1)
            axis.plot(printed, y, mfc=style.BACKGROUND, mec=sign["color"], ls="", marker=sign["marker"], ms=8)
            axis.errorbar(found, y, xerr=_spread(hit), ms=8, capsize=3, ls="", **sign)
    axis.set_yticks(range(len(names)), [style.label(name, "attack") for name in names])
    axis.set_ylim(len(names) - 0.5, -0.5)


def _spread(hit: pd.DataFrame) -> float | None:
    spread = float(hit["sd"].iloc[0])
    return None if np.isnan(spread) else spread


def dot_legend(ran: pd.DataFrame, colour: str, closed: bool = False) -> list[Line2D]:
    """How printed numbers are marked, and each defense's, filled where they were reproduced. closed: some do not
    count."""
    kinds: list[tuple[str, dict[str, Any]]] = [("printed (hollow)", {"mec": colour, "mfc": style.BACKGROUND})]
    kinds += [("? does not count", {"color": style.GREY})] if closed else []
    methods = [(style.label(name), style.method(name)) for name in dict.fromkeys(map(str, ran["defense"]))]
    return [Line2D([], [], ls="", ms=8, label=said, **{"marker": "o", **look}) for said, look in (*kinds, *methods)]


def purity(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """What a splitting defense lets into its clean pool, epoch by epoch; one colour an attack.

    histories: by "attack" or "attack, more words"; further ones of a colour are dashed and dotted. Each has the
    columns epoch, acc, asr, clean_purity (a share) and, with several runs, seed: the line is the mean, the band one
    standard deviation.
    """
    panels = {"clean_purity": "pool: clean (%)", "acc": "ACC (%)", "asr": "ASR (%)"}
    known = {name: frame for name, frame in histories.items() if len(frame) and "clean_purity" in frame}
    with style.look():
        if not known:
            return empty("Purity of the clean pool")
        figure, axes = grid(7.2, 3.1, 1, len(panels))
        for column, axis in zip(panels, axes.flat, strict=True):
            drawn: list[str] = []
            for name, frame in known.items():
                scale = 100.0 if column == "clean_purity" else 1.0
                mean, sd = (getattr(frame.groupby("epoch")[column], how)() * scale for how in ("mean", "std"))
                colour = style.attack(name.partition(", ")[0])["color"]
                line = ("-", "--", ":")[drawn.count(colour) % 3]
                drawn.append(colour)
                axis.plot(mean.index, mean, ls=line, color=colour, label=style.run_label(name))
                band = [(mean + side * sd.fillna(0)).clip(0, 100) for side in (-1, 1)]
                axis.fill_between(mean.index, *band, color=colour, alpha=0.2)
            axis.set(xlabel="epoch", title=panels[column])
        handles, labels = axes.flat[0].get_legend_handles_labels()
        columns = max(1, min(5, 100 // (max(map(len, labels)) + 5)))  # the figure is about 100 letters wide
        figure.legend(handles, labels, loc="outside lower center", ncols=columns)
        return figure


dots = drawing(_dots, titled=False, printed=True)
