"""The status page: where every result comes from, how long it took, and whether today's code made it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from defenselib.plots import style
from defenselib.plots.canvas import empty, grid
from defenselib.report import interactive
from defenselib.report.status import MACHINE, VERSIONS
from defenselib.report.tables import Html, render

LONG = ("versions", "machine")
CODE = {"current": "✓ current", "older": "✗ older"}


def results(frame: pd.DataFrame, caption: str) -> Html:
    """The rows of `status.provenance` to sort and filter, the newest first."""
    shown = pd.DataFrame(
        {
            "profile": frame["profile"],
            "data set": [style.label(name) for name in frame["dataset"]],
            "attack": [style.label(name, "attack") for name in frame["attack"]],
            "defense": [_method(name) for name in frame["defense"]],
            "recipe of": [style.label(name) if name else "the method" for name in frame["paper"]],
            "seed": frame["seed"],
            "ACC": _numbers(frame["acc"], ".1f"),
            "ASR": _numbers(frame["asr"], ".1f"),
            "minutes": _numbers(frame["minutes"], ".1f"),
            "CPU minutes": _numbers(frame["cpu_minutes"], ".1f"),
            "peak MB": _numbers(frame["memory_mb"], ".0f"),
            "code": frame["code"].map(CODE),
            "created": [text[:16].replace("T", " ") for text in frame["created"]],
            "versions": [_versions(row) for row in frame.to_dict("records")],
            "machine": [_machine(row) for row in frame.to_dict("records")],
        }
    )
    measured = ("seed", "minutes", "CPU minutes", "peak MB", "ASR")
    return interactive.table(
        shown, caption, "results", high=("ACC",), low=measured, long=LONG, order=[("created", "desc")]
    )


def totals(frame: pd.DataFrame) -> Html:
    """The rows of `status.totals`."""
    shown = pd.DataFrame(
        {
            "profile": frame["profile"],
            "results": frame["results"].astype(str),
            "cells": frame["cells"].astype(str),
            "hours": _numbers(frame["hours"], ".1f"),
            "peak memory (MB)": _numbers(frame["memory_mb"], ",.0f"),
            "made by older code": frame["older_code"].astype(str),
            "first": frame["first"],
            "last": frame["last"],
        }
    )
    return render(shown, "Results by profile; a cell is one question, answered by one result a seed")


def surroundings(frame: pd.DataFrame) -> Html:
    """Versions and machines that made the results, with how many each made."""
    named = frame[[*VERSIONS, *MACHINE]].astype(str)
    counted = named.groupby(list(named.columns), sort=False).size().rename("results").reset_index()
    return render(counted.astype(str), "Versions and machines that the results were made with", headers=0)


def copies(frame: pd.DataFrame) -> Html:
    """The rows of `status.copies`."""
    shown = frame.assign(
        dataset=[style.label(name) for name in frame["dataset"]],
        digest=[text[:16] for text in frame["digest"]],
        results=frame["results"].astype(str),
    )
    named = {"dataset": "data set", "source": "copy", "digest": "SHA-256 begins with", "table": "digest"}
    return render(shown.rename(columns=named), "Copies of the data sets that the results were made on")


def older(frame: pd.DataFrame) -> Html:
    """What today's code would have to make again: results by older code, counted by method."""
    rows = frame[frame["code"] == "older"]
    if rows.empty:
        return Html("<p>Every result was made by the code as it is now.</p>")
    counted = rows.groupby(["profile", "attack", "defense"], sort=False).size().rename("results").reset_index()
    counted["attack"] = [style.label(name, "attack") for name in counted["attack"]]
    counted["defense"] = [_method(name) for name in counted["defense"]]
    words = (
        f"Made by older code: {len(rows)} of {len(frame)} results. Their method, or something it uses, changed since"
    )
    return render(counted.assign(results=counted["results"].astype(str)), words, headers=3)


_CLOCKS = {
    "processor": (style.BLUE, style.BLUE, "o", "of the processor"),
    "clock": ("none", style.BLUE, "o", "of the clock"),
    "gpu": ("none", style.ORANGE, "s", "of the clock, on a GPU"),
}


def times(frame: pd.DataFrame, title: str = "") -> Figure:
    """Minutes of every result, a row a defense, the quickest first. Filled: of the processor; hollow: of the clock, if
    only that was recorded; squares: of the clock, if a GPU did the work."""
    if frame.empty:
        return empty(title)
    on_gpu = frame["gpu"] != "none"
    own = frame["cpu_minutes"].notna() & ~on_gpu
    kinds = np.select([on_gpu, own], ["gpu", "processor"], "clock")
    rows = frame.assign(kind=kinds, spent=frame["cpu_minutes"].where(own, frame["minutes"]))
    order = list(rows.groupby("defense")["spent"].median().sort_values().index)
    with style.look():
        figure, axes = grid(7.2, 1.3 + 0.3 * len(order), 1, 1)
        axis = axes[0, 0]
        for kind, (face, edge, marker, label) in _CLOCKS.items():
            mine = rows[rows["kind"] == kind]
            if len(mine):
                places = [order.index(name) for name in mine["defense"]]
                axis.scatter(mine["spent"], places, s=36, c=face, edgecolors=edge, marker=marker, label=label)
        axis.set_yticks(range(len(order)), [_method(name) for name in order])
        axis.set(xscale="log", xlabel="minutes", ylim=(len(order) - 0.4, -0.6), title=title)
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        figure.legend(ncols=3, loc="outside lower center")
        return figure


def _method(name: str) -> str:
    """The label of a defense, or of the diagnostic in "asd+oracle"."""
    return style.label(name.rpartition("+")[2])


def _numbers(values: pd.Series, how: str) -> list[str]:
    return ["–" if pd.isna(value) else f"{value:{how}}" for value in values]


def _versions(row: dict[Any, Any]) -> str:
    return ", ".join(f"{name} {row[name]}" for name in VERSIONS if row[name])


def _machine(row: dict[Any, Any]) -> str:
    place = row["gpu"] if row["gpu"] != "none" else f"{row['cpu']}, {row['cores']} cores, {row['threads']} thread"
    return f"{place}; bf16 {row['bf16']}"
