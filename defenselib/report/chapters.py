"""What a chapter trains while it is built: on drawn images the pair that it is about, elsewhere the cells of exhibits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd

from defenselib import experiments
from defenselib.errors import check_choice
from defenselib.experiments import Experiment, Result
from defenselib.experiments import profile as profiles
from defenselib.papers import get
from defenselib.papers.headlines import HEADLINES
from defenselib.papers.kit.verdict import ACC_MARGIN, ASR_LOW
from defenselib.plots import words
from defenselib.report import tables
from defenselib.report.html import Html, render

DRAWN = "shapes"


def live(paper: str, profile: str, exhibits: Sequence[str], run: bool, asked: Mapping[str, Any]) -> Html:
    """Train what a chapter trains, and show it.

    At a profile of drawn images: what the paper's headline declares, seed 0. At laptop, gpu and paper: the cells of
    `exhibits` as far as the store lacks them, narrowed to `asked` (see `Exhibit.reproduce`). Without `run`, and at
    "best", nothing is trained. Errors: UnknownNameError for an exhibit that the paper has not.
    """
    known = {one.key: one for one in get(paper).exhibits}
    chosen = [known[check_choice(f"exhibit of {paper!r}:", key, known)] for key in exhibits]
    if not run or profile == "best":
        return Html("<p>Nothing was trained for this page; it shows what the store holds.</p>")
    if profiles.load(profile).verdict == "none":
        return drawn(paper, profile)
    shown = [one.reproduce(profile=profile, run=True, **asked) for one in chosen]
    return Html(
        "".join(str(tables.comparison(frame, words.exhibit(one.key))) for one, frame in zip(chosen, shown, strict=True))
    )


def drawn(paper: str, profile: str) -> Html:
    """The pairs of a paper's headline on drawn images, and what they say."""
    pairs = HEADLINES[paper].live
    results = [
        experiments.run(Experiment(dataset=DRAWN, attack=attack, defense=defense, profile=profile))
        for attack, defense in pairs
    ]
    rows = [_row(attack, defense, result) for (attack, defense), result in zip(pairs, results, strict=True)]
    said = f"Trained for this page: drawn images, profile {profile}, seed 0; percent. It shows the code at work and is no evidence about the paper"
    return Html(f"{render(pd.DataFrame(rows), said, headers=2)}<p>{escape(verdict(results))}</p>")


def _row(attack: str, defense: str, result: Result) -> dict[str, str]:
    target = result.experiment["target"]
    recall = words.NONE if target is None else words.number(result.per_class[target])
    return {
        "attack": words.label(attack, "attack"),
        "defense": words.label(defense),
        "ACC": words.number(result.acc),
        "ASR": words.number(result.asr),
        "accuracy on the target class": recall,
        "poisoned images": words.number(result.poisoned_count, 0),
    }


def verdict(results: Sequence[Result]) -> str:
    """A sentence on the last result against the first, which has no defense."""
    before, after = results[0], results[-1]
    name = words.label(str(after.experiment["defense"]))
    fall = f"{name} brings the attack success from {before.asr:.1f} to {after.asr:.1f} percent"
    price = before.acc - after.acc
    paid = f"costs {price:.1f} points of accuracy" if price > 0 else "costs no accuracy"
    if after.asr > ASR_LOW:
        return f"{fall} and {paid}: the backdoor is {'weaker' if after.asr < before.asr else 'as strong as before'}, not gone."
    return f"{fall} and {paid}: the backdoor is gone{'' if price <= ACC_MARGIN else ', at a high price'}."
