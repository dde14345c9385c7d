"""The charts of D-ST and D-BR: Figures 3 to 6, 8 and 11 to 13 of Chen et al., NeurIPS 2022."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from defenselib.data.augment.transforms import TRANSFORMS
from defenselib.plots import style
from defenselib.plots.canvas import empty, fields, grid, group_histograms, leave_empty, smoke_words

STEPS = {
    "unlearn": (style.ORANGE, "--", "unlearning"),
    "relearn": (style.GREEN, ":", "relearning"),
    "both": (style.BLUE, "-", "in turn"),
}
METRICS = {"spectral": "spectral", "sce": "DBD's loss", "loss-ascent": "ABL's loss", "fct": "FCT"}


def said(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that were run, with a column for each word of their variant."""
    ran = frame[frame["reproduced"].notna()]
    words = pd.DataFrame([fields(variant) for variant in ran["variant"]], index=ran.index)
    return pd.concat([ran, words[words.columns.difference(ran.columns)]], axis=1)


def histograms(frame: pd.DataFrame, title: str = "") -> Figure:
    """Figures 3 and 8: counts of clean and poisoned samples by FCT; a row an attack, before and after."""
    rows = said(frame)
    with style.look():
        if rows.empty:
            return empty(title)
        moments = [name for name in ("before", "after") if (rows["moment"] == name).any()]
        names = list(dict.fromkeys(rows["attack"]))
        figure, axes = grid(7.2, 1.9 * len(names) + 0.6, len(names), len(moments))
        for line, name in zip(axes, names, strict=True):
            for axis, moment in zip(line, moments, strict=True):
                mine = rows[(rows["attack"] == name) & (rows["moment"] == moment) & (rows["metric"] == "count")]
                group_histograms(axis, mine)
                axis.set_title(f"{style.label(name, 'attack')}, {moment} the fine-tuning", fontsize=9.5)
            line[0].set_ylabel("training samples")
        axes[0, 0].legend()
        figure.supxlabel("FCT", fontsize=10)
        figure.suptitle(smoke_words(rows).strip())
        return figure


def bars(frame: pd.DataFrame, title: str = "") -> Figure:
    """Figure 4: ACC and ASR of D-BR by the score that splits; a panel an attack."""
    rows = said(frame)
    with style.look():
        if rows.empty:
            return empty(title)
        names = list(dict.fromkeys(rows["attack"]))
        figure, axes = grid(7.4, 2.6 * -(-len(names) // 2) + 0.4, -(-len(names) // 2), 2)
        for axis, name in zip(axes.flat, names, strict=False):
            for shift, metric, colour in ((-0.2, "acc", style.BLUE), (0.2, "asr", style.ORANGE)):
                mine = rows[(rows["attack"] == name) & (rows["metric"] == metric)]
                mine = mine.drop_duplicates("variant").set_index(mine.drop_duplicates("variant")["variant"])
                heights = [mine["reproduced"].get(f"metric={key}", np.nan) for key in METRICS]
                places = np.arange(len(METRICS)) + shift
                axis.bar(places, heights, 0.4, color=colour, label=metric.upper(), hatch="//" if shift > 0 else "")
            axis.set_xticks(range(len(METRICS)), list(METRICS.values()), rotation=20, fontsize=8)
            axis.set(title=style.label(name, "attack"), ylabel="%", ylim=(0, 102))
        leave_empty(axes, len(names))
        axes.flat[0].legend(loc="upper center", ncols=2, bbox_to_anchor=(0.5, 1.02))
        figure.suptitle(smoke_words(rows).strip())
        return figure


def steps(frame: pd.DataFrame, title: str = "") -> Figure:
    """Figure 5: ACC (above) and ASR (below) by round; a column an attack."""
    rows = said(frame)
    with style.look():
        if rows.empty:
            return empty(title)
        names = list(dict.fromkeys(rows["attack"]))
        figure, axes = grid(max(5.6, 1.9 * len(names) + 1.6), 4.2, 2, len(names))
        for column, name in enumerate(names):
            for line, metric in enumerate(("acc", "asr")):
                for step, (colour, dash, words) in STEPS.items():
                    mine = rows[(rows["attack"] == name) & (rows["metric"] == metric) & (rows["steps"] == step)]
                    if mine.empty:
                        continue
                    order = mine["epoch"].astype(int).sort_values()
                    axes[line, column].plot(order, mine.loc[order.index, "reproduced"], dash, color=colour, label=words)
                axes[line, column].set(ylim=(-3, 103), ylabel=f"{metric.upper()} (%)" if column == 0 else "")
            axes[0, column].set_title(style.label(name, "attack"))
            axes[1, column].set_xlabel("round")
            axes[1, column].xaxis.set_major_locator(MaxNLocator(integer=True))
            axes[0, column].xaxis.set_major_locator(MaxNLocator(integer=True))
        max(axes[0], key=lambda axis: len(axis.lines)).legend(fontsize=8)
        figure.suptitle(smoke_words(rows).strip())
        return figure


def weights(frame: pd.DataFrame, title: str = "") -> Figure:
    """Figure 6: ACC and ASR of D-ST by the weight of the second term of its classifier's loss."""
    return _lines(frame, title, ("poison_weight",), ("weight $\\lambda_p$",), even=True)


def shares(frame: pd.DataFrame, title: str = "") -> Figure:
    """Figure 13: ACC and ASR of D-BR by the two shares; in each row the other share is the usual one."""
    words = ("clean share $\\alpha_c$", "poison share $\\alpha_p$")
    return _lines(frame, title, ("clean_share", "poison_share"), words)


def _lines(
    frame: pd.DataFrame, title: str, names: tuple[str, ...], words: tuple[str, ...], even: bool = False
) -> Figure:
    rows = said(frame)
    with style.look():
        if rows.empty:
            return empty(title)
        figure, axes = grid(7.2, 2.6 * len(names) + 0.3, len(names), 2)
        for line, name, label in zip(axes, names, words, strict=True):
            some = rows[rows[name].notna()] if name in rows else rows[:0]
            ticks = sorted(some[name].astype(float).unique()) if len(some) else []
            for axis, metric in zip(line, ("acc", "asr"), strict=True):
                for attack in dict.fromkeys(some["attack"]):
                    mine = some[(some["attack"] == attack) & (some["metric"] == metric)]
                    at = mine[name].astype(float).sort_values()
                    x = [ticks.index(value) for value in at] if even else list(at)
                    sign = {**style.attack(attack), "label": style.label(attack, "attack")}
                    axis.plot(x, mine.loc[at.index, "reproduced"], **sign)
                if even:
                    axis.set_xticks(range(len(ticks)), [f"{tick:g}" for tick in ticks])
                axis.set(xlabel=label, ylabel=f"{metric.upper()} (%)", ylim=(-3, 103))
        axes[0, 0].legend(fontsize=8)
        figure.suptitle(smoke_words(rows).strip())
        return figure


def pairs(frame: pd.DataFrame, title: str = "") -> Figure:
    """Figures 11 and 12: both precisions by first (row) and second (column) transformation."""
    rows = said(frame)
    with style.look():
        if rows.empty:
            return empty(title)
        names, kinds = list(dict.fromkeys(rows["attack"])), ("clean_precision", "poison_precision")
        figure, axes = grid(7.4, 3.3 * len(names), len(names), 2)
        for line, name in zip(axes, names, strict=True):
            for axis, kind in zip(line, kinds, strict=True):
                mine = rows[(rows["attack"] == name) & (rows["metric"] == kind)]
                square = mine.pivot(index="first", columns="second", values="reproduced")
                values = square.reindex(index=list(TRANSFORMS), columns=list(TRANSFORMS)).to_numpy(dtype=float)
                axis.imshow(values, vmin=0, vmax=100, cmap="cividis")
                for (row, column), value in np.ndenumerate(values):
                    colour = "#000000" if value > 55 else "#ffffff"
                    axis.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color=colour)
                axis.set_xticks(range(len(TRANSFORMS)), list(TRANSFORMS), rotation=30, fontsize=8)
                axis.set_yticks(range(len(TRANSFORMS)), list(TRANSFORMS), fontsize=8)
                axis.grid(False)
                axis.set_title(f"{style.label(name, 'attack')}: {kind.replace('_', '-')} (%)", fontsize=9.5)
                axis.set(xlabel="second", ylabel="first")
        figure.suptitle(smoke_words(rows).strip())
        return figure
