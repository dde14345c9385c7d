"""Tables that a reader sorts and filters in the page itself, by itables (DataTables): no kernel, no network.

The script lies in the page, once: `start()` in a cell before the first table. Every table keeps a plain one beside it,
which is what a page without scripts shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from defenselib.report.html import Html
from defenselib.report.notebooks import needed

PAGE = 25  # rows at first
# With a fixed first order DataTables tells a screen reader the direction of that one; the classes have the right one.
# A field over numbers takes ">70", "<= 10" and the like as well; what else is typed is looked for as text.
AFTER_DRAWING = Path(__file__).with_suffix(".js")


def start() -> None:
    """Put the script of the tables into the page."""
    _itables().init_notebook_mode(all_interactive=False, connected=False)


def table(
    frame: pd.DataFrame,
    caption: str,
    name: str,
    high: Sequence[str] = (),
    low: Sequence[str] = (),
    long: Sequence[str] = (),
    order: Sequence[tuple[str, str]] = (),
    last: Sequence[bool] | None = None,
) -> Html:
    """A sortable table, with a field to filter by under the head of every column; over numbers it takes ">70" as well.
    Its cells are texts, or `Html` as it is.

    name: its id in the page. high, low: columns of numbers ("81.0 ± 1.4", "–" for none), by what is good; a first click
    puts the good ones on top, and an empty cell counts as bad. long: columns of sentences, which may wrap. order:
    columns and "asc" or "desc" at first. last: rows that stay at the end however the table is sorted.
    """
    shown = frame.map(lambda cell: cell.text if isinstance(cell, Html) else escape(str(cell)))
    places = {column: place for place, column in enumerate(shown.columns)}
    rules = [_numbers(places, high, "-Infinity", ["desc", "asc"]), _numbers(places, low, "Infinity", ["asc", "desc"])]
    rules.append({"targets": [places[column] for column in long], "className": "long"})
    if last is not None:
        shown = shown.assign(state=["no result" if value else "" for value in last])
        rules.append({"targets": [len(places)], "visible": False, "searchable": False})

    text = _itables().to_html_datatable(
        shown,
        caption=caption,
        table_id=name,
        connected=False,
        showIndex=False,
        maxBytes=0,  # nothing is cut off
        maxColumns=0,
        classes="display compact nowrap",
        style="width:auto;margin:0;caption-side:top",
        column_filters="footer",  # the style sheet puts them under the head
        layout={"topStart": "pageLength", "topEnd": "search", "bottomStart": "info", "bottomEnd": "paging"},
        display_logo_when_loading=False,
        columnDefs=[rule for rule in rules if rule["targets"]],
        order=[[places[column], direction] for column, direction in order],
        pageLength=PAGE,
        lengthMenu=[PAGE, 100, {"label": "all", "value": -1}],
        language={"search": "Search:", "lengthMenu": "_MENU_ rows a page"},
        drawCallback=_itables().JavascriptFunction(AFTER_DRAWING.read_text(encoding="utf-8").rstrip()),
        allow_html=True,
        **({} if last is None else {"orderFixed": {"pre": [[len(places), "asc"]]}}),
    )
    return Html(f'<div class="sortable">{text}</div>')


def _numbers(places: Mapping[str, int], columns: Sequence[str], empty: str, sequence: list[str]) -> dict[str, Any]:
    """Sorted by the number that a text begins with."""
    function = (
        "function (data, type) { if (type !== 'sort' && type !== 'type') { return data; } "
        f"const value = parseFloat(data); return isNaN(value) ? {empty} : value; }}"
    )
    return {
        "targets": [places[column] for column in columns],
        "type": "num",
        "className": "dt-body-right",
        "orderSequence": sequence,
        "render": _itables().JavascriptFunction(function),
    }


def _itables() -> Any:
    with needed("sortable tables need a package that is"):
        import itables
    itables.options.warn_on_undocumented_option = False  # DataTables knows `orderFixed`, itables passes it on
    return itables
