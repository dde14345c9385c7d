"""One page a paper: every exhibit, published against reproduced, folded away until a reader opens it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import pandas as pd
from matplotlib.figure import Figure

from defenselib.papers import coverage
from defenselib.papers.coverage import Found
from defenselib.papers.kit.claims import FAILS, HOLDS, SO_FAR
from defenselib.papers.kit.frame import records
from defenselib.papers.kit.verdict import AGREES, DIFFERS, NOT_RUN, TIMES, UNDECIDED, VERDICTS
from defenselib.plots import bars as plots
from defenselib.plots import words
from defenselib.report import tables
from defenselib.report.html import Html, embedded, fold, render, tabs

OTHER_UNITS = (*TIMES, "count", "correct")


def name_of(key: str) -> str:
    """ "Table 2" for table-2."""
    return "Running text" if key == "text-1" else key.replace("-", " ").capitalize()


def anchor(key: str) -> str:
    return f"exhibit-{key}"


def summary(found: Sequence[Found]) -> Html:
    """One row an exhibit, linked to its place in the page, at the profile that answers most of it: printed numbers by
    verdict, claims by outcome."""
    rows = []
    for one in found:
        frame, claims = one.frames[one.best], coverage.outcomes(one.claims[one.best])
        verdicts, ran = coverage.sorted_out(frame), tables.there(one.frames)
        numbers = f"{len(frame) - verdicts[NOT_RUN]} of {len(frame)}" if one.prints else words.NONE
        row = {"exhibit": name_of(one.exhibit.key), "title": one.exhibit.title, "numbers run": numbers}
        shown = (AGREES, DIFFERS, UNDECIDED)
        row |= {name: str(verdicts[name]) if one.prints else words.NONE for name in shown}
        row |= {f"claims: {name}": str(claims[name]) for name in (HOLDS, SO_FAR, FAILS)}
        others = [name for name in ran if name != one.best]
        row["profile"] = one.best + (f" (also {', '.join(others)})" if others else "") if ran else words.NONE
        rows.append(row)
    links = {name_of(one.exhibit.key): f"#{anchor(one.exhibit.key)}" for one in found}
    said = "Every table and figure at the profile that answers most of it; a name leads to its numbers below"
    return render(pd.DataFrame(rows), said, links=links)


def bars(found: Sequence[Found]) -> Figure:
    """What became of the printed numbers, in percent of those of each exhibit, at the profile that answers most."""
    mine = [one for one in found if one.prints]
    counted = pd.DataFrame([{"printed": len(one.frames[one.best]), **coverage.sorted_out(one.frames[one.best])}
                            for one in mine])  # fmt: skip
    ran = [f", {one.best}" if tables.there(one.frames) else "" for one in mine]
    names = [name_of(one.exhibit.key) + where for one, where in zip(mine, ran, strict=True)]
    return plots.stacked({"": (names, counted, "printed", VERDICTS)})


def exhibit(one: Found) -> Html:
    """An exhibit, folded: what it shows, the command for it, numbers side by side and their differences at every
    profile that has some, claims at each, and what was not run."""
    shown, name = one.exhibit, name_of(one.exhibit.key)
    parts = [_facts(one)]
    ran = tables.there(one.frames)
    if ran and one.prints:
        best, why = tables.chosen(one.frames)
        made = {level: _level(frame, name) for level, frame in ran.items()}
        parts += [f'<p class="level-why">{why}</p>', str(tabs(made, f"{name}: profile", best))]
    elif ran:
        chapter = f'<a href="{escape(shown.paper)}.html">chapter of the paper</a>'
        points = "; ".join(f"{level}: {int(frame['reproduced'].notna().sum())}" for level, frame in ran.items())
        parts.append(f"<p>The paper prints no numbers here. Points reproduced: {points}; the {chapter} draws them.</p>")
    elif shown.status != "nothing to run":
        parts.append(str(tables.missing(one.frames[one.best])))
    if len(one.claims[one.best]):
        parts.append(str(tables.claims_at(shown, one.frames, f"What the authors say about {name}")))
    heading = f"<b>{escape(name)}</b>: {escape(shown.title)}"
    return fold(heading, _counts(one), "".join(parts), anchor(shown.key))


def differences(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows in percent that have both numbers, with their `difference` in points and a `label` that tells them
    apart."""
    apart = frame["reproduced"] - pd.to_numeric(frame["published"], errors="coerce")
    rows = frame[apart.notna() & ~frame["metric"].isin(OTHER_UNITS)]
    told = [name for name in tables.telling(rows) if name != "metric"] or ["defense"]
    return rows.assign(difference=apart[rows.index], label=[words.setting(row, told) for row in records(rows)])


def _level(frame: pd.DataFrame, name: str) -> str:
    profile, apart = tables.profile_of(frame), differences(frame)
    parts = [str(tables.comparison(frame, name))]
    if len(apart):
        caption = f"{name}, profile {profile}: reproduced minus printed."
        if profile == "laptop":
            caption += " Levels are not compared there, so that a large difference can agree."
        figure = plots.differences(apart, f"{name}: reproduced minus printed, in points")
        parts.append(str(embedded(figure, caption)))
    return "".join([*parts, str(tables.missing(frame))])


def _facts(one: Found) -> str:
    shown, info = one.exhibit, one.exhibit.info
    facts = {"shows": info["shows"], "needs": info["needs"], "state": shown.status}
    listed = "".join(f"<dt>{name}</dt><dd>{escape(str(value))}</dd>" for name, value in facts.items() if value)
    if shown.status != "nothing to run":
        listed += f"<dt>regenerate</dt><dd><code>{escape(shown.command)}</code></dd>"
    return f"<dl>{listed}</dl>"


def _counts(one: Found) -> str:
    """ "laptop: 20 of 252 numbers run, 13 agree, 6 differ; claims: 3 hold, 1 so far, 1 fails"."""
    frame, claims = one.frames[one.best], one.claims[one.best]
    verdicts, outcomes = coverage.sorted_out(frame), coverage.outcomes(claims)
    said, run = [], len(frame) - verdicts[NOT_RUN]
    if one.prints:
        decided = f", {verdicts[AGREES]} agree, {verdicts[DIFFERS]} differ, {verdicts[UNDECIDED]} undecided"
        said.append(f"{run} of {len(frame)} numbers run" + (decided if run else ""))
    if len(claims):
        said.append(f"claims: {outcomes[HOLDS]} hold, {outcomes[SO_FAR]} so far, {outcomes[FAILS]} fail")
    where = f"{one.best}: " if tables.there(one.frames) else ""
    return where + "; ".join(said) if said else "no number, no claim"
