"""The one picture that decides: attack success and accuracy under each attack, without and with a paper's defense."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from defenselib.plots import style
from defenselib.plots.canvas import empty, grid
from defenselib.plots.charts import dot_legend

PANELS = {"asr": "Attack success rate", "acc": "Accuracy on clean images"}
WIDE = 0.5  # of the place of an attack, over which its defenses spread


def decision(rows: pd.DataFrame, low: float, title: str = "") -> Figure:
    """Printed values hollow, reproduced ones filled, a column an attack; grey with a question mark where a gate keeps a
    low one from counting. rows: dataset, attack, defense, metric (acc, asr), published, reproduced, sd, gate.
    low: the ASR up to which an attack has failed, in percent."""
    ran = rows[rows["reproduced"].notna() & rows["metric"].isin(list(PANELS))]
    # An ASR that is not low is so whatever the gate says.
    counts = (ran["metric"] == "asr") & (ran["reproduced"] > low)
    ran = ran.assign(gate=ran["gate"].mask(counts, ""))
    with style.look():
        if ran.empty:
            return empty(title)
        cells = list(dict.fromkeys(zip(ran["dataset"], ran["attack"], strict=True)))
        figure, axes = grid(7.4, 3.3, 1, len(PANELS))
        for axis, (metric, said) in zip(axes[0], PANELS.items(), strict=True):
            _panel(axis, ran[ran["metric"] == metric], cells)
            axis.set(title=said, ylabel="%", ylim=(-4, 104))
        axes[0, 0].axhline(low, color=style.INK, ls=":", lw=1.2)
        marks = dot_legend(ran, style.INK, closed=bool((ran["gate"] != "").any()))
        figure.legend(handles=marks, loc="outside lower center", ncols=6, columnspacing=1.2)
        figure.suptitle(title)
        return figure


def _panel(axis: Axes, part: pd.DataFrame, cells: Sequence[tuple[str, str]]) -> None:
    defenses = list(dict.fromkeys(part["defense"]))
    several = len({dataset for dataset, _ in cells}) > 1
    for rank, defense in enumerate(defenses):
        mine = part[part["defense"] == defense].drop_duplicates(["dataset", "attack"])
        shift = WIDE * (rank - (len(defenses) - 1) / 2) / max(1, len(defenses) - 1)
        places = [cells.index(cell) + shift for cell in zip(mine["dataset"], mine["attack"], strict=True)]
        sign, name = style.method(defense), style.label(defense)
        look = {"ls": "", "ms": 8, "marker": sign["marker"]}
        axis.plot(places, mine["published"].astype(float), mfc=style.BACKGROUND, mec=sign["color"],
                  label=f"{name}, printed", **look)  # fmt: skip
        for closed, colour in ((False, sign["color"]), (True, style.GREY)):
            kept = [(mine["gate"].iloc[i] != "") == closed for i in range(len(mine))]
            shown, at = mine[kept], [place for place, keep in zip(places, kept, strict=True) if keep]
            if shown.empty:
                continue
            said = f"{name}, reproduced" + (" (does not count)" if closed else "")
            axis.plot(at, shown["reproduced"], color=colour, label=said, **look)
            axis.errorbar(at, shown["reproduced"], yerr=shown["sd"].fillna(0), color=colour, ls="", capsize=3)
            for place, value in zip(at, shown["reproduced"], strict=True) if closed else ():
                axis.annotate("?", (place, value), (5, 4), textcoords="offset points", fontsize=11, weight="bold")
    names = [
        style.label(attack, "attack") + (f"\n{style.label(dataset)}" if several else "") for dataset, attack in cells
    ]
    axis.set_xticks(
        range(len(cells)), names, rotation=0 if len(cells) < 4 else 30, ha="center" if len(cells) < 4 else "right"
    )
    axis.set_xlim(-0.6, len(cells) - 0.4)
    axis.grid(visible=False, axis="x")
