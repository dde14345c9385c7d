"""Pieces of HTML for the report. Whatever comes from the data, names above all, is text and never markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from defenselib.audit.names import visible


def shown(text: str) -> str:
    """A name as text of a page: nothing in it is obeyed, by a terminal or by a browser."""
    return escape(visible(text), quote=True)


def number(value: float) -> str:
    """A number for a reader; a dash for one that is none."""
    if value != value:
        return "–"
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:.3g}"


def table(
    head: Sequence[str], rows: Iterable[Sequence[str | float | None]], caption: str, texts: Sequence[int] = (0,)
) -> str:
    """A table in a box that scrolls. texts: the columns of words, which are escaped here. None is an empty cell."""

    def cell(tag: str, place: int, value: str | float | None, scope: str = "") -> str:
        text = "" if value is None else number(value) if isinstance(value, int | float) else shown(value)
        look = ' class="text"' if place in texts else ""
        return f"<{tag}{scope}{look}>{text}</{tag}>"

    def line(row: Sequence[str | float | None]) -> str:
        first = cell("th", 0, row[0], ' scope="row"')
        return f"<tr>{first}{''.join(cell('td', place, value) for place, value in enumerate(row[1:], 1))}</tr>"

    top = "".join(cell("th", place, name, ' scope="col"') for place, name in enumerate(head))
    body = "".join(map(line, rows))
    return (
        f'<div class="box" tabindex="0" role="region" aria-label="{escape(caption, quote=True)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def bullets(items: Iterable[str]) -> str:
    """Sentences as a list."""
    found = "".join(f"<li>{shown(item)}</li>" for item in items)
    return f'<ul class="plain">{found}</ul>' if found else ""


def folded(summary: str, body: str) -> str:
    """What opens with a click or a key."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def paragraph(text: str, look: str = "") -> str:
    opened = f'<p class="{look}">' if look else "<p>"
    return f"{opened}{shown(text)}</p>"
