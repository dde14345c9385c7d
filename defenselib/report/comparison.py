"""Printed beside reproduced, number by number: what tells rows apart at the left, ACC and ASR side by side, what all
rows share in the caption, and below a row, once it is opened, where its numbers come from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pandas as pd

from defenselib.errors import InvalidValueError
from defenselib.papers.kit import frame as frames
from defenselib.papers.kit.verdict import NOT_COMPARABLE, VERDICTS
from defenselib.papers.titles import TITLES
from defenselib.plots import words
from defenselib.report.html import FULL, Column, Html, render, width
from defenselib.report.provenance import made_of

WITH_ATTACK = ("target", "poisoning_rate")  # an attack brings its own, so that they seldom tell rows apart
PLACE = ("dataset", "model", "attack", "defense")
SIDE_BY_SIDE = 3  # metrics that fit beside one another
SEEDS_WIDE = 64  # pixels of the column of seeds
HEADS = 3  # columns that tell rows apart
SEEDS = re.compile(r"\d+ of \d+ seeds$|seeds? [\d, ]+ not run$")  # what the column of seeds says
Cells = dict[Column, list[str]]


def telling(frame: pd.DataFrame) -> list[str]:
    """The columns that tell rows apart: those that vary, and not only with the attack, which has one of its own."""
    columns = ("dataset", "model", "attack", *WITH_ATTACK, "defense", *frames.axes(frame), "metric")
    told = [name for name in columns if name in frame and frame[name].nunique(dropna=False) > 1]
    by_attack = frame.groupby("attack", dropna=False)
    return [name for name in told if name not in WITH_ATTACK or by_attack[name].nunique().max() > 1]


def profile_of(frame: pd.DataFrame) -> str:
    """The one profile of a frame. Raises InvalidValueError for rows of several: they may not stand side by side."""
    found = [name for name in frame["profile"].unique() if name]
    if len(found) > 1:
        raise InvalidValueError(f"rows of the profiles {', '.join(found)} do not belong in one table")
    return found[0] if found else ""


def copies(frame: pd.DataFrame) -> str:
    """What must be known of the data behind a frame's numbers (`words.COPIES`); empty where there is nothing."""
    found = dict.fromkeys(name for named in frame.get("source", ()) for name in str(named).split(", "))
    said = [words.COPIES[name] for name in found if name in words.COPIES]
    return f"{'; '.join(said)}." if said else ""


def comparison(frame: pd.DataFrame, caption: str, only_run: bool = True) -> Html:
    """One row a setting, with the numbers of its metrics side by side where they are few, else one a number: printed,
    reproduced with spread, verdict, then seeds where they differ, and notes below. What all rows share moves to the
    caption, which names the profile. A reproduced number opens what it is made of, on which machine it ran included.

    only_run leaves out the rows without a number; the caption says how many, `missing` lists why.
    """
    profile = profile_of(frame)
    rows = frame[frame["reproduced"].notna()] if only_run else frame
    if rows.empty:
        return Html(f"<p>{caption}: none of {len(frame)} numbers has been run at profile {profile}.</p>")
    told = telling(rows) or ["metric"]
    groups = _settings(rows, told)
    keys = [name for name in told if name != "metric"] if len(groups) < len(rows) else told
    shown = _heads(groups, keys)
    heads = len(shown)
    metrics = list(dict.fromkeys(rows["metric"])) if keys != told else [None]
    for metric in metrics:
        found = [next((row for row in group if metric in (None, row["metric"])), None) for group in groups]
        shown |= _numbers(found, metric, rows)
    marked = [name for name in shown if _called(name) == "verdict"]
    short = keys != told and width(shown, marked) > FULL - SEEDS_WIDE  # then the marks alone, beside the numbers
    beside: dict[Column, list[str]] = {}
    if short:
        beside, marked = {(name[0], "reproduced"): shown.pop(name) for name in marked}, []
    if rows["n"].nunique() > 1:
        shown["seeds"] = [" / ".join(dict.fromkeys(str(row["n"] or words.NONE) for row in group)) for group in groups]
    shared = _shared(rows["reason"])
    notes = [_notes(group, lambda part: part in shared or bool(SEEDS.match(part))) for group in groups]
    said = _caption(caption, frame, rows, told, shared)
    openers = [name for name in shown if _called(name) == "reproduced"]
    below = [_below(group, rows, keys) for group in groups]
    return render(
        pd.DataFrame(shown.values(), index=pd.Index(list(shown), tupleize_cols=False)).T,
        _legend(said, rows) if short else said, headers=heads, marked=marked, foot=copies(rows), below=below,
        openers=openers, notes=notes, beside=beside,
    )  # fmt: skip


def _called(name: Column) -> str:
    return name if isinstance(name, str) else name[1]


def _settings(rows: pd.DataFrame, told: Sequence[str]) -> list[list[frames.Row]]:
    """The rows of each setting, which differ in the metric alone; each row for itself where metrics are many."""
    listed: list[frames.Row] = list(frames.records(rows))
    keys = [name for name in told if name != "metric"]
    if "metric" not in told or rows["metric"].nunique() > SIDE_BY_SIDE:
        return [[row] for row in listed]
    groups: dict[tuple[str, ...], list[frames.Row]] = {}
    for row in listed:
        groups.setdefault(tuple(str(row[key]) for key in keys), []).append(row)
    twice = any(len({row["metric"] for row in group}) < len(group) for group in groups.values())
    return [[row] for row in listed] if twice else list(groups.values())


def _heads(groups: Sequence[Sequence[frames.Row]], keys: Sequence[str]) -> Cells:
    """What tells the rows apart: a column each, or one of words where they are many."""
    if len(keys) > HEADS:
        return {"setting": [words.setting(group[0], keys) for group in groups]}
    return {
        words.axis(name) or name: [words.value(group[0][name], name) or words.NONE for group in groups] for name in keys
    }


def _legend(caption: str, rows: pd.DataFrame) -> str:
    used = ", ".join(words.marked(word) for word in VERDICTS if (rows["verdict"] == word).any())
    return f"{caption} {used}." if used else caption


def _numbers(found: Sequence[frames.Row | None], metric: str | None, rows: pd.DataFrame) -> Cells:
    """Printed, reproduced and verdict of a metric; the reproduced alone where the paper prints nothing."""
    cells = {"printed": ["" if row is None else words.number(row["published"]) for row in found]}
    cells["reproduced"] = ["" if row is None else words.mean(row["reproduced"], row["sd"]) for row in found]
    cells["verdict"] = ["" if row is None else str(row["verdict"]) for row in found]
    if rows["published"].isna().all():
        silent = set(rows["verdict"]) == {NOT_COMPARABLE}
        cells = {name: cells[name] for name in (("reproduced",) if silent else ("reproduced", "verdict"))}
    if rows["reproduced"].isna().all():
        cells = {"printed": cells["printed"]}
    return {name if metric is None else (words.value(metric, "metric"), name): texts for name, texts in cells.items()}


def _shared(reasons: Iterable[str]) -> list[str]:
    """The parts that every reason has."""
    parts = [list(filter(None, str(reason).split("; "))) for reason in reasons]
    return [part for part in parts[0] if all(part in other for other in parts)] if parts else []


def _notes(group: Sequence[frames.Row], leave_out: Callable[[str], bool] = lambda part: False) -> str:
    """What only some of a setting's numbers say, with their metrics, then what they share; without such parts."""
    said: dict[str, list[str]] = {}
    for row in group:
        for part in filter(None, str(row["reason"]).split("; ")):
            if not leave_out(part):
                said.setdefault(part, []).append(words.value(row["metric"], "metric"))
    shared = [part for part, metrics in said.items() if len(metrics) == len(group)]
    own: dict[str, list[str]] = {}
    for part, metrics in said.items():
        if part not in shared:
            own.setdefault(", ".join(metrics), []).append(part)
    return "; ".join([*(f"{metrics}: {', '.join(parts)}" for metrics, parts in own.items()), *shared])


def _caption(caption: str, frame: pd.DataFrame, rows: pd.DataFrame, told: Sequence[str], reasons: Sequence[str]) -> str:
    """The caption with profile, how many numbers there are, and what all rows share: setting, seeds, machine, notes."""
    left = len(frame) - len(rows)
    counted = f" ({len(rows)} of {len(frame)} numbers; {left} without one)" if left else ""
    common = (*PLACE[:3], *WITH_ATTACK, PLACE[3], *frames.axes(frame), "metric")
    first = frames.records(rows)[0]
    constant = [name for name in common if name not in told and rows[name].nunique(dropna=False) == 1]
    parts = [words.setting(first, constant)]
    if rows["n"].nunique() == 1 and first["n"]:
        parts.append(f"{words.plural(int(first['n']), 'seed')} each")
    if rows["ran_on"].nunique() == 1:
        parts.append(str(first["ran_on"]))
    shared = "; ".join(filter(None, [*parts, *reasons]))
    return f"{caption}, profile {profile_of(frame)}{counted}" + (f". All rows: {shared}." if shared else "")


def _below(group: Sequence[frames.Row], rows: pd.DataFrame, keys: Sequence[str]) -> str:
    """What opens under a row: its place in the paper and the results behind its numbers."""
    made: dict[str, None] = dict.fromkeys(key for row in group for key in row.get("results", ()))
    if not made:
        return ""
    return made_of(made, place(rows.attrs, words.setting(group[0], keys)), _notes(group))


def place(attrs: dict[Any, Any], where: str) -> str:
    """Where a number stands: exhibit and paper of a frame (its `attrs`), and the setting of its row."""
    paper, exhibit = attrs.get("paper"), attrs.get("exhibit")
    named = f"{words.exhibit(exhibit)} of {TITLES[paper]}" if paper and exhibit else ""
    return ": ".join(filter(None, (named, where)))
