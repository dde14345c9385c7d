"""Pieces of HTML for the report, pictures among them: thumbnails, a trigger, histograms. Whatever comes from the data,
names above all, is text and never markup; all lies within the page, and none of it is a script."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from defenselib.audit.names import visible

THUMBNAIL = 112  # pixels; larger pictures are made smaller for the page
BINS = 40
_WIDTH, _HEIGHT, _BASE = 320, 90, 76


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


def thumbnail(image: Tensor, alt: str) -> str:
    """An `img` of uint8 (3, H, W), in the page itself."""
    picture = Image.fromarray(image.permute(1, 2, 0).contiguous().cpu().numpy())
    if max(picture.size) > THUMBNAIL:
        picture.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{escape(alt, quote=True)}">'


def change(pattern: Tensor) -> Tensor:
    """A change of pixels, float (3, H, W), as a picture uint8: grey is no change, as strong as it can be shown."""
    values = pattern.float()
    strongest = float(values.abs().max()) or 1.0
    return (128 + 127 * values / strongest).clamp(0, 255).round().to(torch.uint8)


def histogram(values: Tensor, marked: Tensor, name: str) -> str:
    """Counts of all values, with those of the `marked` ones (bool (N,)) in front, as an SVG; both on a square-root
    scale, so that few stay visible beside many. Values that are no number are left out."""
    known = torch.isfinite(values)
    numbers, hit = values[known].double().numpy(), marked[known].numpy()
    if not len(numbers):
        return '<p class="muted">It speaks of classes, not of single files.</p>'
    low, high = float(numbers.min()), float(numbers.max())
    if low == high:
        return f'<p class="muted">The same value for all files: {low:.4g}.</p>'
    edges = np.linspace(low, high, BINS + 1)
    every, some = (np.histogram(part, edges)[0] for part in (numbers, numbers[hit]))
    top = float(np.sqrt(every.max()))
    alt = f"Histogram of {name}: {len(numbers)} files from {low:.4g} to {high:.4g}, {int(hit.sum())} of them flagged"
    return (
        f'<svg class="histogram" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(alt, quote=True)}">'
        f"{_bars(every, top, 'all')}{_bars(some, top, 'flagged')}"
        f'<line x1="0" y1="{_BASE}" x2="{_WIDTH}" y2="{_BASE}"/>'
        f'<text x="0" y="{_HEIGHT - 2}">{low:.3g}</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT - 2}" text-anchor="end">{high:.3g}</text></svg>'
    )


def _bars(counts: Sequence[int] | np.ndarray, top: float, kind: str) -> str:
    width = _WIDTH / len(counts)
    found = []
    for place, count in enumerate(counts):
        height = (_BASE - 4) * float(np.sqrt(count)) / top
        if count:
            corner = f'x="{place * width:.1f}" y="{_BASE - height:.1f}"'
            found.append(f'<rect {corner} width="{width - 1:.1f}" height="{height:.1f}"/>')
    return f'<g class="{kind}">{"".join(found)}</g>'
