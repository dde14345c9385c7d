"""Experiments: what a cell is, how it is run, where its result lies."""

from typing import TYPE_CHECKING

from defenselib.lazy import attributes

if TYPE_CHECKING:
    from defenselib.experiments import profile as profiles
    from defenselib.experiments.experiment import Experiment
    from defenselib.experiments.profile import LeftOutError
    from defenselib.experiments.result import Result
    from defenselib.experiments.runner import attacked, run
    from defenselib.experiments.spec import Resolved
    from defenselib.experiments.store import Store, default_stores, keep, results_folder

__all__ = [
    "Experiment",
    "LeftOutError",
    "Resolved",
    "Result",
    "Store",
    "attacked",
    "default_stores",
    "keep",
    "profiles",
    "results_folder",
    "run",
]

__getattr__, __dir__ = attributes(
    __name__,
    {
        "experiment": ("Experiment",),
        "profile": ("LeftOutError",),
        "result": ("Result",),
        "runner": ("attacked", "run"),
        "spec": ("Resolved",),
        "store": ("Store", "default_stores", "keep", "results_folder"),
    },
    {"profiles": "profile"},
)
