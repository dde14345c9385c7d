"""A paper's own table layout: printed and reproduced in one cell, and marks at numbers that do not add up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from defenselib.plots import style
from defenselib.report.tables import MARKS, Html, render

DOUBTFUL = "†"
WHOLE = ("count", "correct")
KINDS = ("dataset", "attack", "defense")


def layout(
    frame: pd.DataFrame, down: Sequence[str], across: Sequence[str], caption: str, doubtful: Sequence[int] = ()
) -> Html:
    """A row for each combination of the columns `down`, a column for each of `across`: "printed → reproduced mark", the
    printed number alone where nothing was run.

    doubtful: labels of rows whose printed number does not follow from others of the same table; they get a dagger.
    """
    cells = [_cell(row, label in doubtful) for label, row in frame.iterrows()]
    named = pd.DataFrame({name: [_word(value, name) for value in frame[name]] for name in (*down, *across)})
    wide = named.assign(cell=cells).pivot_table(
        index=list(down), columns=list(across), values="cell", aggfunc="first", sort=False, fill_value=""
    )
    wide.columns = [" ".join(column) if isinstance(column, tuple) else str(column) for column in wide.columns]
    words = f"{caption}: printed → reproduced where it was run"
    if len(doubtful):
        words += f". {DOUBTFUL} does not follow from the ACC and ASR printed beside it"
    return render(wide.reset_index(), words, headers=len(down))


def _cell(row: pd.Series, doubtful: bool) -> str:
    digits = 0 if row["metric"] in WHOLE and float(row["published"]).is_integer() else 1
    printed = _number(row["published"], digits) + (f" {DOUBTFUL}" if doubtful else "")
    if pd.isna(row["reproduced"]):
        return printed
    return f"{printed} → {_number(row['reproduced'], digits)} {MARKS[str(row['verdict'])].split()[0]}"


def _number(value: float, digits: int) -> str:
    return "–" if pd.isna(value) else f"{value:.{digits}f}"


def _word(value: Any, kind: str) -> str:
    if pd.isna(value):
        return ""
    if kind == "metric":
        return str(value).upper() if len(str(value)) <= 4 else str(value)
    if kind in KINDS:
        return style.label(str(value), kind)
    number = str(value).removesuffix(".0")
    return number.replace(";", ", ").replace("=", " = ")
