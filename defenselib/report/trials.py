"""Committed tables of trials within a page: a block {trials} with the file's name, its content the caption; a block
{goals} for one of pairs of attack and defense that have goals to meet."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from defenselib import defenses
from defenselib.papers.kit.claims import FAILS, HOLDS
from defenselib.plots import words
from defenselib.report.html import Column, Html, fold, render

BLOCK = re.compile(r"^```\{(trials|goals)\} ([\w-]+\.csv)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Heads that the files have as a program writes them; others are words already.
HEADS = {
    "acc": "ACC",
    "asr": "ASR",
    "target_recall": "target",
    "rarest_recall": "rarest class",
    "cpu_seconds": "processor (s)",
    "seconds": "clock (s)",
    "hash": "result",
}

MET = "hold"  # of the column `gates`; "fail: asr<=5, no dead class" otherwise


def table(file: Path, caption: str) -> Html:
    """The rows of a CSV file as they stand there, what all of them share in the caption; names and heads in words."""
    return _rows(pd.read_csv(file, dtype=str).fillna(""), caption)


def _rows(frame: pd.DataFrame, caption: str) -> Html:
    said = {
        name: [words.value(value, name) for value in frame[name]] for name in ("attack", "defense") if name in frame
    }
    frame = frame.assign(**said)
    heads = [HEADS.get(name, name) for name in map(str, frame)]
    same = [len(frame) > 1 and frame[name].nunique() == 1 for name in frame]
    shared = [f"{head} {frame[name].iloc[0]}" for head, name, one in zip(heads, frame, same, strict=True) if one]
    kept = [name for name, one in zip(frame, same, strict=True) if not one]
    return render(frame[kept].rename(columns=HEADS), "; ".join(filter(None, (" ".join(caption.split()), *shared))))


def goals(file: Path, caption: str) -> Html:
    """A row a defense, the attacks side by side: mean ACC and ASR over the runs, and whether each run met its goals;
    what was missed stands below. All rows of the file, in the order of the defenses, open under it."""
    frame = pd.read_csv(file, dtype=str).fillna("")
    order = sorted(defenses.available(), key=lambda name: defenses.DEFENSES[name].post_training)
    frame = frame.sort_values("defense", key=lambda names: names.map(order.index), kind="stable")
    listed, attacks = list(dict.fromkeys(frame["defense"])), list(dict.fromkeys(frame["attack"]))
    pairs = {pair: rows for pair, rows in frame.groupby(["defense", "attack"])}
    columns: dict[Column, list[str]] = {"defense": [words.label(name) for name in listed]}
    met: dict[Column, list[str]] = {}
    for attack in attacks:
        name, mine = words.value(attack, "attack"), [pairs.get((defense, attack)) for defense in listed]
        for metric in ("acc", "asr"):
            means = (None if rows is None else rows[metric].astype(float).mean() for rows in mine)
            columns[name, HEADS[metric]] = [words.NONE if mean is None else words.number(mean) for mean in means]
        met[name, HEADS["asr"]] = [
            "" if rows is None else HOLDS if {*rows["gates"]} == {MET} else FAILS for rows in mine
        ]
    below = [
        "; ".join(said for attack in attacks if (said := _missed(pairs.get((defense, attack)), attack)))
        for defense in listed
    ]
    shown = render(pd.DataFrame(columns), " ".join(caption.split()), beside=met, notes=below)
    every = fold("<strong>Row by row</strong>", f"{len(frame)} trainings", str(_rows(frame, file.name)), file.stem)
    return Html(f"{shown}{every}")


def _missed(rows: pd.DataFrame | None, attack: str) -> str:
    """Which goals a pair missed: "Blend: asr<=5 (1 of 3 runs)"."""
    failed = [] if rows is None else [said.partition(": ")[2] for said in rows["gates"] if said != MET]
    if rows is None or not failed:
        return ""
    listed = ", ".join(dict.fromkeys(goal for said in failed for goal in said.split(", ")))
    several = f" ({len(failed)} of {len(rows)} runs)" if len(rows) > 1 else ""
    return f"{words.value(attack, 'attack')}: {listed}{several}"


def expand(text: str, folder: Path) -> tuple[str, list[Path]]:
    """A page's source with its blocks written out, and the files that it now depends on. folder: of the tables."""
    found: list[Path] = []

    def block(match: re.Match[str]) -> str:
        found.append(folder / match[2])
        make = goals if match[1] == "goals" else table
        return f"```{{raw}} html\n{make(found[-1], match[3])}\n```"

    return BLOCK.sub(block, text), found
