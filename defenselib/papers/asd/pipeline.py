"""ASD's Figure 2 (Gao et al., CVPR 2023), a drawing without data, as a diagram of our own."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
from matplotlib.figure import Figure

from defenselib.papers.bsd.diagrams import _arrow, _box, _canvas
from defenselib.plots import style

STAGES = (
    ("1  class-aware, by loss", "clean seeds, and of\nevery label the $m$\nsamples of least loss;\n$m$ grows slowly"),
    ("2  class-agnostic, by loss", "the half of all samples\nwith the least loss,\nwhatever their label"),
    ("3  meta-split", "the half whose loss\na virtual model takes\naway least"),
)


def pipeline(frame: pd.DataFrame | None = None, title: str = "") -> Figure:
    """Three rules for the clean pool, one after the other; in every epoch the same training on both pools."""
    with style.look():
        figure, axis = _canvas(7.6, 5.2)
        for place, (name, words) in enumerate(STAGES):
            left = 4 + 32 * place
            axis.text(left + 14, 96, name, ha="center", weight="bold", fontsize=9)
            _box(axis, left, 66, 28, 26, words, "step")
            if place:
                _arrow(axis, (left - 4, 79), (left, 79))
        _box(axis, 4, 34, 19, 20, "poisoned training\nset, ranked anew\nin every epoch", "poison")
        _box(
            axis,
            68,
            40,
            28,
            17,
            "virtual model $f_{\\theta'}$: a copy,\nlearns everything for one\nepoch, is thrown away",
            "poison",
        )
        _arrow(axis, (82, 57), (82, 66))
        _box(axis, 31, 46, 27, 12, "clean pool $\\mathcal{D}_C$,\nused with labels", "clean")
        _box(axis, 38, 27, 20, 12, "polluted pool $\\mathcal{D}_P$,\nused without", "poison")
        _arrow(axis, (18, 66), (36, 58))
        _arrow(axis, (50, 66), (47, 58))
        _arrow(axis, (72, 66), (54, 58))
        _arrow(axis, (23, 47), (31, 51))
        _arrow(axis, (23, 40), (38, 34))
        _box(axis, 31, 4, 27, 14, "semi-supervised training\nof the model $f_{\\theta}$", "step")
        _arrow(axis, (34.5, 46), (34.5, 18))
        _arrow(axis, (48, 27), (48, 18))
        _arrow(axis, (31, 11), (13, 34), line="--")
        axis.text(6, 17, "its losses\nrank again", fontsize=8)
        _arrow(axis, (58, 11), (82, 40), line="--")
        axis.text(73, 22, "copied", fontsize=8)
        figure.suptitle(title)
        return figure


DIAGRAMS: dict[str, Callable[[pd.DataFrame, str], Figure]] = {"asd-pipeline": pipeline}
