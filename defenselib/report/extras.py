"""What stands beside single exhibits on the pages of verdicts: computed from print alone, or shown as pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from defenselib.papers.asd import exhibits as asd
from defenselib.papers.bsd import printed as bsd
from defenselib.papers.examples import paper_figure
from defenselib.papers.vab import exhibits as vab
from defenselib.plots.canvas import Picture
from defenselib.report.html import Html, embedded, render


def beside(paper: str, exhibit: str) -> Html:
    """What stands beside an exhibit; empty where nothing does."""
    make = EXTRAS.get((paper, exhibit))
    return Html("") if make is None else make()


def _pictures() -> Html:
    figure = paper_figure("bsd", profile="best")
    assert isinstance(figure, Picture)
    said = "One image under each attack as BSD's authors run it, where the pictures are in the store."
    return Html("") if figure.nothing else embedded(figure, said)


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
