"""The book's drawings. Each takes a tidy frame and returns a matplotlib Figure; none computes a result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from defenselib.papers.aabl import figures as figures_aabl
from defenselib.papers.asd import figures as figures_asd
from defenselib.papers.asd import pipeline as figures_asd_pipeline
from defenselib.papers.bsd import (
    diagrams as diagrams_bsd,
)
from defenselib.papers.bsd import (
    figures as figures_bsd,
)
from defenselib.papers.bsd import (
    figures_tables as figures_bsd_tables,
)
from defenselib.papers.dst_dbr import figures as figures_dst_dbr
from defenselib.papers.dst_dbr import pictures as dst_dbr_pictures
from defenselib.papers.vab import figures as figures_vab
from defenselib.papers.vab import pipeline as figures_vab_pipeline
from defenselib.plots import style
from defenselib.plots.canvas import empty, fields, grid, group_histograms, smoke_words

PANEL_TITLES = {
    "a": "(a) f before stage 3",
    "b": "(b) virtual model",
    "c": "(c) reduction, (a) minus (b)",
    "d": "(d) f after stage 3",
}


def histograms(frame: pd.DataFrame, title: str = "") -> Figure:
    """Figure 3 of ASD: counts of clean and poisoned samples per loss, one panel a quantity; log scale."""
    counts = frame[(frame["metric"] == "count") & frame["reproduced"].notna()]
    with style.look():
        if counts.empty:
            return empty(title)
        parts = pd.DataFrame([fields(variant) for variant in counts["variant"]], index=counts.index)
        parts["reproduced"] = counts["reproduced"]
        figure, axes = grid(7.2, 5.6, 2, 2)
        for (panel, words), axis in zip(PANEL_TITLES.items(), axes.flat, strict=True):
            group_histograms(axis, parts[parts["panel"] == panel])
            axis.set(title=words, xlabel="loss reduction" if panel == "c" else "loss $L_1$", ylabel="training samples")
        axes.flat[0].legend()
        figure.suptitle(smoke_words(counts).strip())
        return figure


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
        axis.set(xlabel="epoch", ylabel=f"{str(ran['metric'].iloc[0]).upper()} (%)", title=title + smoke_words(ran))
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
        figure.suptitle(smoke_words(ran).strip())
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


DRAWERS: dict[str, Callable[[pd.DataFrame, str], Figure]] = {
    "histograms": histograms,
    "curves": curves,
    "dots": dots,
    **figures_asd.DRAWERS,
    "vab-variants": figures_vab.variants,
    "vab-entropies": figures_vab.entropies,
    "vab-mixture": figures_vab.mixture,
    "vab-lines": figures_vab.lines,
    "vab-images": figures_vab.images,
    **figures_bsd_tables.DRAWERS,
    **figures_bsd.DRAWERS,
    "aabl-lines": figures_aabl.lines,
    "aabl-histograms": figures_aabl.histograms,
    "aabl-losses": figures_aabl.losses,
    "dst_dbr_movement": dst_dbr_pictures.movement,
    "dst_dbr_clusters": dst_dbr_pictures.clusters,
    "dst_dbr_histograms": figures_dst_dbr.histograms,
    "dst_dbr_bars": figures_dst_dbr.bars,
    "dst_dbr_steps": figures_dst_dbr.steps,
    "dst_dbr_weights": figures_dst_dbr.weights,
    "dst_dbr_pairs": figures_dst_dbr.pairs,
    "dst_dbr_shares": figures_dst_dbr.shares,
}
# Drawings that show an idea and no result; what they are given is not looked at.
DIAGRAMS: dict[str, Callable[[pd.DataFrame, str], Figure]] = {
    **diagrams_bsd.DIAGRAMS,
    **figures_asd_pipeline.DIAGRAMS,
    "vab-pipeline": figures_vab_pipeline.pipeline,
    "aabl-categories": figures_aabl.categories,
    "dst_dbr_framework": dst_dbr_pictures.framework,
    "dst_dbr_attacks": dst_dbr_pictures.attacks,
    "dst_dbr_transforms": dst_dbr_pictures.transforms,
}
