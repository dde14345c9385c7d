"""No title lies over a legend, and no word of either is cut off: in figures made for it, and in every exhibit."""

from __future__ import annotations

from pathlib import Path

import pytest

from defenselib import papers
from defenselib.plots import alt, canvas, style

COMMITTED = Path(__file__).parents[2] / "book" / "results"


def drawn(title: str, place: str) -> canvas.Figure:
    with style.look():
        figure, axes = canvas.grid(7.2, 3.0, 1, 1)
        axes[0, 0].plot([0, 1], [0, 1], label="a method with a long name")
        figure.legend(loc=place)
        figure.suptitle(title)
        return figure


def test_a_title_over_a_legend_is_found() -> None:
    """How Figure 3 of A-ABL was drawn once."""
    figure = drawn(
        "A title that is as long as its figure is wide, so that it comes to the corner", "outside right upper"
    )
    (said,) = alt.clashes(figure)
    assert said.endswith("lies over a legend") and "A title" in said
    assert alt.clashes(drawn("The same", "outside lower center")) == []


def test_titles_over_one_another_and_what_is_cut_off_are_found() -> None:
    figure, axes = canvas.grid(3.0, 2.0, 1, 2)
    for axis in axes.flat:
        axis.set_title("a title wider than its panel")
    assert any("lies over" in said for said in alt.clashes(figure))
    figure, axes = canvas.grid(2.0, 2.0, 1, 1)
    axes[0, 0].set_title("a title that is far wider than the whole figure")
    assert any(said.endswith("is cut off") for said in alt.clashes(figure))


def test_a_long_title_is_broken_where_its_figure_ends() -> None:
    said = f"{'one of many words ' * 12}\n(in a second line)"
    figure = drawn(said, "outside lower center")
    lines = figure.get_suptitle().split("\n")
    assert len(lines) > 3 and lines[-1] == "(in a second line)"
    assert alt.clashes(figure) == []


@pytest.mark.slow
@pytest.mark.parametrize("paper", papers.available())
def test_no_exhibit_has_one(paper: str) -> None:
    found = {}
    for exhibit in papers.get(paper).exhibits:
        if exhibit.plot is not None:
            figure = exhibit.draw(exhibit.reproduce(profile="best", store=COMMITTED))
            found[exhibit.key] = alt.clashes(figure)
    assert {key: said for key, said in found.items() if said} == {}
