"""The page "What it costs": seconds of the results, hours that papers print, and the multiply-adds behind both."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from defenselib.experiments.store import Store, committed_file, default_stores
from defenselib.papers import spent
from defenselib.papers.kit.frame import records
from defenselib.plots import scatter, words
from defenselib.report import trials
from defenselib.report.findings import listing
from defenselib.report.html import Column, Html, render, tabs
from defenselib.report.widgets import evidence

GIGA, TERA, PETA = 1e9, 1e12, 1e15
PLAIN = "bench-plain.csv"
COMMAND = f"python -m defenselib.bench --output book/results/trials/{spent.BENCH.replace('*', '')}"
Rows = Mapping[str, Mapping[str, Any]]  # of one kind of machine, by method


def measured(store: Store | None = None) -> pd.DataFrame:
    """The frame of `spent.measured` over the cells without options."""
    return spent.measured(evidence.plain(store or default_stores()))


def seconds(frame: pd.DataFrame) -> Html:
    """What every method took, a tab a profile and data set, a group of columns a kind of machine."""

    def columns(rows: Rows, methods: list[str]) -> dict[str, list[str]]:
        clock = "clock" if next(iter(rows.values()))["gpu"] else "processor"
        return {
            f"{clock} (s)": [_cell(rows, name, "seconds") for name in methods],
            "results": [_cell(rows, name, "n") for name in methods],
        }

    return _tabbed(frame, columns, "Seconds from the data to the model on {}, median over the results")


def floors(frame: pd.DataFrame) -> Html:
    """The multiply-adds that every schedule needs, and what share of the time they are, likewise."""

    def columns(rows: Rows, methods: list[str]) -> dict[str, list[str]]:
        return {
            "10⁹ a second": [_cell(rows, name, "pace", GIGA) for name in methods],
            "share of the time (%)": [_cell(rows, name, "share") for name in methods],
        }

    said = (
        "Multiply-adds that the schedules need at least on {}. Share of the time: what they would take at the pace of "
        "training without a defense on that kind of machine"
    )
    return _tabbed(frame, columns, said, adds=True)


def _tabbed(
    frame: pd.DataFrame, columns: Callable[[Rows, list[str]], dict[str, list[str]]], said: str, adds: bool = False
) -> Html:
    parts = {}
    groups = frame[frame["n"] > 0].groupby(["profile", "dataset"], sort=False)
    for (profile, dataset), part in sorted(groups, key=lambda item: -item[1]["defense"].nunique()):
        name = f"{words.value(dataset, 'dataset')}, {profile}"
        methods = list(dict.fromkeys(map(str, part["defense"])))
        shown: dict[Column, list[str]] = {"method": [words.label(method) for method in methods]}
        if adds:
            needed = part.groupby("defense")["adds"].median() / TERA
            shown["10¹² multiply-adds"] = [words.number(needed[method], 0) for method in methods]
        for machine, rows in _by_machine(part).items():
            shown |= {(machine, head): texts for head, texts in columns(rows, methods).items()}
        parts[name] = str(render(pd.DataFrame(shown), said.format(name)))
    return tabs(parts, "Data set and profile", next(iter(parts))) if parts else Html("<p>No result yet.</p>")


def _by_machine(part: pd.DataFrame) -> dict[str, Rows]:
    """The rows of each kind of machine by method, the kind with most methods first."""
    parts = sorted(part.groupby("machine", sort=False), key=lambda pair: -len(pair[1]))
    return {str(name): {str(row["defense"]): row for row in records(mine)} for name, mine in parts}


def _cell(rows: Rows, method: str, column: str, unit: float = 1.0) -> str:
    return words.number(rows[method][column] / unit, 0) if method in rows else words.NONE


def shares(frame: pd.DataFrame) -> Figure:
    """The shares at the profile and on the data set with most methods, without plain training, their measure."""
    known = frame[frame["share"].notna() & (frame["defense"] != "none")]
    if known.empty:
        return scatter.shares(known)
    parts = known.groupby(["profile", "dataset"], sort=False)
    (profile, dataset), mine = max(parts, key=lambda part: int(part[1]["defense"].nunique()))
    named = mine.assign(name=[words.label(str(name)) for name in mine["defense"]])
    return scatter.shares(named, f"{words.value(dataset, 'dataset')}, profile {profile}")


def machines(frame: pd.DataFrame) -> str:
    """The kinds of machines behind the seconds, in words."""
    return listing(list(dict.fromkeys(frame.loc[frame["n"] > 0, "machine"])))


def unrecorded(frame: pd.DataFrame) -> str:
    """Of how many results the seconds do not count, in words."""
    lost = int(frame["unrecorded"].sum())
    return "Every result has them." if not lost else f"{words.plural(lost, 'result')} without them stand in no table."


def papers() -> Html:
    """Hours that the papers print for a whole method, a column a table of a paper (each has its own machine), beside
    the multiply-adds of the papers' own schedules and the pace that this makes."""
    times = spent.printed_times()
    rows = list(dict.fromkeys(zip(times["dataset"], times["defense"], strict=True)))
    adds = [spent.paper_floor(defense, dataset) for dataset, defense in rows]
    shown: dict[Column, list[str]] = {
        "data set": [words.value(dataset, "dataset") for dataset, _ in rows],
        "method": [words.label(defense) for _, defense in rows],
        "10¹⁵ multiply-adds": [words.number(one / PETA) for one in adds],
    }
    for (paper, exhibit), mine in times.groupby(["paper", "exhibit"], sort=False):
        hours = {(row["dataset"], row["defense"]): float(row["hours"]) for row in records(mine)}
        taken = [hours.get(row, math.nan) for row in rows]
        group = f"{words.label(str(paper))}, {words.exhibit(str(exhibit))}"
        shown[group, "hours"] = [words.number(one, 2) for one in taken]
        paces = [need / (one * spent.HOUR * TERA) for need, one in zip(adds, taken, strict=True)]
        shown[group, "10¹² a second"] = [words.number(one, 2) for one in paces]
    said = "What the papers say that a whole method takes, on a machine that differs from table to table"
    return render(pd.DataFrame(shown), said, headers=2)


def steps() -> Html:
    """Steps a second of every method's inner loop, a tab a machine and profile; else which command measures them."""
    found = spent.bench()
    if found is None:
        return Html(f"<p>Nobody has measured this yet. On the machine in question: <code>{COMMAND}</code></p>")
    parts = {}
    for (machine, profile), part in found.groupby(["machine", "profile"], sort=False):
        at_once = part["processes"].map(lambda count: "alone" if count == 1 else f"{count} at a time")
        wide = part.assign(how=part["way"] + ", " + at_once).pivot_table(
            index="method", columns="how", values="steps_per_second", sort=False
        )
        shown = wide.rename(index=words.label).rename_axis("inner loop").reset_index()
        caption = f"Steps a second of one process, {machine}, profile {profile}"
        parts[f"{machine}, {profile}"] = str(render(shown, caption))
    return tabs(parts, "Machine and profile", next(iter(parts), ""))


def plain() -> Html:
    """A step as public code writes it beside the same step here; else which command measures both."""
    file = committed_file(f"trials/{PLAIN}")
    if file is None:
        command = f"python -m defenselib.bench.plain --output book/results/trials/{PLAIN}"
        return Html(f"<p>Nobody has measured this yet: <code>{command}</code></p>")
    return trials.table(file, "Processor seconds of one step, one thread, medians of measurements in alternation")
