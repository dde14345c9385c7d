"""The gallery of attacks: images before and after, what changed, and its spectrum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from defenselib.experiments.result import Result
from defenselib.papers.examples import name_of, of_one_image, one_image, paper_figure, pictures
from defenselib.papers.kit.gates import RISE, TOOK_LEAST
from defenselib.papers.kit.verdict import TOOK
from defenselib.papers.titles import TITLES
from defenselib.papers.undefended import Case
from defenselib.plots import words
from defenselib.plots.pictures import rows
from defenselib.report.comparison import copies
from defenselib.report.html import Column, Html, render

__all__ = ["before_after", "distance", "of_one_image", "one_image", "paper_figure", "pictures", "properties", "success"]


def before_after(found: Mapping[str, Result], example: int = 0, title: str = "") -> Figure:
    """A row for each attack, see `plots.pictures.rows`."""
    return rows({name: result.arrays for name, result in found.items()}, example, title)


def success(frame: pd.DataFrame, caption: str) -> Html:
    """Printed and measured ACC and ASR of the undefended models, one row a preset (see `papers.undefended.table`)."""
    frame = frame.reset_index(drop=True)
    shown: dict[Column, Any] = dict(_names(frame))
    known = frame["works"].map({True: "yes", False: "no"})
    shown["works"] = known.fillna(frame["asr"].notna().map({True: "undecided", False: "not run"}))
    for name in ("ACC", "ASR"):
        shown[name, "printed"] = frame[f"printed_{name.lower()}"]
        shown[name, "measured"] = frame[name.lower()]
    shown["ASR", "clean"] = frame["clean_asr"]
    shown["ASR", "twice"] = frame["twice_asr"]
    shown["target"] = ["y + 1" if pd.isna(target) else str(int(target)) for target in frame["target"]]
    shown["poisoned"] = [_count(row) for _, row in frame.iterrows()]
    constant = f" Target: class {shown.pop('target')[0]}." if len(set(shown["target"])) == 1 else ""
    cross = [f"and {row['cross']:.0f} cross samples" if row["cross"] > 0 else "" for _, row in frame.iterrows()]
    said = (
        f"{caption}, profile {', '.join(frame['profile'].unique())}. Percent.{constant} Clean: the same trigger on a "
        f"model trained without poison; twice: after twice the epochs. Works: an ASR of {TOOK:g} %; where labels are "
        f"kept, or the paper prints less, {TOOK_LEAST:g} % and {RISE:g} points above the clean model (undecided: "
        "that was not run)"
    )
    return render(pd.DataFrame(shown), said, headers=2, marked=["works"], foot=copies(frame), notes=cross)


def properties(frame: pd.DataFrame, caption: str) -> Html:
    """D-ST's Table 4: "printed → measured mark" for every attack and criterion (see `papers.properties`)."""
    marks = {True: words.MARKS["agrees"], False: words.MARKS["differs"]}
    cells = [
        f"{row['printed']} → {row['measured']} {marks[row['agrees']]}" if row["measured"] else row["printed"]
        for row in frame.to_dict("records")
    ]
    table = frame.assign(cell=cells, attack=[words.value(name, "attack") for name in frame["attack"]]).pivot_table(
        index="attack", columns="criterion", values="cell", aggfunc=" / ".join, sort=False, fill_value=""
    )
    return render(table.reset_index(), f"{caption}: printed → measured")


def distance(frame: pd.DataFrame, caption: str) -> Html:
    """How far the stored and the triggered images are from the clean ones."""
    frame = frame.reset_index(drop=True)
    shown: dict[Column, Any] = dict(_names(frame))
    for form, where in (("stored", "as trained on"), ("triggered", "with trigger")):
        shown[where, "PSNR"] = frame[f"{form}_psnr"]
        shown[where, "SSIM"] = words.numbers(frame[f"{form}_ssim"], 3)
        shown[where, "L∞"] = frame[f"{form}_linf"]
    said = f"{caption}. PSNR in dB and SSIM: larger is closer; L∞: largest change, in grey levels of 255"
    if frame["stored_linf"].isna().any():
        said += f"; {words.NONE}: its run without poison, which measures this, is missing"
    return render(pd.DataFrame(shown), said, headers=2)


def _names(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "attack": [name_of(Case(row["attack"], row["preset"])) for row in frame.to_dict("records")],
            "preset": [words.label(name, "preset") if name in TITLES else name for name in frame["preset"]],
        }
    )


def _count(row: pd.Series) -> str:
    return f"{words.number(row['poisoned'], 0)} ({words.percent(row['rate'])})"
