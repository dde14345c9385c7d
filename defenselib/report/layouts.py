"""A paper's own table layout: printed and reproduced in one cell, and marks at numbers that do not add up."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from defenselib.report import style
from defenselib.report.tables import MARKS, Html, render

DOUBTFUL = "†"
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
    printed = _number(row["published"]) + (f" {DOUBTFUL}" if doubtful else "")
    if pd.isna(row["reproduced"]):
        return printed
    return f"{printed} → {_number(row['reproduced'])} {MARKS[str(row['verdict'])].split()[0]}"


def _number(value: float) -> str:
    if pd.isna(value):
        return "–"
    return f"{value:.0f}" if float(value).is_integer() and abs(value) <= 1 else f"{value:.1f}"


def _word(value: object, kind: str) -> str:
    if pd.isna(value):
        return ""
    if kind == "metric":
        return str(value).upper() if len(str(value)) <= 4 else str(value)
    if kind in KINDS:
        return style.label(str(value), kind)
    number = str(value).removesuffix(".0")
    return number.replace(";", ", ").replace("=", " = ")
