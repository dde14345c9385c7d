"""What readers of the book can turn and press, without a kernel: pictures, thresholds, training runs, tables, a picture
of their own.

The static page holds all that can be chosen, as data with a small script that draws it (`client`); what was chosen
stands in the address (`address.js`). Only `live` needs a running kernel, and says so where there is none.
"""

from __future__ import annotations

from defenselib.report.notebooks import JupyterMissingError

try:
    from defenselib.report.widgets.ask import own_picture
    from defenselib.report.widgets.attacks import attack_picker
    from defenselib.report.widgets.live import live_panel
    from defenselib.report.widgets.runs import training_runs
    from defenselib.report.widgets.splits import separation, separations, split_threshold
    from defenselib.report.widgets.tables import table_picker
except ImportError as error:
    if (error.name or "").partition(".")[0] not in ("anywidget", "ipywidgets", "traitlets", "IPython"):
        raise
    raise JupyterMissingError(
        f"widgets need packages that are not installed ({error.name}): pip install defenselib[book]"
    ) from error

__all__ = [
    "attack_picker",
    "live_panel",
    "own_picture",
    "separation",
    "separations",
    "split_threshold",
    "table_picker",
    "training_runs",
]
