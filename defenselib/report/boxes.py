"""The head of a chapter: five lines that say what became of a paper, and the picture that decides, from its claims.

Every word about an outcome depends on points and frames: change one, and the line changes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape

import pandas as pd
from matplotlib.figure import Figure

from defenselib.experiments import profile as profiles
from defenselib.experiments.store import Store
from defenselib.papers import headlines
from defenselib.papers.headlines import HEADLINES, Headline, Outcome
from defenselib.papers.kit import claims
from defenselib.papers.kit.frame import AVERAGE, WORST
from defenselib.papers.kit.grid import LEFT_OUT, NO_RESULT, OTHER_SETTING
from defenselib.papers.kit.verdict import ASR_LOW
from defenselib.plots import decision, words
from defenselib.report.html import Html, badge

# What a gate's or a comparison's reason says, by words that it has.
WHYS = {
    "the target class is right": "the target class is hardly recognised any more",
    "the attack reaches": "the attack itself did not take",
    "within the spread": "the difference is within the spread of the seeds",
    "was not run": "what would decide was not run",
    "where the paper prints": "the paper itself prints the contrary there",
    "the rest of the sentence": "nothing decides the other half of the sentence",
    "are called the target": "the model calls other classes the target as well",
}
MEANS = {
    "order": "it says who is above whom and whether a backdoor works, not levels, nor what the paper's own size gives",
    "numbers": "there numbers are compared",
}


@dataclass(frozen=True)
class Facts:
    """What the five lines are made of. outcomes, frames: by profile; results: by profile, of the decisive exhibits."""

    headline: Headline
    outcomes: Mapping[str, Sequence[Outcome]]
    frames: Mapping[str, Sequence[pd.DataFrame]]
    created: tuple[str, ...]
    outdated: int


def facts(paper: str, store: Store | None = None) -> Facts:
    """Everything that the box of a paper says. Errors: KeyError for a paper without a headline."""
    headline = HEADLINES[paper]
    frames = headlines.frames_of(headline, store)
    found = headlines.outcomes(headline, frames)
    results = {
        result.hash: result
        for exhibit in headline.exhibits
        for profile in found
        for result in headlines.results_behind(exhibit, profile, store)
    }
    by_profile = {profile: [levels[profile] for levels in frames.values()] for profile in found}
    created = tuple(sorted(result.created for result in results.values() if result.created))
    outdated = sum(not result.made_by_current_code() for result in results.values())
    return Facts(headline, found, by_profile, created, outdated)


def box(paper: str, store: Store | None = None) -> Html:
    """The box of five lines."""
    known = facts(paper, store)
    lines = {
        "The paper claims": escape(claimed(known.headline)),
        "What came out": came_out(known),
        "Why not the rest": escape(why_not(known)),
        "How sure": escape(how_sure(known)),
        "Since when": escape(since(known)),
    }
    body = "".join(f"<dt>{name}</dt><dd>{said}</dd>" for name, said in lines.items())
    return Html(
        f'<div class="chapter-box" role="note"><p class="chapter-answer">{answered(known)}</p><dl>{body}</dl></div>'
    )


def answered(known: Facts) -> str:
    """ "Reproduced? laptop ✗ fails; gpu ◐ holds so far", as HTML."""
    said = [f"at <code>{name}</code> {badge(headlines.answer(found))}" for name, found in known.outcomes.items()]
    return f"<b>Reproduced?</b> {'; '.join(said) or badge(claims.NOT_RUN)}"


def claimed(headline: Headline) -> str:
    """The sentences with their places, numbered where there are several."""
    found = [headline.claim(exhibit, key) for exhibit, key in headline.claims]
    said = [f"{claim.sentence.rstrip('.')} ({claim.source})" for claim in found]
    return ". ".join(f"({number}) {text}" if len(said) > 1 else text for number, text in enumerate(said, 1)) + "."


def came_out(known: Facts) -> str:
    """A line a profile: each claim's outcome with the cells for and against it, as HTML."""
    lines = []
    for profile, found in known.outcomes.items():
        several = len(found) > 1
        parts = [
            " ".join(filter(None, [f"({number})" if several else "", badge(one.outcome), escape(short(one))]))
            for number, one in enumerate(found, 1)
        ]
        lines.append(f"<code>{profile}</code>: {'; '.join(parts)}.")
    return "<br>".join(lines) or "Nothing of it has been run."


def short(one: Outcome, most: int = 3) -> str:
    """What decided a claim: "against it Dynamic 79.20, WaNet 49.32; for it BadNets 9.03; 2 of 7 not run"."""
    if one.outcome == claims.NOT_RUN:
        return ""
    parts = []
    for state, said in (("false", "against it"), ("true", "for it"), ("open", "decides nothing:")):
        if mine := one.of(state):
            parts.append(f"{said} {claims.listed(mine, one.points, most)}")
    if absent := len(one.of("absent")):
        parts.append(f"{absent} of {len(one.points)} not run")
    return ", ".join(parts)


def why_not(known: Facts) -> str:
    """Why numbers of the decisive exhibits were not run, and why some that were decide nothing."""
    parts = []
    for profile in list(known.outcomes)[-1:]:  # the smallest profile has most of it
        for exhibit, frame in zip(known.headline.exhibits, known.frames[profile], strict=True):
            parts.append(_not_run(words.exhibit(exhibit.key), frame, profile))
    why = closed([point for found in known.outcomes.values() for one in found for point in one.of("open")])
    return " ".join(filter(None, [*parts, f"What decides nothing: {why}." if why else ""])) or "Everything was run."


def closed(points: Sequence[claims.Point]) -> str:
    """Why points are open, in words and counted: "the attack itself did not take (2)"."""
    found = Counter(said for point in points for mark, said in WHYS.items() if mark in point.why)
    return "; ".join(f"{said} ({count})" for said, count in found.most_common())


def _not_run(name: str, frame: pd.DataFrame, profile: str) -> str:
    absent = frame[frame["reproduced"].isna()]
    if absent.empty:
        return ""
    kinds = Counter(reason_in_words(str(reason)) for reason in absent["reason"])
    said = "; ".join(f"{count} {reason}" for reason, count in kinds.most_common(3))
    more = sum(count for _, count in kinds.most_common()[3:])
    rest = f"; {more} for other reasons" if more else ""
    return f"{name} at {profile}: {len(absent)} of {len(frame)} numbers not run ({said}{rest})."


def reason_in_words(reason: str) -> str:
    """A frame's reason for a missing number, without what tells single cells apart."""
    if reason.startswith((f"{AVERAGE} of", f"{WORST} of")):
        return "averages over cells that are missing"
    if reason == NO_RESULT:
        return "that nobody has trained yet"
    if reason == OTHER_SETTING:
        return "that ran at an older or another setting alone"
    if reason.startswith(LEFT_OUT):
        why = reason.removeprefix(LEFT_OUT)
        kind = next((kind for kind in ("attack", "defense", "data set") if why.startswith(f"{kind} ")), "")
        return f"left out to save time ({kind}s)" if kind else f"since {why}"
    return reason


def how_sure(known: Facts) -> str:
    """Seeds, what chance moves, and what the profile can say."""
    parts = []
    for profile, frames in known.frames.items():
        low, high = headlines.seeds_of(frames)
        seeds = words.plural(low, "seed") if low == high else f"{low} to {high} seeds"
        moved = []
        for metric in ("asr", "acc"):
            spread, measured = headlines.spread_of(frames, metric)
            if not math.isnan(spread):
                points = "less than 0.1" if spread < 0.05 else f"{spread:.1f}"
                moved.append(f"{metric.upper()} ± {points}{'' if measured else ' (assumed)'}")
        chance = f"; chance alone: {', '.join(moved)} points" if moved else ""
        parts.append(f"{profile}: {seeds} a number{chance}; {MEANS[profiles.load(profile).verdict]}.")
    return " ".join(parts) or "No result, so nothing is sure."


def since(known: Facts) -> str:
    """The date of the newest result, and how many were made by code that has changed since."""
    if not known.created:
        return "No result yet."
    newest = datetime.fromisoformat(known.created[-1])
    old = f", {known.outdated} of them made by code that has changed since" if known.outdated else ""
    return f"{newest.day} {newest:%B %Y}, the newest of {words.plural(len(known.created), 'result')}{old}."


def picture(paper: str, store: Store | None = None) -> Figure:
    """What decides, drawn: attack success and accuracy without and with the paper's defenses, at the profile that has
    most of it."""
    headline = HEADLINES[paper]
    frames = headlines.frames_of(headline, store)
    shown = {profile: decisive(headline, [levels[profile] for levels in frames.values()]) for profile in claims.RANK}
    best = max(shown, key=lambda profile: len(shown[profile]))
    names = " and ".join(words.exhibit(key) for key in frames)
    return decision.decision(shown[best], ASR_LOW, f"{names}, profile {best}")


def decisive(headline: Headline, frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The rows of some frames of one profile that the promise is about: run, of single attacks, without a defense or
    with the paper's own."""
    chosen = []
    for frame in frames:
        mine = frame["defense"].isin(["none", *headline.shown]) & frame["metric"].isin(["acc", "asr"])
        single = ~frame["attack"].isin([AVERAGE, WORST, "none"])
        chosen.append(frame[mine & single & frame["reproduced"].notna()])
    rows = pd.concat(chosen, ignore_index=True)
    rows = rows.drop_duplicates(["dataset", "attack", "defense", "metric"])
    defended = rows[rows["defense"] != "none"]
    cells = set(zip(defended["dataset"], defended["attack"], strict=True))
    return rows[[cell in cells for cell in zip(rows["dataset"], rows["attack"], strict=True)]]
