"""Frames of the figures on which every statement of the paper is true: complete, with numbers chosen by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from defenselib.papers.dst_dbr import exhibits as dst_dbr
from defenselib.papers.kit import frame as frames
from defenselib.papers.kit.exhibit import Series
from defenselib.papers.kit.request import Cell

Points = Iterator[tuple[str, float, dict[str, Any]]]  # metric, number, further axes
CLEAN_LABEL = ("sig", "clb")
TRANSFORMS = ("rotate", "affine", "flip", "crop", "blur", "erase")


def _figure_1(cell: Cell) -> Points:
    yield "separation", 97.0, {}
    yield "gathered", 99.0, {"version": "original"}
    yield "gathered", 10.0, {"version": "transformed"}


def _figure_3(cell: Cell) -> Points:
    yield "separation", 99.0, {"moment": "after"}


def _figure_4(cell: Cell) -> Points:
    score = dst_dbr.varied(cell)["score"]
    fails = score in ("spectral", "sce")
    yield "acc", 60.0 if fails else 90.0 if score == "fct" else 80.0, {}
    left = 25.0 if cell.attack == "blend-strip" else 2.0
    yield "asr", 95.0 if fails else 0.2 if score == "fct" else left, {}


def _figure_5(cell: Cell) -> Points:
    steps = dst_dbr.varied(cell)["steps"]
    for epoch in range(21):
        yield "acc", 90.0 - epoch * (steps == "unlearn"), {"epoch": epoch}
        yield "asr", 99.0 if steps == "relearn" else max(0.5, 99.0 - 10 * epoch), {"epoch": epoch}


def _figure_6(cell: Cell) -> Points:
    weight = dst_dbr.varied(cell)["poison_weight"]
    yield "acc", 90.0 - 10 * weight, {}
    yield "asr", 40.0 if weight == 0 else 3.0, {}


def _figure_7(cell: Cell) -> Points:
    yield "gathered", 99.0, {"version": "original"}


def _figure_8(cell: Cell) -> Points:
    yield "separation", 60.0 if cell.attack in CLEAN_LABEL else 95.0, {"moment": "before"}
    yield "separation", 99.0, {"moment": "after"}


def _pairs(cell: Cell) -> Points:
    for first in TRANSFORMS:
        for second in TRANSFORMS:
            found = 9.0 if first == second == "flip" else 97.0 if second == "erase" else 100.0
            yield "clean_precision", 99.9, {"first": first, "second": second}
            yield "poison_precision", found, {"first": first, "second": second}


def _figure_13(cell: Cell) -> Points:
    shares = dst_dbr.varied(cell)
    clean, poison = shares.get("clean_share", 0.2), shares.get("poison_share", 0.05)
    yield "acc", 20.0 if clean == 0 else 80.0 if poison > 0.1 else 92.0, {}
    yield "asr", 98.0 if poison == 0 else 40.0 if clean == 0.8 else 0.2, {}


POINTS = {
    "figure-1": _figure_1, "figure-3": _figure_3, "figure-4": _figure_4, "figure-5": _figure_5, "figure-6": _figure_6,
    "figure-7": _figure_7, "figure-8": _figure_8, "figure-11": _pairs, "figure-12": _pairs, "figure-13": _figure_13,
}  # fmt: skip


def figure(key: str) -> pd.DataFrame:
    """The frame of a figure at profile `paper`, every cell with its points."""
    exhibit = dst_dbr.PAPER.exhibit(key)
    assert isinstance(exhibit, Series)
    rows = [
        {"dataset": cell.dataset, "attack": cell.attack, "defense": cell.defense, **exhibit.axes(cell), **more}
        | {"metric": metric, **frames.entry([number])}
        for cell in exhibit.cells
        for metric, number, more in POINTS[key](cell)
    ]
    return frames.finish(frames.rows_of(rows), rows, "paper")
