"""One page a paper: every exhibit, published against reproduced, folded away until a reader opens it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

import pandas as pd
from matplotlib.figure import Figure

from defenselib.papers import coverage
from defenselib.papers.coverage import VERDICTS, Found
from defenselib.plots.alt import describe
from defenselib.plots.canvas import Picture
from defenselib.report import differences, tables
from defenselib.report.coverage import stacked
from defenselib.report.tables import Html, render

NAMES = {"text-1": "Running text"}


def name_of(key: str) -> str:
    """ "Table 2" for table-2."""
    return NAMES.get(key, key.replace("-", " ").capitalize())


def anchor(key: str) -> str:
    return f"exhibit-{key}"


def summary(found: Sequence[Found], profile: str) -> Html:
    """One row an exhibit, linked to its place in the page: printed numbers by verdict, claims by outcome, evidence."""
    rows = []
    for one in found:
        frame, claimed = one.frames[profile], coverage.outcomes(one.claims[profile])
        agrees, differs, other, open_ = coverage.sorted_out(frame).values()
        rows.append(
            {
                "exhibit": name_of(one.exhibit.key),
                "title": one.exhibit.title,
                "numbers run": f"{len(frame) - open_} of {len(frame)}" if one.prints else "–",
                "agree, differ, not comparable": f"{agrees}, {differs}, {other}" if one.prints else "–",
                "claims hold, fail, not run": ", ".join(map(str, claimed.values()))
                if len(one.claims[profile])
                else "–",
                "evidence": _evidence(frame),
            }
        )
    links = {name_of(one.exhibit.key): f"#{anchor(one.exhibit.key)}" for one in found}
    return render(pd.DataFrame(rows), "Every table and figure; a name leads to its numbers below", links=links)


def bars(found: Sequence[Found], profile: str) -> Figure:
    """What became of the printed numbers, exhibit by exhibit, in percent of each."""
    counted = coverage.numbers(found)
    counted = counted[counted["profile"] == profile]
    return stacked([name_of(key) for key in counted["exhibit"]], counted, "printed", VERDICTS)


def exhibit(one: Found, profile: str) -> Html:
    """An exhibit, folded: what it shows, the command for it, numbers side by side, their differences, claims, and what
    was not run."""
    frame, claims, shown = one.frames[profile], one.claims[profile], one.exhibit
    parts = [_facts(one), *_numbers(one, frame)]
    if len(claims):
        parts.append(str(tables.claims(claims, f"What the authors say about {name_of(shown.key)}")))
    if frame["reproduced"].isna().any() and shown.status != "nothing to run":
        parts.append(str(tables.missing(frame)))
    return Html(
        f'<details class="exhibit"><summary><b>{escape(name_of(shown.key))}</b>: {escape(shown.title)} '
        f'<span class="exhibit-counts">{escape(_counts(one, frame, claims))}</span></summary>'
        f'<div id="{anchor(shown.key)}" class="exhibit-body">{"".join(parts)}</div></details>'
    )


def _numbers(one: Found, frame: pd.DataFrame) -> list[str]:
    name = name_of(one.exhibit.key)
    if one.prints:
        made = [str(tables.comparison(frame, f"{name}, printed and reproduced"))]
        return made + ([_figure(frame, name)] if len(differences.comparable(frame)) else [])
    ran = int(frame["reproduced"].notna().sum())
    if not ran:
        return []
    chapter = f'<a href="{escape(one.exhibit.paper)}.html">chapter of the paper</a>'
    return [f"<p>The paper prints no numbers here. {ran} points were reproduced; the {chapter} draws them.</p>"]


def _figure(frame: pd.DataFrame, name: str) -> str:
    figure = differences.draw(frame, f"{name}: reproduced minus printed, in points")
    assert isinstance(figure, Picture)
    picture = base64.b64encode(figure._repr_png_()).decode()
    words = escape(describe(figure), quote=True)
    return (
        f'<figure><img alt="{words}" src="data:image/png;base64,{picture}">'
        f"<figcaption>{name}: reproduced minus printed. "
        "At profile laptop levels are not compared, so that a large difference can agree.</figcaption></figure>"
    )


def _facts(one: Found) -> str:
    shown, info = one.exhibit, one.exhibit.info
    facts = {"shows": info["shows"], "needs": info["needs"], "state": shown.status}
    listed = "".join(f"<dt>{name}</dt><dd>{escape(str(value))}</dd>" for name, value in facts.items() if value)
    if shown.status != "nothing to run":
        listed += f"<dt>regenerate</dt><dd><code>{escape(shown.command)}</code></dd>"
    return f"<dl>{listed}</dl>"


def _counts(one: Found, frame: pd.DataFrame, claims: pd.DataFrame) -> str:
    """ "20 of 252 numbers run: 13 agree, 6 differ; claims: 3 hold, 1 fails, 2 open"."""
    said = []
    if one.prints:
        agrees, differs, other, _ = coverage.sorted_out(frame).values()
        run = agrees + differs + other
        said.append(f"{run} of {len(frame)} numbers run" + (f", {agrees} agree, {differs} differ" if run else ""))
    if len(claims):
        holds, fails, still = coverage.outcomes(claims).values()
        said.append(f"claims: {holds} hold, {fails} fail, {still} not run")
    return "; ".join(said) or "no number, no claim"


def _evidence(frame: pd.DataFrame) -> str:
    ran = frame[frame["reproduced"].notna()]
    if ran.empty:
        return "–"
    low, high = int(ran["n"].min()), int(ran["n"].max())
    seeds = f"{low}" if low == high else f"{low} to {high}"
    return f"{', '.join(dict.fromkeys(ran['profile']))}, {seeds} seed{'' if high == 1 else 's'}"
