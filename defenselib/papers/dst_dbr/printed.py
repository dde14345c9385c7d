"""D-ST's and D-BR's statements held against their own printed numbers: not all of them hold."""

from __future__ import annotations

import math

import pandas as pd

from defenselib.papers.dst_dbr.exhibits import EXHIBITS, KEY
from defenselib.papers.kit import frame as frames
from defenselib.papers.kit import printed

COLUMNS = ["exhibit", "claim", "statement", "source", "outcome", "numbers"]


def on_print() -> pd.DataFrame:
    """The claims on tables, judged on the printed numbers themselves: exhibit, statement, source, outcome, numbers."""
    parts = []
    for exhibit in EXHIBITS:
        if exhibit.checks and exhibit.key in printed.tables(KEY):
            rows = printed.table(KEY, exhibit.key)
            found = [frames.entry([value]) for value in pd.to_numeric(rows["published"])]
            frame = frames.finish(rows, found, "paper")
            parts.append(exhibit.claims(frame).assign(exhibit=exhibit.key))
    return pd.concat([*parts, averages()], ignore_index=True)[COLUMNS]


def averages() -> pd.DataFrame:
    """One row a table with a row of averages: are the printed ones the means of their rows, to the second decimal?"""
    made = []
    for key in printed.tables(KEY):
        rows = printed.table(KEY, key)
        parts = frames.parts_of_averages(rows)
        if not parts:
            continue
        values = pd.to_numeric(rows["published"])
        wrong = []
        for position, members in parts.items():
            mean, claimed = values.iloc[members].mean(), values.iloc[position]
            # Half a unit of the last digit, and as much again for what was rounded before it was averaged.
            if not math.isclose(mean, claimed, abs_tol=0.0101):
                row = rows.iloc[position]
                where = f"{row['dataset']} {row['defense']} {row['metric']}"
                wrong.append(f"{where}: printed {claimed:.2f}, recomputed {mean:.2f}")
        numbers = "; ".join(wrong) or f"{len(parts)} averages"
        outcome = "fails" if wrong else "holds"
        statement = "The averages are the means of the rows above them."
        made.append((key, "averages", statement, key.replace("table-", "Table "), outcome, numbers))
    return pd.DataFrame(made, columns=COLUMNS)
