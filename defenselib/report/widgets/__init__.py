"""What readers of the book can turn and press, without a kernel: pictures, thresholds, training runs, tables.

The static page holds all states. Pictures are made beforehand and lie in `Stack`s that a control's index leads through
(`stacks`); what is better drawn where it is looked at (histograms with a threshold, curves, long tables) comes as data
with a small script (`client`). Only `live` needs a running kernel, and says so where there is none.
"""

from __future__ import annotations

from defenselib.report.execute import JupyterMissingError

try:
    from defenselib.report.widgets.ask import own_picture
    from defenselib.report.widgets.attacks import attack_picker
    from defenselib.report.widgets.live import live_panel
    from defenselib.report.widgets.runs import training_runs
    from defenselib.report.widgets.splits import separation, separations, split_threshold
    from defenselib.report.widgets.stacks import Axis, chooser
    from defenselib.report.widgets.tables import table_picker
except ImportError as error:
    if (error.name or "").partition(".")[0] not in ("anywidget", "ipywidgets", "traitlets", "IPython"):
        raise
    raise JupyterMissingError(
        f"widgets need packages that are not installed ({error.name}): pip install defenselib[book]"
    ) from error

__all__ = [
    "Axis",
    "attack_picker",
    "chooser",
    "live_panel",
    "own_picture",
    "separation",
    "separations",
    "split_threshold",
    "table_picker",
    "training_runs",
]
