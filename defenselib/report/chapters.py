"""What a chapter trains while it is built, on drawn images what it is about, elsewhere the cells of exhibits; and what
it shows of an exhibit, figure and claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from textwrap import shorten as shortened
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from defenselib import experiments
from defenselib.errors import check_choice
from defenselib.experiments import Experiment, Result
from defenselib.experiments import profile as profiles
from defenselib.experiments.store import Store
from defenselib.papers import get, headlines
from defenselib.papers.headlines import HEADLINES
from defenselib.papers.kit.claims import FAILS, NOT_RUN
from defenselib.papers.kit.exhibit import Exhibit
from defenselib.papers.kit.verdict import ACC_MARGIN, ASR_LOW
from defenselib.plots import words
from defenselib.plots.canvas import Picture
from defenselib.report import boxes, missing, tables
from defenselib.report.html import Html, badge, render

DRAWN, ALL = "shapes", "all"
LONG = 110  # letters of what speaks against a claim


def live(paper: str, profile: str, exhibits: Sequence[str], run: bool, asked: Mapping[str, Any]) -> Html:
    """Train what a chapter trains, and show it.

    At a profile of drawn images: what the paper's headline declares, seed 0. At laptop, gpu and paper: the cells of
    `exhibits` ("all": of every one) as far as the store lacks them, narrowed to `asked` (see `Exhibit.reproduce`).
    Without `run`, and at "best", nothing is trained. Errors: UnknownNameError for an exhibit that the paper has not.
    """
    known = {one.key: one for one in get(paper).exhibits}
    named = [check_choice(f"exhibit of {paper!r}:", key, (*known, ALL)) for key in exhibits]
    chosen = [one for key, one in known.items() if key in named or (ALL in named and one.status == "available")]
    if not run or profile == "best":
        return Html("<p>Nothing was trained for this page; it shows what the store holds.</p>")
    if profiles.load(profile).verdict == "none":
        return drawn(paper, profile)
    shown = [
        str(tables.comparison(one.reproduce(profile=profile, run=True, **asked), words.exhibit(one.key)))
        for one in chosen
    ]
    return Html("".join(shown))


def drawn(paper: str, profile: str) -> Html:
    """The pairs of a paper's headline on drawn images, and what they say."""
    pairs = HEADLINES[paper].live
    results = [
        experiments.run(Experiment(dataset=DRAWN, attack=attack, defense=defense, profile=profile))
        for attack, defense in pairs
    ]
    rows = [_row(attack, defense, result) for (attack, defense), result in zip(pairs, results, strict=True)]
    said = (
        f"Trained for this page: drawn images, profile {profile}, seed 0; percent. It shows the code at work and is no "
        "evidence about the paper"
    )
    return Html(f"{render(pd.DataFrame(rows), said, headers=2)}<p>{escape(verdict(results))}</p>")


def figure(exhibit: Exhibit, frame: pd.DataFrame, profile: str = "laptop", store: Store | None = None) -> Figure | Html:
    """What a chapter shows of an exhibit: its drawing, or `missing.line` at a profile where there is nothing to draw.
    The book's compiler takes a caption and a number off what is no picture (`report.myst`)."""
    drawn = exhibit.draw(frame)
    if isinstance(drawn, Picture) and drawn.nothing:
        return missing.line(exhibit.paper, exhibit.key, profile, store)
    return drawn


def claims(exhibit: Exhibit, frame: pd.DataFrame) -> Html:
    """The claims of an exhibit that were run, a line each: outcome, sentence, the cells for and against it. How many
    wait, and where all stand with their rules: on the page of verdicts."""
    judged = [headlines.judged(exhibit.key, claim, frame) for claim in exhibit.checks]
    ran = [one for one in judged if one.outcome != NOT_RUN]
    name, profile = words.exhibit(exhibit.key), tables.profile_of(frame)
    place = escape(f"verdicts-{exhibit.paper}.html#exhibit-{exhibit.key}")
    wait = len(judged) - len(ran)
    rest = f" {wait} of {len(judged)} claims wait for cells that were not run." if wait else ""
    link = f'<a href="{place}">{escape(name)}: all claims, with their rules and numbers</a>'
    rules = f'<p class="claim-rest">{rest} {link}.</p>'
    if not ran:
        return Html(rules)
    lines = "".join(
        f"<li>{badge(one.outcome)} {escape(one.claim.sentence)} ({escape(one.claim.source)}) "
        f"<span>{escape(boxes.short(one))}.</span></li>"
        for one in ran
    )
    said = f"What the authors say about {name}, profile {profile}"
    return Html(f'<p class="claim-head">{escape(said)}</p><ul class="claims">{lines}</ul>{rules}')


def failing(judged: Sequence[pd.DataFrame], said: str) -> Html:
    """Of several tables of claims, those that fail, a line each with what speaks against them first."""
    rows = pd.concat(judged, ignore_index=True)
    rows = rows[rows["outcome"] == FAILS]
    lines = "".join(
        f"<li>{badge(FAILS)} {escape(str(row['statement']))} ({escape(str(row['source']))}) "
        f"<span>{escape(shortened(str(row['numbers']).partition('; ')[0], width=LONG, placeholder=' …'))}</span></li>"
        for _, row in rows.iterrows()
    )
    listed = f'<ul class="claims">{lines}</ul>' if lines else "<p>None fails.</p>"
    return Html(f'<p class="claim-head">{escape(said)}</p>{listed}')


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
    kept = after.metrics.get("poison_kept")
    fall = fall if kept is None else f"The split of {name} lets {kept:.0f} percent of the poison through. {fall}"
    price = before.acc - after.acc
    paid = f"costs {price:.1f} points of accuracy" if price > 0 else "costs no accuracy"
    if after.asr > ASR_LOW:
        left = "weaker" if after.asr < before.asr else "as strong as before"
        return f"{fall} and {paid}: the backdoor is {left}, not gone."
    return f"{fall} and {paid}: the backdoor is gone{'' if price <= ACC_MARGIN else ', at a high price'}."
