"""The printed numbers of the five papers, as committed under `published/` (one CSV a table, one row a number)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from defenselib.errors import check_choice, unknown
from defenselib.papers.titles import TITLES

FOLDER = Path(__file__).parents[1] / "published"
# The columns that say which number a row is; `published` follows them where the CSV has `value`.
WHERE = ("dataset", "model", "attack", "target", "poisoning_rate", "defense", "variant", "metric")
COLUMNS = (*WHERE, "published", "note")


def table(paper: str, exhibit: str) -> pd.DataFrame:
    """The rows of one CSV in order, with `value` renamed `published` (words stay words, a dash is NaN), and a column
    for each key of `variant` ("alpha=0.3;beta=0.2": alpha, beta; numbers as numbers)."""
    path = FOLDER / paper / f"{exhibit}.csv"
    if not path.exists():
        raise unknown(f"table of {paper!r}:", exhibit, tables(paper))
    return _table(path).copy()


def tables(paper: str) -> tuple[str, ...]:
    """Keys of the exhibits that have printed numbers: table-1, table-2, ..., text-1."""
    return tuple(key for key in exhibits(paper).index if (FOLDER / paper / f"{key}.csv").exists())


@cache
def exhibits(paper: str) -> pd.DataFrame:
    """Every table and figure of a paper and its `text-1`, indexed by exhibit key; empty fields are empty strings.

    The frame is shared: do not write to it.
    """
    frame = pd.read_csv(FOLDER / paper / "exhibits.csv").fillna("").set_index("exhibit")
    for path in (FOLDER / paper).glob("*.csv"):
        if path.stem != "exhibits" and path.stem not in frame.index:
            facts = {"kind": "text", "title": "Numbers that stand only in the running text"}
            frame.loc[path.stem] = {**dict.fromkeys(frame.columns, ""), **facts, "numbers": len(pd.read_csv(path))}
    return frame.loc[sorted(frame.index, key=_natural)]


@cache
def notes(paper: str) -> dict[str, str]:
    """What must be known of an exhibit beside its numbers, by exhibit: how it is read here, what the paper leaves open,
    misprints. Texts in Markdown, in the `notes.toml` of the paper; they state no outcome, those come from frames.
    Errors: UnknownNameError for a paper that there is not, or an exhibit that it has not."""
    path = FOLDER.parent / check_choice("paper", paper, TITLES) / "notes.toml"
    found = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    known = list(exhibits(paper).index)
    return {check_choice(f"exhibit of {paper!r}:", key, known): str(text) for key, text in found.items()}


@cache
def vocabulary(paper: str, column: str) -> tuple[str, ...]:
    """Every data set, attack or defense that some exhibit of the paper names (`none` attack included)."""
    names: dict[str, None] = {}
    for key in tables(paper):
        names.update(dict.fromkeys(table(paper, key)[column].dropna().astype(str)))
    for listed in exhibits(paper)[f"{column}s"].astype(str):
        # Where the paper states no name, some exhibits say so in words.
        names.update(dict.fromkeys(item for item in listed.split(";") if re.fullmatch(r"[a-z0-9_-]+", item)))
    if column in ("attack", "defense"):
        names["none"] = None
    for aggregate in ("average", "worst"):
        names.pop(aggregate, None)
    return tuple(names)


def undefended(
    paper: str, tables: Iterable[str], dataset: str, attack: str, metric: str, same: Mapping[str, object] | None = None
) -> float:
    """The printed number of the undefended model in the first of the tables that has one; else NaN. same: where one has
    several that differ in one of these columns, that with this value."""
    for table in tables:
        found = _undefended(paper, table).get((dataset, attack, metric))
        if found is None:
            continue
        for column, value in (same or {}).items():
            if found[column].nunique() > 1:
                found = found[found[column] == value]
        numbers = found["published"].iloc[:1].astype(float).dropna()
        if len(numbers):
            return float(numbers.iloc[0])
    return float("nan")


@cache
def _undefended(paper: str, exhibit: str) -> dict[tuple[str, ...], pd.DataFrame]:
    if exhibit not in tables(paper):
        return {}
    rows = table(paper, exhibit)
    rows = rows[rows["defense"] == "none"]
    return {tuple(map(str, key)): part for key, part in rows.groupby(["dataset", "attack", "metric"])}


def settings(variant: object) -> dict[str, Any]:
    """ "alpha=0.3;ssl=uda" as {"alpha": 0.3, "ssl": "uda"}; empty for a missing variant."""
    if not isinstance(variant, str):
        return {}
    return {key: _typed(value) for key, _, value in (part.partition("=") for part in variant.split(";"))}


def _typed(text: str) -> float | str:
    return float(text) if re.fullmatch(r"-?\d+(\.\d+)?", text) else text


@cache
def _table(path: Path) -> pd.DataFrame:
    frame = pd.read_csv(path).rename(columns={"value": "published"})
    said = [settings(variant) for variant in frame["variant"]]
    axes = {key: [one.get(key) for one in said] for key in dict.fromkeys(key for one in said for key in one)}
    clash = set(axes) & set(frame.columns)
    if clash:
        raise ValueError(f"{path}: the variants use the names of columns: {', '.join(sorted(clash))}")
    return pd.concat([frame, pd.DataFrame(axes, index=frame.index)], axis=1)


def _natural(key: str) -> tuple[str, int]:
    kind, _, number = key.partition("-")
    order = {"table": "0", "figure": "1", "text": "2"}
    return order.get(kind, kind), int(number) if number.isdigit() else 0
