"""Alternative texts: what a figure shows, in words that are made from what was drawn, so that they cannot disagree.

A cell's metadata say what kind of picture it is meant to be; this says what it became: its panels, the ends of every
line, the ranges of points and bars, or that nothing was run. Of the words that stand in a picture: which they are, and
which of them lie over one another (`clashes`), which should be none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import StepPatch
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator

LENGTH = 600  # characters; a reader who wants every number has the table beside the figure
SLACK = 1.0  # pixels by which a box may leave the figure


def describe(figure: Figure) -> str:
    """One paragraph of plain text, never empty, at most about `LENGTH` characters; what is left out is counted."""
    heading = [] if figure.get_suptitle() == "" else [_plain(figure.get_suptitle())]
    legends = [_plain(text.get_text()) for legend in figure.legends for text in legend.get_texts()]
    parts = heading + ([f"Legend: {', '.join(dict.fromkeys(legends))}"] if legends else [])
    pictures = [axis for axis in figure.axes if axis.images and not axis.texts]
    if pictures:
        parts.append(_pictures(pictures))
    parts += [words for axis in figure.axes if axis not in pictures and (words := _panel(axis))]
    return _shortened(parts) or "A drawing without words or numbers."


def named_in(figure: Figure) -> list[str]:
    """Every word that stands in a figure: its titles, legends, labels, ticks and texts, each once."""
    texts = [figure.get_suptitle(), *(text.get_text() for box in figure.legends for text in box.get_texts())]
    for axis in figure.axes:
        texts += [axis.get_title(), axis.get_xlabel(), axis.get_ylabel(), *(text.get_text() for text in axis.texts)]
        texts += [tick.get_text() for tick in (*axis.get_xticklabels(), *axis.get_yticklabels())]
        legend = axis.get_legend()
        texts += [text.get_text() for text in legend.get_texts()] if legend else []
    return list(dict.fromkeys(filter(None, map(_plain, texts))))


def clashes(figure: Figure) -> list[str]:
    """One sentence a pair of words that cross, and for each that the figure cuts off; empty for a sound figure."""
    figure.draw_without_rendering()
    titles, legends = list(_titles(figure)), list(_legends(figure))
    boxes = {artist: artist.get_window_extent() for artist in (*titles, *legends)}
    pairs = [*combinations(titles, 2), *((title, legend) for title in titles for legend in legends)]
    found = [f"{_called(one)} lies over {_called(other)}" for one, other in pairs if boxes[one].overlaps(boxes[other])]
    for artist, box in boxes.items():
        page = figure.bbox
        if min(box.x0 - page.x0, box.y0 - page.y0, page.x1 - box.x1, page.y1 - box.y1) < -SLACK:
            found.append(f"{_called(artist)} is cut off")
    return found


def _shortened(parts: list[str]) -> str:
    kept: list[str] = []
    for place, part in enumerate(parts):
        if kept and len(" ".join(kept)) + len(part) > LENGTH:
            return " ".join([*kept, f"And {len(parts) - place} more panels."])
        kept.append(part if part.endswith((".", "?", "!")) else f"{part}.")
    return " ".join(kept)


def _pictures(axes: list[Axes]) -> str:
    """Small images in rows and columns: how many, and the names beside and above them."""
    names = [_plain(words) for axis in axes for words in (axis.get_ylabel(), axis.get_title()) if words]
    said = f": {', '.join(dict.fromkeys(names))}" if names else ""
    return f"{len(axes)} small picture{'s' if len(axes) > 1 else ''}{said}"


def _panel(axis: Axes) -> str:
    """Title, axes and series of one coordinate system; its texts where nothing is plotted."""
    series = [*_lines(axis), *_bars(axis), *_steps(axis), *_points(axis), *_maps(axis)]
    title = _plain(axis.get_title())
    if not series:
        texts = [_plain(text.get_text()) for text in axis.texts]
        return ": ".join(part for part in (title, ", ".join(text for text in texts if text)) if part)
    named = " over ".join(_plain(words) for words in (axis.get_ylabel(), axis.get_xlabel()) if words)
    return ": ".join(part for part in (title, named, "; ".join(series)) if part)


def _lines(axis: Axes) -> list[str]:
    named = [line for line in axis.get_lines() if _named(line.get_label()) and np.size(line.get_xdata())]
    caps = ("|", "_")  # the ends of error bars
    rest = [line for line in axis.get_lines() if line not in named and line.get_marker() not in caps]
    said = [_course(line) for line in named]
    if not named and rest:
        numbers = [
            line.get_xdata() if _names_upright(axis) or not axis.get_ylabel() else line.get_ydata() for line in rest
        ]
        values = _finite(value for data in numbers for value in np.atleast_1d(data))
        what = "marks or lines" if len(rest) > 1 else "line"
        said.append(f"{len(rest)} {what} between {_span(values)}")
    return said


def _course(line: Line2D) -> str:
    """ "ASD from 20.1 to 84.2"; the name alone in a sketch, whose axes bear no numbers."""
    name = _plain(str(line.get_label()))
    across = isinstance(line.axes, Axes) and _names_upright(line.axes)
    values = _finite(np.atleast_1d(line.get_xdata() if across else line.get_ydata()))
    if line.axes is None or not (len(line.axes.get_xticks()) or len(line.axes.get_yticks())):
        return name
    if not values:
        return f"{name} without a value"
    if min(values) == max(values):
        return f"{name} at {_number(values[0])}"
    if line.get_linestyle() == "None":
        return f"{name} between {_span(values)}"
    return f"{name} from {_number(values[0])} to {_number(values[-1])}"


def _names_upright(axis: Axes) -> bool:
    """Whether names stand along the upright axis, as in a chart of dots: then the numbers run along the other."""
    if not isinstance(axis.yaxis.get_major_locator(), FixedLocator):
        return False
    said = [_plain(tick.get_text()) for tick in axis.get_yticklabels()]
    return any(said) and not any(map(_is_number, said))


def _bars(axis: Axes) -> list[str]:
    """Each group of bars: their lengths, by the names of the bars where the axis has some."""
    found = []
    for bars in axis.containers:
        if isinstance(bars, BarContainer):
            label, flat = str(bars.get_label()), bars.orientation == "horizontal"
            lengths = [float(bar.get_width() if flat else bar.get_height()) for bar in bars]
            ticks = [_plain(tick.get_text()) for tick in (axis.get_yticklabels() if flat else axis.get_xticklabels())]
            names = ticks if len(ticks) == len(lengths) and not any(map(_is_number, ticks)) else [""] * len(lengths)
            said = [f"{name} {_number(length)}".strip() for name, length in zip(names, lengths, strict=True)
                    if np.isfinite(length)]  # fmt: skip
            found.append(f"{_plain(label) if _named(label) else 'bars'} {', '.join(said)}")
    return found


def _is_number(text: str) -> bool:
    return text.replace("−", "").replace("-", "").replace(".", "").isdigit()


def _steps(axis: Axes) -> list[str]:
    """Histograms: how many samples, and where most of them lie."""
    found = []
    for patch in axis.patches:
        if isinstance(patch, StepPatch):
            values, edges, _ = patch.get_data()
            counts = np.nan_to_num(np.asarray(values, dtype=float))
            where = int(counts.argmax())
            spot = _number(float(edges[where] + edges[where + 1]) / 2)
            label = _plain(str(patch.get_label())) if _named(patch.get_label()) else "all"
            found.append(f"{label} {counts.sum():,.0f}, the most at {spot}" if counts.sum() else f"{label} none")
    return found


def _points(axis: Axes) -> list[str]:
    """Scatter plots: with a word beside every point, the words and the values; else how many points."""
    sets = [np.ma.filled(offsets, np.nan) for item in axis.collections if np.size(offsets := item.get_offsets())]
    points = [tuple(row) for group in sets for row in np.atleast_2d(group) if np.isfinite(row).all()]
    if not points or not any(point != (0.0, 0.0) for point in points):
        return []  # bands and grids are collections too; they sit at the origin
    words = [_plain(text.get_text()) for text in axis.texts]
    if len(words) == len(points):
        return [f"{word} at {_number(x)}, {_number(y)}" for word, (x, y) in zip(words, points, strict=True)]
    return [f"{len(points):,} points"]


def _maps(axis: Axes) -> list[str]:
    """Heat maps: the range of their numbers."""
    arrays = [np.ma.filled(array, np.nan) for image in axis.images if (array := image.get_array()) is not None]
    values = _finite(value for array in arrays for value in array.ravel())
    return [f"heat map of numbers between {_span(values)}"] if len(values) else []


def _named(label: object) -> bool:
    return bool(label) and not str(label).startswith("_")


def _finite(values: Iterable[object]) -> list[float]:
    found = [float(value) for value in values if isinstance(value, (int, float, np.number))]
    return [value for value in found if np.isfinite(value)]


def _span(values: list[float]) -> str:
    return f"{_number(min(values))} and {_number(max(values))}" if values else "no values"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _plain(text: str) -> str:
    """A label without line breaks, also those after a hyphen, and TeX signs."""
    return " ".join(text.replace("-\n", "-").replace("$", "").replace("\\", "").split())


def _titles(figure: Figure) -> Iterator[Text]:
    above = getattr(figure, "_suptitle", None)  # matplotlib gives its words alone
    if above is not None and above.get_text():
        yield above
    yield from (axis.title for axis in figure.axes if axis.get_title() and axis.get_visible())


def _legends(figure: Figure) -> Iterator[Artist]:
    yield from figure.legends
    yield from (legend for axis in figure.axes if (legend := axis.get_legend()) is not None)


def _called(artist: Artist) -> str:
    return f"the title {artist.get_text()!r}" if isinstance(artist, Text) else "a legend"
