"""Committed tables of trials within a page: a block {trials} with the file's name, its content the caption."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from defenselib.plots import words
from defenselib.report.html import Html, render

BLOCK = re.compile(r"^```\{trials\} ([\w-]+\.csv)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
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
NAMED = ("attack", "defense")


def table(file: Path, caption: str) -> Html:
    """The rows of a CSV file as they stand there, what all of them share in the caption; names and heads in words."""
    frame = pd.read_csv(file, dtype=str).fillna("")
    for name in {*NAMED} & {*frame}:
        frame[name] = [words.value(value, name) for value in frame[name]]
    heads = [HEADS.get(name, name) for name in map(str, frame)]
    same = [len(frame) > 1 and frame[name].nunique() == 1 for name in frame]
    shared = [f"{head} {frame[name].iloc[0]}" for head, name, one in zip(heads, frame, same, strict=True) if one]
    kept = [name for name, one in zip(frame, same, strict=True) if not one]
    said = "; ".join(filter(None, (" ".join(caption.split()), *shared)))
    return render(frame[kept].rename(columns=HEADS), said)


def expand(text: str, folder: Path) -> tuple[str, list[Path]]:
    """A page's source with its blocks written out, and the files that it now depends on. folder: of the tables."""
    found: list[Path] = []

    def block(match: re.Match[str]) -> str:
        found.append(folder / match[1])
        return f"```{{raw}} html\n{table(found[-1], match[2])}\n```"

    return BLOCK.sub(block, text), found
