"""What the drawings of exhibits share: rows that were run, a grid of panels over one or two columns of the frame, mean
lines with their spread, printed marks beside reproduced ones, one legend for all panels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from defenselib.plots import style, words
from defenselib.plots.canvas import Picture, empty, grid, group_histograms, leave_empty, level_words

Drawer = Callable[[pd.DataFrame, str], Figure]
Panel = tuple[Axes, pd.DataFrame, dict[str, Any]]  # an axis, its rows, and where it stands
PERCENT = (-4, 104)
PRINTED_ALONE = "the printed numbers alone: none of them was run"
PLACES, AVERAGES = ("dataset", "attack", "defense"), ("average", "worst")
# Columns of a frame that are no axis of what is drawn.
MEASURED = {"model", "target", "poisoning_rate", "variant", "metric", "published", "note", "reproduced", "n", "sd"}
MEASURED |= {"verdict", "profile", "ran_on", "reason", "gate", "spread", "by_seed", "source", "results"}
MEASURED |= {"epoch", "low", "high", "sample", "left", "group", "panel", "component"}
LETTERS = 60  # that fit side by side under an axis


def drawing(
    body: Callable[[pd.DataFrame], Figure], titled: bool = True, sweep: Sequence[str] = (), printed: bool = False
) -> Drawer:
    """A drawer that gives `body` the rows that were run, within the book's look; its title names the profile and what
    the exhibit has and was not run.

    There is nothing to draw where none was run. sweep: columns of which one must have two values that were run, since a
    sweep over one value is none. printed: where none was run, the printed numbers are drawn alone, and it says so.
    """

    def draw(frame: pd.DataFrame, title: str = "") -> Figure:
        ran = frame[frame["reproduced"].notna()]
        swept = max((ran[name].nunique() for name in sweep if name in ran), default=0)
        shown, said = ran, level_words(ran, absent(frame, ran))
        if ran.empty and printed:
            shown, said = frame[pd.to_numeric(frame["published"], errors="coerce").notna()], f"\n({PRINTED_ALONE})"
        with style.look():
            if shown.empty or (sweep and swept < 2 and shown is ran):
                return empty(title)
            figure = body(shown)
            if isinstance(figure, Picture):
                figure.shown = tuple(named(name, column) for column in PLACES for name in names_of(shown, column))
            # Where there is nothing else, what was said in brackets is the title.
            figure.suptitle(f"{title}{said}" if titled and title else f"{said[2:3].upper()}{said[3:-1]}")
            return figure

    return draw


def absent(frame: pd.DataFrame, ran: pd.DataFrame) -> list[str]:
    """What a frame has and none of its rows that were run: data sets, attacks, defenses, values of axes, in words."""
    found = []
    for column in frame.columns:
        if column in PLACES or column not in MEASURED:
            lost = [name for name in names_of(frame, column) if name not in set(names_of(ran, column))]
            found += [words.setting({column: name}, [column]) for name in lost if name not in AVERAGES]
    return list(dict.fromkeys(filter(None, found)))


def names_of(rows: pd.DataFrame, column: str) -> list[Any]:
    """The values of a column in order of appearance, without missing ones; none where there is no such column."""
    return list(dict.fromkeys(rows[column].dropna())) if column in rows else []


def named(value: Any, column: str) -> str:
    """A value of a column in the book's words."""
    return words.value(value, column)


def only(rows: pd.DataFrame, **where: Any) -> pd.DataFrame:
    """The rows in which every named column has the given value; none where there is no such column."""
    for column, value in where.items():
        rows = rows[rows[column] == value] if column in rows else rows.iloc[:0]
    return rows


def by(rows: pd.DataFrame, column: str) -> Iterator[tuple[Any, pd.DataFrame]]:
    """Each value of a column with its rows."""
    return ((name, rows[rows[column] == name]) for name in names_of(rows, column))


def panels(
    ran: pd.DataFrame, across: str, down: str | None = None, *, most: int = 4, width: float = 7.4, height: float = 2.6,
    across_values: Sequence[Any] | None = None, down_values: Sequence[Any] | None = None,
) -> tuple[Figure, list[Panel]]:  # fmt: skip
    """A panel for each value of `across`, wrapped after `most`, or a grid of them with a row for each value of `down`;
    height: of a row, in inches. Unused panels are hidden; titles are the values in words."""
    columns = names_of(ran, across) if across_values is None else list(across_values)
    stands = [{across: column} for column in columns]
    if down is not None:
        rows = names_of(ran, down) if down_values is None else list(down_values)
        stands, most = [{across: column, down: row} for row in rows for column in columns], len(columns)
    wide = min(most, len(columns))
    lines = -(-len(stands) // wide)
    figure, axes = grid(width, 0.5 + height * lines, lines, wide)
    leave_empty(axes, len(stands))
    found = [(axis, only(ran, **where), where) for axis, where in zip(axes.flat, stands, strict=False)]
    for place, (axis, _, where) in enumerate(found):
        said = [named(value, name) for name, value in where.items() if name == across or down != "metric"]
        axis.set_title(": ".join(said))
        if down == "metric" and place % wide == 0:
            axis.set_ylabel(f"{str(where['metric']).upper()} (%)")
    return figure, found


def line(axis: Axes, rows: pd.DataFrame, x: str, words: str = "", style_of: str = "-", **look: Any) -> None:
    """Mean along the column `x`, in its order, with a band of one standard deviation over the seeds."""
    rows = rows.sort_values(x, kind="stable")
    at, mean, spread = rows[x].astype(float), rows["reproduced"], rows["sd"].fillna(0.0)
    axis.plot(at, mean, style_of, label=words or None, **look)
    if (spread > 0).any():
        axis.fill_between(at, mean - spread, mean + spread, color=look.get("color"), alpha=0.2)
    if x == "epoch":
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))


def beside(
    axis: Axes, rows: pd.DataFrame, places: Any, sign: Mapping[str, Any], words: str, across: bool = True
) -> None:
    """Printed (hollow) and reproduced (filled) marks at `places`, along x, or along y with `across` False."""
    hollow: dict[str, Any] = {
        "ls": "",
        "ms": 8,
        "mfc": style.BACKGROUND,
        "mec": sign["color"],
        "marker": sign["marker"],
    }
    filled: dict[str, Any] = {"ls": "", "ms": 8, **sign}
    (filled if rows["reproduced"].notna().any() else hollow)["label"] = words
    for column, look in (("published", hollow), ("reproduced", filled)):
        pair = (places, rows[column]) if across else (rows[column], places)
        axis.plot(*pair, **look)


def legend(figure: Figure, columns: int = 4) -> Figure:
    """The figure with one legend below all panels, each name once."""
    handles = {
        words: line for axis in figure.axes for line, words in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    if handles:
        figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=columns)
    return figure


def histograms(
    ran: pd.DataFrame, across: str, down: str | None = None, *, xlabel: str = "",
    titles: Mapping[Any, str] | None = None, **size: Any,
) -> tuple[Figure, list[Panel]]:  # fmt: skip
    """Counts of groups of samples over each other (columns group, low, high), a panel for each value of a column."""
    figure, found = panels(ran[ran["metric"] == "count"], across, down, **size)
    for axis, part, where in found:
        group_histograms(axis, part)
        place = axis.get_subplotspec()
        first = place is not None and place.is_first_col()
        axis.set(xlabel=xlabel, ylabel="training samples" if first else "")
        if titles:
            axis.set_title(titles[where[across]])
    legend(figure)
    return figure, found


def settings(label: Callable[[Mapping[str, Any]], str]) -> Drawer:
    """A table by setting: printed and reproduced ACC and ASR, one colour an attack; label: of a row's setting."""

    def body(ran: pd.DataFrame) -> Figure:
        shown = ran.assign(setting=[label(row) for row in cast("list[dict[str, Any]]", ran.to_dict("records"))])
        places = {name: place for place, name in enumerate(names_of(shown, "setting"))}
        figure, axes = grid(7.2, 4.6, 2, 1)
        for metric, axis in zip(("acc", "asr"), axes.flat, strict=True):
            for attack, rows in by(only(shown, metric=metric), "attack"):
                beside(axis, rows, rows["setting"].map(places), style.attack(attack), named(attack, "attack"))
            axis.set(ylabel=f"{metric.upper()} (%)", ylim=PERCENT)
            axis.set_xticks(range(len(places)), list(places) if axis is axes.flat[-1] else [""] * len(places))
            # Long names of many settings would run into one another.
            axis.tick_params(axis="x", rotation=60 if len("".join(places)) > LETTERS else 0)
        return legend(figure)

    return drawing(body, printed=True)
