"""What lies over what in a drawing: titles and legends that cross one another, or that the figure cuts off."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.text import Text

SLACK = 1.0  # pixels by which a box may leave the figure


def clashes(figure: Figure) -> list[str]:
    """One sentence a pair of words that cross, and for each that the figure cuts off; empty for a sound figure."""
    figure.draw_without_rendering()
    titles, legends = list(_titles(figure)), list(_legends(figure))
    boxes = {artist: artist.get_window_extent() for artist in (*titles, *legends)}
    pairs = [*combinations(titles, 2), *((title, legend) for title in titles for legend in legends)]
    found = [f"{_named(one)} lies over {_named(other)}" for one, other in pairs if boxes[one].overlaps(boxes[other])]
    for artist, box in boxes.items():
        page = figure.bbox
        if min(box.x0 - page.x0, box.y0 - page.y0, page.x1 - box.x1, page.y1 - box.y1) < -SLACK:
            found.append(f"{_named(artist)} is cut off")
    return found


def _titles(figure: Figure) -> Iterator[Text]:
    above = getattr(figure, "_suptitle", None)  # matplotlib gives its words alone
    if above is not None and above.get_text():
        yield above
    yield from (axis.title for axis in figure.axes if axis.get_title() and axis.get_visible())


def _legends(figure: Figure) -> Iterator[Artist]:
    yield from figure.legends
    yield from (legend for axis in figure.axes if (legend := axis.get_legend()) is not None)


def _named(artist: Artist) -> str:
    return f"the title {artist.get_text()!r}" if isinstance(artist, Text) else "a legend"
