"""One page a paper: every exhibit, published against reproduced, folded away until a reader opens it.

What was not run is one line: what it would take, and the command. No empty figure stands in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from html import escape
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from defenselib.papers import coverage
from defenselib.papers.asd import exhibits as asd
from defenselib.papers.bsd import printed as bsd
from defenselib.papers.coverage import Found
from defenselib.papers.examples import paper_figure
from defenselib.papers.kit import printed
from defenselib.papers.kit.claims import FAILS, HOLDS, SO_FAR, as_printed
from defenselib.papers.kit.claims import UNDECIDED as OPEN
from defenselib.papers.kit.exhibit import Drawing, Exhibit
from defenselib.papers.kit.frame import records
from defenselib.papers.kit.verdict import AGREES, DIFFERS, NOT_RUN, TIMES, UNDECIDED, VERDICTS
from defenselib.papers.vab import exhibits as vab
from defenselib.plots import bars as plots
from defenselib.plots import words
from defenselib.plots.canvas import Picture
from defenselib.report import missing, tables
from defenselib.report.html import Html, embedded, fold, render, tabs
from defenselib.report.missing import Lacking
from defenselib.report.notebooks import needed

OTHER_UNITS = (*TIMES, "count", "correct")


def anchor(key: str) -> str:
    return f"exhibit-{key}"


def summary(found: Sequence[Found]) -> Html:
    """One row an exhibit, linked to its place in the page, at the profile that answers most of it: printed numbers by
    verdict, claims by outcome."""
    rows = []
    for one in found:
        frame, claims = one.frames[one.best], coverage.outcomes(one.claims[one.best])
        verdicts, ran = coverage.sorted_out(frame), tables.there(one.frames)
        run = decided = words.NONE
        if one.prints:
            run = f"{len(frame) - verdicts[NOT_RUN]} of {len(frame)}"
            decided = _slashed(verdicts, (AGREES, DIFFERS, UNDECIDED))
        held = _slashed(claims, (HOLDS, SO_FAR, FAILS)) if any(claims.values()) else words.NONE
        others = [name for name in ran if name != one.best]
        profile = one.best + (f" (also {', '.join(others)})" if others else "") if ran else words.NONE
        rows.append({"exhibit": words.exhibit(one.exhibit.key), "title": one.exhibit.title, "numbers run": run,
                     "agree / differ / undecided": decided, "claims: hold / so far / fail": held,
                     "profile": profile})  # fmt: skip
    links = {words.exhibit(one.exhibit.key): f"#{anchor(one.exhibit.key)}" for one in found}
    said = "Every table and figure at the profile that answers most of it; a name leads to its numbers below"
    return render(pd.DataFrame(rows), said, links=links)


def _slashed(counted: Mapping[str, int], names: Sequence[str]) -> str:
    return " / ".join(str(counted[name]) for name in names)


def bars(found: Sequence[Found]) -> Figure:
    """What became of the printed numbers, in percent of those of each exhibit, at the profile that answers most."""
    mine = [one for one in found if one.prints]
    counted = pd.DataFrame([{"printed": len(one.frames[one.best]), **coverage.sorted_out(one.frames[one.best])}
                            for one in mine])  # fmt: skip
    ran = [f", {one.best}" if tables.there(one.frames) else "" for one in mine]
    names = [words.exhibit(one.exhibit.key) + where for one, where in zip(mine, ran, strict=True)]
    return plots.stacked({"": (names, counted, "printed", VERDICTS)})


def exhibit(one: Found, cost: Lacking | None = None) -> Html:
    """An exhibit, folded: what it shows, the command for it, numbers side by side and their differences or the figure
    at every profile that has some, claims at each, and what was not run. cost: what it lacks."""
    shown, name = one.exhibit, words.exhibit(one.exhibit.key)
    ran = tables.there(one.frames)
    parts = [
        _facts(one),
        markdown(printed.notes(shown.paper).get(shown.key, "")),
        str(EXTRAS.get((shown.paper, shown.key), lambda: "")()),
    ]
    if ran:
        best, why = tables.chosen(one.frames)
        make = _level if one.prints else _drawn
        made = {level: make(one, frame) for level, frame in ran.items()}
        parts += [f'<p class="level-why">{why}</p>', str(tabs(made, f"{name}: profile", best))]
    else:
        parts += _without_results(one, cost)
    if len(one.claims[one.best]) and ran:
        parts.append(str(tables.claims_at(one.frames, one.claims, f"What the authors say about {name}")))
    if ran and cost is not None:
        parts.append(
            f'<p class="missing-line">Missing at profile {cost.profile}: {cost.words}: {_command(shown, cost)}</p>'
        )
    heading = f"<b>{escape(name)}</b>: {escape(shown.title)}"
    return fold(heading, _counts(one, cost), "".join(parts), anchor(shown.key))


def _without_results(one: Found, cost: Lacking | None) -> list[str]:
    """The one line, and what there is without a run: a picture, printed numbers, what the paper says of them."""
    shown, frame, name = one.exhibit, one.frames[one.best], words.exhibit(one.exhibit.key)
    if isinstance(shown, Drawing):
        figure = shown.draw(frame)
        assert isinstance(figure, Picture)
        nothing = "<p>There is nothing to show of it yet: no result holds its pictures.</p>"
        return [nothing if figure.nothing else str(embedded(figure, f"{name}: {shown.title}, drawn by this library."))]
    parts = []
    if cost is not None:
        parts.append(f'<p class="missing-line">{name}: not run; {cost.words}: {_command(shown, cost)}</p>')
    elif shown.status != "nothing to run":
        reasons = "; ".join(dict.fromkeys(str(reason) for reason in frame["reason"] if reason))
        parts.append(f'<p class="missing-line">{name}: not run; {escape(reasons)}.</p>')
    if one.prints and frame["published"].notna().any():
        alone = None if shown.plot is None else shown.draw(frame)
        if isinstance(alone, Picture) and not alone.nothing:
            parts.append(str(embedded(alone, f"{name}: the printed numbers alone; none of them was run.")))
        parts.append(str(tables.comparison(frame, f"{name}, as printed", only_run=False)))
        claims = shown.claims(as_printed(frame))
        if len(claims):
            parts.append(str(tables.claims(claims, f"What the authors say about {name}", printed=True)))
    return parts


def _command(shown: Exhibit, cost: Lacking) -> str:
    """The command that runs what an exhibit lacks, as HTML."""
    return f"<code>{escape(missing.command(shown.paper, [shown.key], cost.profile))}</code>"


def _drawn(one: Found, frame: pd.DataFrame) -> str:
    """A figure at one profile; of a figure that nothing draws, how many points it has."""
    shown, name = one.exhibit, words.exhibit(one.exhibit.key)
    if shown.plot is None:
        return f"<p>{int(frame['reproduced'].notna().sum())} points, of which no drawing is made.</p>"
    figure = shown.draw(frame)
    assert isinstance(figure, Picture)
    if figure.nothing:  # run, but too little of it to compare: one value of what is varied
        return f"<p>{int(frame['reproduced'].notna().sum())} points, too few to draw.</p>{tables.missing(frame)}"
    caption = f"{name}: {shown.title}, profile {tables.profile_of(frame)}."
    return str(embedded(figure, caption)) + str(tables.missing(frame))


def differences(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows in percent that have both numbers, with their `difference` in points and a `label` that tells them
    apart."""
    apart = frame["reproduced"] - pd.to_numeric(frame["published"], errors="coerce")
    rows = frame[apart.notna() & ~frame["metric"].isin(OTHER_UNITS)]
    told = [name for name in tables.telling(rows) if name != "metric"] or ["defense"]
    return rows.assign(difference=apart[rows.index], label=[words.setting(row, told) for row in records(rows)])


def _level(one: Found, frame: pd.DataFrame) -> str:
    name = words.exhibit(one.exhibit.key)
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


def _counts(one: Found, cost: Lacking | None = None) -> str:
    """ "laptop: 20 of 252 numbers run, 13 agree, 6 differ; claims: 3 hold, 1 so far, 1 fails"."""
    if not tables.there(one.frames):
        if isinstance(one.exhibit, Drawing):
            return "a picture"
        if one.exhibit.status == "nothing to run":
            return "nothing to run"
        return f"not run; {cost.words}" if cost else "not run"
    frame, claims = one.frames[one.best], one.claims[one.best]
    verdicts, outcomes = coverage.sorted_out(frame), coverage.outcomes(claims)
    said, run = [], len(frame) - verdicts[NOT_RUN]
    if one.prints:
        decided = f", {verdicts[AGREES]} agree, {verdicts[DIFFERS]} differ, {verdicts[UNDECIDED]} undecided"
        said.append(f"{run} of {len(frame)} numbers run" + (decided if run else ""))
    if len(claims):
        named = {HOLDS: "hold", SO_FAR: "so far", FAILS: "fail", OPEN: "undecided"}
        told = [f"{outcomes[outcome]} {word}" for outcome, word in named.items() if outcomes[outcome]]
        said.append(f"claims: {', '.join(told)}" if told else "claims: not run")
    return f"{one.best}: {'; '.join(said)}" if said else "no number, no claim"


def markdown(text: str) -> str:
    """A short text in Markdown as HTML: emphasis, code, lists, and between dollars formulas that the page typesets.
    Errors: JupyterMissingError without the book's packages."""
    return str(_parser().render(text))


@cache
def _parser() -> Any:
    with needed("notes need packages that are"):
        from markdown_it import MarkdownIt
        from mdit_py_plugins.dollarmath import dollarmath_plugin
    return MarkdownIt("commonmark", {"html": False}).use(dollarmath_plugin, renderer=_formula)


def _formula(content: str, options: dict[str, Any]) -> str:
    # As Sphinx writes them, so that MathJax finds them in the built page.
    left, right = (r"\[", r"\]") if options.get("display_mode") else (r"\(", r"\)")
    return f'<span class="math notranslate nohighlight">{left}{escape(content)}{right}</span>'


def _pictures() -> Html:
    figure = paper_figure("bsd", profile="best")
    assert isinstance(figure, Picture)
    said = "One image under each attack as BSD's authors run it, where the pictures are in the store."
    return Html("") if figure.nothing else embedded(figure, said)


# What stands beside single exhibits: computed from print alone, or shown as pictures.
EXTRAS: Mapping[tuple[str, str], Callable[[], Html]] = {
    ("asd", "table-1"): lambda: render(asd.framework(), "Table 1: what the paper says, and what runs show", headers=2),
    ("asd", "table-3"): lambda: render(asd.per_epoch(), "Table 3 by epoch, as printed", headers=3),
    ("bsd", "table-1"): lambda: render(
        bsd.misprints(),
        "Printed DERs that do not follow: Equation 12, recomputed from the printed ACC and ASR",
        headers=4,
    ),
    ("bsd", "table-13"): lambda: render(
        bsd.best_settings(), "The best of each search by DER, and whether Table 2 or 3 prints it", headers=3
    ),
    ("bsd", "figure-4"): _pictures,
    ("vab", "table-5"): lambda: render(vab.data_sizes(), "Table 5: sizes of the data sets", headers=2),
}
