"""How well a rule separates poison, and how accurate the model behind it is, against what was learned before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from defenselib.plots import style
from defenselib.plots.canvas import grid, logarithmic

MODEL = (("acc", "ACC", style.BLUE, "o"), ("asr", "ASR", style.ORANGE, "s"))
RULE = (
    ("auc", "from all clean samples", style.GREEN, "o"),
    ("auc_hardest", "from the hardest tenth", style.PURPLE, "D"),
)


def separation(rows: pd.DataFrame, x: str, says: str, log: bool = False) -> Figure:
    """Panels over the column `x`: the model's ACC and ASR in percent, where they were measured and are not the axis
    itself; the AUC by which poison is told apart.

    rows: columns `x`, acc, asr, auc, auc_hardest, a row a run; the lines are means over the runs of a value, the points
    are the runs. says: the label of x. log: a logarithmic scale of x.
    """
    of_model = x != "acc" and any(name in rows and rows[name].notna().any() for name, *_ in MODEL)
    with style.look():
        figure, axes = grid(7.2 if of_model else 4.6, 3.0, 1, 1 + of_model)
        if of_model:
            _panel(axes[0, 0], rows, x, MODEL)
            axes[0, 0].set(title="the model behind the rule (%)", xlabel=says, ylim=(-4, 104))
        _panel(axes[0, -1], rows, x, RULE)
        axes[0, -1].set(title="AUC of poison", xlabel=says, ylim=(-0.04, 1.04))
        axes[0, -1].axhline(0.5, color=style.GREY, ls=":", lw=1, label="chance")
        for axis in axes.flat:
            axis.legend()
            if log:
                logarithmic(axis)
        return figure


def _panel(axis: Axes, rows: pd.DataFrame, x: str, lines: Sequence[tuple[str, str, str, str]]) -> None:
    for column, label, colour, marker in lines:
        if column not in rows or rows[column].isna().all():
            continue
        mean = rows.groupby(x)[column].mean()
        axis.plot(mean.index.to_numpy(dtype=float), mean.to_numpy(), color=colour, marker=marker, ms=6, label=label)
        axis.scatter(np.asarray(rows[x], dtype=float), rows[column], color=colour, marker=marker, s=12, alpha=0.4)
