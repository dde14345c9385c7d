"""Pieces of HTML that a notebook shows: tables that a screen reader can follow, tabs and folds that need no script.

Verdicts are a mark and a word, never a colour alone; the book's style sheet colours them. Headers have a scope, every
table has a caption. `Html` shows itself in a notebook and needs no Jupyter package.
"""

from __future__ import annotations

import base64
import hashlib
import inspect
import re
import textwrap
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import groupby
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from defenselib.plots import words
from defenselib.plots.alt import describe
from defenselib.plots.canvas import Picture

COLUMN, FULL = 686, 936  # pixels of the text's column, and with the page's margin, in a window of 1280
LETTER, PADDING, FRAME = 9.0, 18, 12  # pixels of a letter, around a cell's text, around a verdict
NAME = 18  # letters of a name that stays on one line
ARROW = "→"
NUMERIC = re.compile(rf"[{words.NONE}\d.,±{words.SPACE} -]*")


@dataclass(frozen=True)
class Html:
    """A piece of HTML that a notebook shows as such; its plain text is no second copy of it."""

    text: str = field(repr=False)

    def _repr_html_(self) -> str:
        return self.text

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Listing:
    """Source code that a notebook shows in the page's own colours."""

    text: str

    def _repr_markdown_(self) -> str:
        return f"```python\n{self.text}```\n"

    def __str__(self) -> str:
        return self.text


def source(function: Callable[..., Any]) -> Listing:
    """The source of a function or method, without its indentation."""
    return Listing(textwrap.dedent(inspect.getsource(function)))


Column = str | tuple[str, str]  # a name, or the name of a group of columns and that within it


def render(
    frame: pd.DataFrame, caption: str, headers: int = 1, marked: Sequence[Column] = (),
    links: Mapping[str, str] | None = None, foot: str = "", below: Sequence[str] = (), openers: Sequence[Column] = (),
    notes: Sequence[str] = (), beside: Mapping[Column, Sequence[str]] | None = None,
) -> Html:  # fmt: skip
    """A table of texts and numbers; the first `headers` columns head their rows. Columns called by pairs stand side by
    side under a common head. marked: columns that hold verdicts or outcomes, "holds so far" or "holds so far, 3 of 4".
    links: where a text leads, wherever it is a whole cell. foot: a note below the table. below: HTML a row that opens
    under it by the cells of the columns `openers`, with mouse, keyboard and touch, without a script; empty for none.
    notes: a line a row that stands under it; empty for none. beside: by column, verdicts whose marks follow its texts.

    Numbers stand to the right, words to the left. It scrolls within its box on narrow screens and takes its letters
    from the page, light or dark.
    """
    columns: dict[Column, list[str]] = {name: [_text(value) for value in frame[name]] for name in frame.columns}
    left = {name for name, texts in columns.items() if not all(NUMERIC.fullmatch(text) for text in texts)}
    side = {name: _side(texts) if name in left else "" for name, texts in columns.items()}
    wide = width(columns, marked, beside or ()) > COLUMN
    body = []
    for number, row in enumerate(zip(*columns.values(), strict=True)):
        more = below[number] if below else ""
        cells = []
        for place, (name, text) in enumerate(zip(columns, row, strict=True)):
            inner = badge(text) if name in marked else escape(text)
            if links and text in links:
                inner = f'<a href="{escape(links[text])}">{inner}</a>'
            if more and name in openers and text not in ("", words.NONE):
                inner = f'<details class="opens"><summary>{inner}</summary></details>'
            if beside and name in beside and beside[name][number]:
                inner = f"{inner} {mark(beside[name][number])}"
            opened, closed = ('th scope="row"', "th") if place < headers else ("td", "td")
            cells.append(f"<{opened}{side[name]}>{inner}</{closed}>")
        body.append(f"<tr>{''.join(cells)}</tr>")
        if more:
            body.append(f'<tr class="made-of" style="display:none"><td colspan="{len(columns)}">{more}</td></tr>')
        if notes and notes[number]:
            body.append(f'<tr class="note"><td colspan="{len(columns)}">{escape(notes[number])}</td></tr>')
    rows = f"<thead>{_head(list(columns), side)}</thead><tbody>{''.join(body)}</tbody>"
    return boxed(rows, caption, "full-width" if wide else "", foot)


def _head(columns: Sequence[Column], side: Mapping[Column, str]) -> str:
    if not any(isinstance(name, tuple) for name in columns):
        return f"<tr>{''.join(_heads(columns, side))}</tr>"
    above, under = [], []
    for group, members in groupby(columns, key=lambda name: name[0] if isinstance(name, tuple) else None):
        mine = list(members)
        if group is None:
            above += _heads(mine, side, ' rowspan="2"')
            continue
        above.append(f'<th scope="colgroup" colspan="{len(mine)}" class="group">{escape(group)}</th>')
        under += _heads([name[1] for name in mine], {name[1]: side[name] for name in mine})
    return f"<tr>{''.join(above)}</tr><tr>{''.join(under)}</tr>"


def _heads(columns: Sequence[Column], side: Mapping[Column, str], more: str = "") -> list[str]:
    return [f'<th scope="col"{more}{side[name]}>{escape(str(name))}</th>' for name in columns]


def boxed(table: str, caption: str, kind: str = "", foot: str = "") -> Html:
    """The rows of a table with its caption, in a box that scrolls and that the keyboard reaches."""
    said = escape(caption)
    below = f'<p class="table-foot">{escape(foot)}</p>' if foot else ""
    return Html(
        f'<div class="{" ".join(filter(None, ("results", kind)))}" style="overflow-x:auto" tabindex="0" role="region" '
        f'aria-label="{said}"><table class="dataframe"><caption style="text-align:left">{said}</caption>'
        f"{table}</table></div>{below}"
    )


def badge(text: str) -> str:
    """A verdict or an outcome with its mark, in a frame of its own; what follows a comma stands beside it."""
    word, comma, rest = text.partition(", ")
    if word not in words.MARKS:
        return escape(text)
    look = word.replace(" ", "-")
    return f'<span class="verdict verdict-{look}">{escape(words.marked(word))}</span>' + (comma and f" {escape(rest)}")


def mark(word: str) -> str:
    """The mark of a verdict, in its colour; the word is for screen readers and the pointer. Its caption explains it."""
    said = f'{escape(words.MARKS[word])}<span class="visually-hidden"> {escape(word)}</span>'
    return f'<span class="verdict-mark verdict-{word.replace(" ", "-")}" title="{escape(word)}">{said}</span>'


def tabs(parts: Mapping[str, str], legend: str, chosen: str) -> Html:
    """One of several pieces of HTML at a time, chosen by radio buttons (mouse, keyboard, touch); where there is no
    style sheet, and on paper, they stand below one another. A single one stands alone."""
    if len(parts) < 2:
        return Html("".join(parts.values()))
    group = "tab-" + hashlib.sha1("".join(parts.values()).encode()).hexdigest()[:10]
    buttons, panels = [], []
    for place, (name, text) in enumerate(parts.items()):
        here = f"{group}-{place}"
        mark = " checked" if name == chosen else ""
        buttons.append(
            f'<input type="radio" name="{group}" id="{here}"{mark}><label for="{here}">{escape(name)}</label>'
        )
        panels.append(f'<div class="level"><p class="level-name">{escape(legend)}: {escape(name)}</p>{text}</div>')
    return Html(f'<fieldset class="levels"><legend>{escape(legend)}</legend>{"".join(buttons + panels)}</fieldset>')


def fold(heading: str, aside: str, body: str, name: str) -> Html:
    """What opens with a click or a key; name: its place in the page, `heading` is HTML."""
    return Html(
        f'<details class="exhibit"><summary>{heading} <span class="exhibit-counts">{escape(aside)}</span></summary>'
        f'<div id="{name}" class="exhibit-body">{body}</div></details>'
    )


def embedded(figure: Figure, caption: str) -> Html:
    """A figure within other HTML, with its alternative text."""
    assert isinstance(figure, Picture)
    picture = base64.b64encode(figure._repr_png_()).decode()
    return Html(
        f'<figure><img alt="{escape(describe(figure), quote=True)}" src="data:image/png;base64,{picture}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def width(columns: Mapping[Column, Sequence[str]], marked: Sequence[Column], beside: Collection[Column] = ()) -> float:
    """About how many pixels a table takes; marked: columns of verdicts, beside: those with a mark in each cell."""
    found = 0.0
    for name, texts in columns.items():
        head = name if isinstance(name, str) else name[1]
        parts = (len(part) for text in texts for part in text.split(f" {ARROW}"))
        longest = min(max(parts, default=0), NAME) + 2 * (name in beside)
        found += LETTER * max(len(head), longest) + PADDING + FRAME * (name in marked)
    return found


def _side(texts: Sequence[str]) -> str:
    # Names stay on one line; sentences get room, so that they do not grow into towers.
    longest = max(map(len, texts), default=0)
    if any(ARROW in text for text in texts):  # printed above, reproduced below
        return ' style="text-align:left;min-width:4em"'
    if longest <= NAME:
        return ' style="text-align:left;white-space:nowrap"'
    width = "min-width:8em;overflow-wrap:anywhere" if longest <= 120 else "min-width:14em"
    return f' style="text-align:left;{width}"'


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return words.number(value) if isinstance(value, float) else words.spoken(str(value))
