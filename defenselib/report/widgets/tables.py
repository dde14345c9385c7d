"""Any table of the five papers at any profile that has results: printed, reproduced, difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from defenselib import papers
from defenselib.experiments.store import Store, default_stores
from defenselib.papers.kit import printed
from defenselib.papers.kit.claims import RANK
from defenselib.papers.kit.exhibit import Exhibit
from defenselib.papers.kit.verdict import VERDICTS
from defenselib.plots import words
from defenselib.report.comparison import copies, telling
from defenselib.report.widgets.client import Client, number, script


def table_picker(
    keys: Sequence[str] | None = None, profiles: Sequence[str] | None = None, store: Store | None = None
) -> Client:
    """The widget for some papers (all) and profiles (those that have results in the store; never `smoke` unless it is
    named). Nothing is trained."""
    reader = store or default_stores()
    there = {result.profile for result in reader.results()}
    levels = list(profiles or [name for name in RANK if name in there])
    shown = [
        {
            "name": words.label(key),
            "title": papers.get(key).title,
            "tables": [_table(papers.get(key).exhibit(name), levels, reader) for name in printed.tables(key)],
        }
        for key in keys or papers.available()
    ]
    marks = {name: words.marked(name) for name in VERDICTS}
    data = {"papers": shown, "profiles": levels, "marks": marks}
    return Client(name="table", _esm=script("tables.js"), data=data)


def _table(exhibit: Exhibit, levels: Sequence[str], store: Store) -> dict[str, Any]:
    """A table once with its printed numbers, and for each profile what was reproduced, by number of the row."""
    frames = {level: exhibit.reproduce(profile=level, run=False, store=store) for level in levels}
    first = next(iter(frames.values())) if frames else printed.table(exhibit.paper, exhibit.key)
    used = list(dict.fromkeys([*telling(first), "metric"]))
    return {
        "name": exhibit.key.replace("-", " ").capitalize(),
        "title": exhibit.title,
        "columns": [words.axis(name) or name for name in used],
        "rows": [
            [*(words.value(row[name], name) for name in used), _printed(row["published"])]
            for row in first.to_dict("records")
        ],
        "found": {level: _found(frame) for level, frame in frames.items()},
        "foot": {level: copies(frame) for level, frame in frames.items()},
    }


def _found(frame: pd.DataFrame) -> dict[str, list[Any]]:
    """Row to reproduced, spread, seeds and verdict, for the rows that have a number."""
    return {
        str(place): [number(row["reproduced"]), number(row["sd"], 2), int(row["n"]), row["verdict"]]
        for place, row in enumerate(frame.to_dict("records"))
        if pd.notna(row["reproduced"])
    }


def _printed(value: Any) -> float | str | None:
    """The printed number; words (a check mark, a dash) as they are."""
    try:
        return number(float(value), 6)
    except ValueError:
        return str(value)
