"""The status page: where every result comes from, how long it took, and whether today's code made it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from defenselib import data
from defenselib.plots import scatter, words
from defenselib.report import interactive
from defenselib.report.html import Html, render
from defenselib.report.status import MACHINE, VERSIONS


def results(frame: pd.DataFrame, caption: str) -> Html:
    """The rows of `status.provenance` to sort and filter, the newest first."""
    rows = frame.to_dict("records")
    numbers = {"ACC": "acc", "ASR": "asr", "minutes": "minutes", "CPU minutes": "cpu_minutes"}
    shown = {
        "profile": frame["profile"],
        **_named(frame),
        "setting": frame["setting"],
        "recipe of": [words.label(name) if name else "the method" for name in frame["paper"]],
        "seed": frame["seed"],
        **{said: words.numbers(frame[name]) for said, name in numbers.items()},
        "peak MB": words.numbers(frame["memory_mb"], 0),
        "code": [words.marked(name) for name in frame["code"]],
        "created": [text[:16].replace("T", " ") for text in frame["created"]],
        "versions": [", ".join(f"{name} {row[name]}" for name in VERSIONS if row[name]) for row in rows],
        "machine": [_machine(row) for row in rows],
    }
    low, long = ("seed", "minutes", "CPU minutes", "peak MB", "ASR"), ("versions", "machine")
    order = [("created", "desc")]
    return interactive.table(pd.DataFrame(shown), caption, "results", high=("ACC",), low=low, long=long, order=order)


def totals(frame: pd.DataFrame) -> Html:
    """`status.provenance` added up, one row a profile; hours are of the clock, memory is the most of any result."""
    older = frame.assign(older=frame["code"] == "older").groupby("profile", sort=False)["older"].sum()
    parts = frame.groupby("profile", sort=False)
    shown = {
        "profile": list(parts.groups),
        "results": words.numbers(parts.size(), 0),
        "cells": words.numbers(parts["cell"].nunique(), 0),
        "hours": words.numbers(parts["minutes"].sum() / 60),
        "peak memory (MB)": words.numbers(parts["memory_mb"].max(), 0),
        "made by older code": words.numbers(older, 0),
        "first": [text[:10] for text in parts["created"].min()],
        "last": [text[:10] for text in parts["created"].max()],
    }
    return render(pd.DataFrame(shown), "Results by profile; a cell is one question, answered by one result a seed")


def surroundings(frame: pd.DataFrame) -> Html:
    """Versions and machines that made the results, with how many each made."""
    named = frame[[*VERSIONS, *MACHINE]].astype(str)
    counted = named.groupby(list(named.columns), sort=False).size().rename("results").reset_index()
    return render(counted.astype(str), "Versions and machines that the results were made with", headers=0)


def copies(frame: pd.DataFrame) -> Html:
    """Copies of data sets that results were made on: whether the digest is the one in the library's committed table,
    and what must be known of the copy."""
    rows = [
        {
            "data set": words.label(str(dataset)),
            "copy": source,
            "SHA-256 begins with": str(digest)[:16],
            "results": words.number(len(part), 0),
            "digest": "not in the table" if source not in data.digests
            else "as committed" if data.digests[source] == digest else "another",
            "note": words.COPIES.get(str(source), ""),
        }
        for (dataset, source, digest), part in frame.groupby(["dataset", "source", "data_digest"], sort=False)
    ]  # fmt: skip
    return render(pd.DataFrame(rows), "Copies of the data sets that the results were made on")


def older(frame: pd.DataFrame) -> Html:
    """What today's code would have to make again: results by older code, counted by method."""
    rows = frame[frame["code"] == "older"]
    if rows.empty:
        return Html("<p>Every result was made by the code as it is now.</p>")
    counted = rows.groupby(["profile", "attack", "defense"], sort=False).size().rename("results").reset_index()
    shown = counted.assign(**_named(counted), results=words.numbers(counted["results"], 0))
    said = f"Made by older code: {len(rows)} of {len(frame)} results. Their method, or something it uses, changed since"
    return render(shown, said, headers=3)


def times(frame: pd.DataFrame, title: str = "") -> Figure:
    """Minutes of every result, a row a defense, the quickest first (`scatter.minutes`)."""
    on_gpu = frame["gpu"] != "none"
    own = frame["cpu_minutes"].notna() & ~on_gpu
    kinds = np.select([on_gpu, own], ["gpu", "processor"], "clock")
    spent = frame["cpu_minutes"].where(own, frame["minutes"])
    names = [_method(name) for name in frame["defense"]]
    return scatter.minutes(frame.assign(kind=kinds, spent=spent, name=names), title)


def _named(frame: pd.DataFrame) -> dict[str, list[str]]:
    found = {"data set": [words.label(name) for name in frame["dataset"]]} if "dataset" in frame else {}
    attacks = [words.value(name, "attack") for name in frame["attack"]]
    return found | {"attack": attacks, "defense": [_method(name) for name in frame["defense"]]}


def _method(name: str) -> str:
    """The label of a defense, or of the diagnostic in "asd+oracle"."""
    return words.label(name.rpartition("+")[2])


def _machine(row: dict[Any, Any]) -> str:
    place = row["gpu"] if row["gpu"] != "none" else f"{row['cpu']}, {row['cores']} cores, {row['threads']} thread"
    return f"{place}; bf16 {row['bf16']}"
