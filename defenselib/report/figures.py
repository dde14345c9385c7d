"""The book's drawings. Each takes a tidy frame and returns a matplotlib Figure; none computes a result."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from defenselib.report import style

PANEL_TITLES = {
    "a": "(a) f before stage 3",
    "b": "(b) virtual model",
    "c": "(c) reduction, (a) minus (b)",
    "d": "(d) f after stage 3",
}
NOTHING = "not run: no result to draw"


def fields(variant: object) -> dict[str, str]:
    """ "panel=a;group=clean" as a dictionary; empty for a missing variant."""
    if not isinstance(variant, str):
        return {}
    return dict(part.split("=", 1) for part in variant.split(";") if "=" in part)


class Picture(Figure):
    """A Figure that a notebook shows by itself: made without pyplot, so that nothing stays open."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=self.dpi)
        return buffer.getvalue()


def grid(width: float, height: float, rows: int, columns: int) -> tuple[Figure, np.ndarray]:
    """A figure and its axes, always (rows, columns)."""
    figure = Picture(figsize=(width, height))
    return figure, figure.subplots(rows, columns, squeeze=False)


def _smoke(ran: pd.DataFrame) -> str:
    """What a title must add where the numbers are those of a smoke run."""
    return "\n(smoke: drawn shapes and a tiny network, no evidence)" if (ran["profile"] == "smoke").any() else ""


def empty(title: str, words: str = NOTHING) -> Figure:
    figure = Picture(figsize=(7.2, 1.2))
    axes = figure.subplots()
    axes.axis("off")
    axes.text(0.5, 0.5, words, ha="center", va="center")
    figure.suptitle(textwrap.fill(title, 70))
    return figure


def histograms(frame: pd.DataFrame, title: str = "") -> Figure:
    """Figure 3 of ASD: counts of clean and poisoned samples per loss, one panel a quantity; log scale."""
    counts = frame[(frame["metric"] == "count") & frame["reproduced"].notna()]
    with style.look():
        if counts.empty:
            return empty(title)
        parts = pd.DataFrame([fields(variant) for variant in counts["variant"]], index=counts.index)
        parts["count"] = counts["reproduced"]
        figure, axes = grid(7.2, 5.6, 2, 2)
        for (panel, words), axis in zip(PANEL_TITLES.items(), axes.flat, strict=True):
            _panel(axis, parts[parts["panel"] == panel])
            axis.set(title=words, xlabel="loss reduction" if panel == "c" else "loss $L_1$", ylabel="training samples")
        axes.flat[0].legend()
        figure.suptitle(_smoke(counts).strip())
        return figure


def _panel(axis: Axes, parts: pd.DataFrame) -> None:
    for group, colour in style.GROUPS.items():
        mine = parts[parts["group"] == group]
        if mine.empty:
            continue
        edges = np.append(mine["from"].astype(float), float(mine["to"].iloc[-1]))
        axis.stairs(
            mine["count"].to_numpy(),
            edges,
            fill=True,
            alpha=0.45,
            facecolor=colour,
            edgecolor=colour,
            hatch=style.HATCHES.get(group, ""),
            label=group,
        )
    axis.set_yscale("symlog", linthresh=1)
    axis.set_ylim(bottom=0)


def curves(frame: pd.DataFrame, title: str = "") -> Figure:
    """A number by epoch, one line a defense, mean with a band of one standard deviation over the seeds.

    Epochs of a stage 3 are dashed: ASD's Figure 4 ends before it.
    """
    ran = frame[frame["reproduced"].notna()]
    with style.look():
        if ran.empty:
            return empty(title)
        figure, axes = grid(7.2, 3.8, 1, 1)
        axis = axes.flat[0]
        for defense in dict.fromkeys(ran["defense"]):
            rows = ran[ran["defense"] == defense]
            parts = pd.DataFrame([fields(variant) for variant in rows["variant"]], index=rows.index)
            epoch, late = parts["epoch"].astype(int), parts.get("stage", pd.Series("", rows.index)) == "3"
            colour = style.method(str(defense))["color"]
            words = style.label(str(defense))
            _line(axis, epoch[~late], rows[~late], colour, "-", words)
            if late.any():
                # From the last point before it, so that the line has no gap.
                late |= epoch == epoch[late].min() - 1
                _line(axis, epoch[late], rows[late], colour, "--", f"{words}, stage 3")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set(xlabel="epoch", ylabel=f"{str(ran['metric'].iloc[0]).upper()} (%)", title=title + _smoke(ran))
        axis.legend()
        return figure


def _line(axis: Axes, epoch: pd.Series, rows: pd.DataFrame, colour: str, line: str, words: str) -> None:
    axis.plot(epoch, rows["reproduced"], line, color=colour, label=words)
    spread = rows["sd"].fillna(0.0)
    if (spread > 0).any():
        axis.fill_between(epoch, rows["reproduced"] - spread, rows["reproduced"] + spread, color=colour, alpha=0.2)


def dots(frame: pd.DataFrame, title: str = "") -> Figure:
    """Printed (hollow) and reproduced (filled) numbers side by side: a panel a data set and metric, a row an attack."""
    ran = frame[frame["reproduced"].notna() & frame["metric"].isin(["acc", "asr"])]
    with style.look():
        if ran.empty:
            return empty(title)
        datasets = list(dict.fromkeys(ran["dataset"]))
        metrics = [metric for metric in ("acc", "asr") if (ran["metric"] == metric).any()]
        names = list(dict.fromkeys(ran["attack"]))
        height = 1.6 + len(datasets) * (0.8 + 0.55 * len(names))
        figure, axes = grid(7.2, height, len(datasets), len(metrics))
        for row, dataset in enumerate(datasets):
            for column, metric in enumerate(metrics):
                part = ran[(ran["dataset"] == dataset) & (ran["metric"] == metric)]
                _dot_panel(axes[row, column], part, names)
                axes[row, column].set(title=f"{style.label(dataset)}: {metric.upper()}", xlabel="%", xlim=(-4, 104))
        figure.suptitle(_smoke(ran).strip())
        figure.legend(handles=_dot_legend(ran), loc="outside lower center", ncols=4)
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


def _dot_legend(ran: pd.DataFrame) -> list[Line2D]:
    kinds = [
        Line2D([], [], ls="", marker="o", mec=style.GREY, mfc=style.BACKGROUND, ms=8, label="printed"),
        Line2D([], [], ls="", marker="o", color=style.GREY, ms=8, label="reproduced"),
    ]
    names = dict.fromkeys(map(str, ran["defense"]))
    return kinds + [Line2D([], [], ls="", ms=8, label=style.label(name), **style.method(name)) for name in names]


def purity(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """What a splitting defense lets into its clean pool, epoch by epoch; one colour a history.

    Each history has the columns epoch, acc, asr, clean_purity (a share) and, with several runs, seed: the line is the
    mean, the band one standard deviation.
    """
    panels = {"clean_purity": "pool: clean (%)", "acc": "ACC (%)", "asr": "ASR (%)"}
    known = {name: frame for name, frame in histories.items() if len(frame) and "clean_purity" in frame}
    with style.look():
        if not known:
            return empty("Purity of the clean pool")
        figure, axes = grid(7.2, 2.9, 1, len(panels))
        for column, axis in zip(panels, axes.flat, strict=True):
            for name, frame in known.items():
                scale = 100.0 if column == "clean_purity" else 1.0
                mean, sd = (getattr(frame.groupby("epoch")[column], how)() * scale for how in ("mean", "std"))
                colour = style.attack(name)["color"]
                axis.plot(mean.index, mean, color=colour, label=style.label(name, "attack"))
                axis.fill_between(mean.index, mean - sd.fillna(0), mean + sd.fillna(0), color=colour, alpha=0.2)
            axis.set(xlabel="epoch", title=panels[column])
        axes.flat[0].legend()
        return figure


DRAWERS: dict[str, Callable[[pd.DataFrame, str], Figure]] = {
    "histograms": histograms,
    "curves": curves,
    "dots": dots,
}
