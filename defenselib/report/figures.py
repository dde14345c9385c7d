"""The figure of an exhibit, or the one line that says what it would take where there is nothing to draw."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from defenselib.experiments.store import Store
from defenselib.papers.kit.exhibit import Exhibit
from defenselib.plots.canvas import Picture
from defenselib.report import missing
from defenselib.report.html import Html


def figure(exhibit: Exhibit, frame: pd.DataFrame, profile: str = "laptop", store: Store | None = None) -> Figure | Html:
    """What a page shows of an exhibit: its drawing, or `missing.line` at a profile. The book's compiler takes a caption
    and a number off what is no picture (`report.myst`)."""
    drawn = exhibit.draw(frame)
    if isinstance(drawn, Picture) and drawn.nothing:
        return missing.line(exhibit.paper, exhibit.key, profile, store)
    return drawn
