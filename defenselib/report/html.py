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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from defenselib.plots import words
from defenselib.plots.alt import describe
from defenselib.plots.canvas import Picture

NUMERIC = re.compile(rf"[{words.NONE}\d.,±{words.SPACE} -]*")


@dataclass(frozen=True)
class Html:
    """A piece of HTML that a notebook shows as such."""

    text: str

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


def render(
    frame: pd.DataFrame, caption: str, headers: int = 1, marked: Sequence[str] = (),
    links: Mapping[str, str] | None = None, foot: str = "",
) -> Html:  # fmt: skip
    """A table of texts and numbers; the first `headers` columns head their rows. marked: columns that hold verdicts or
    outcomes, "holds so far" or "holds so far, 3 of 4". links: where a text leads, wherever it is a whole cell. foot: a
    note below the table.

    Numbers stand to the right, words to the left. It scrolls within its box on narrow screens and takes its letters
    from the page, light or dark.
    """
    columns = {str(name): [_text(value) for value in frame[name]] for name in frame.columns}
    left = {name for name, texts in columns.items() if not all(NUMERIC.fullmatch(text) for text in texts)}
    side = {name: _side(texts) if name in left else "" for name, texts in columns.items()}
    head = "".join(f'<th scope="col"{side[name]}>{escape(name)}</th>' for name in columns)
    body = []
    for row in zip(*columns.values(), strict=True):
        cells = []
        for place, (name, text) in enumerate(zip(columns, row, strict=True)):
            inner = badge(text) if name in marked else escape(text)
            if links and text in links:
                inner = f'<a href="{escape(links[text])}">{inner}</a>'
            opened, closed = ('th scope="row"', "th") if place < headers else ("td", "td")
            cells.append(f"<{opened}{side[name]}>{inner}</{closed}>")
        body.append(f"<tr>{''.join(cells)}</tr>")
    return boxed(f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody>", caption, foot=foot)


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


def _side(texts: Sequence[str]) -> str:
    # Names stay on one line; sentences get room, so that they do not grow into towers.
    longest = max(map(len, texts), default=0)
    width = "white-space:nowrap" if longest <= 24 else "min-width:14em" if longest <= 120 else "min-width:20em"
    return f' style="text-align:left;{width}"'


def _text(value: object) -> str:
    return words.number(value) if isinstance(value, float) else words.spoken(str(value))
