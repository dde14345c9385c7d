"""Training-time backdoor attacks and defenses, and the five papers whose exhibits they regenerate.

>>> import defenselib as dl
>>> result = dl.run(dl.Experiment(dataset="cifar10", attack="badnets", defense="asd", profile="smoke"))
>>> result.acc, result.asr
"""

from typing import TYPE_CHECKING

from defenselib.errors import DefenseLibError
from defenselib.lazy import attributes
from defenselib.version import __version__

if TYPE_CHECKING:
    from defenselib import attacks, data, defenses, learning, models, papers
    from defenselib.attacks.poisoning import poison
    from defenselib.data import load_dataset
    from defenselib.data.types import Dataset, ImageSet, PoisonedDataset
    from defenselib.experiments import Experiment, Result, Store, run
    from defenselib.learning.evaluation import Evaluation, der, evaluate
    from defenselib.models import build_model

__all__ = [
    "Dataset",
    "DefenseLibError",
    "Evaluation",
    "Experiment",
    "ImageSet",
    "PoisonedDataset",
    "Result",
    "Store",
    "__version__",
    "attacks",
    "build_model",
    "data",
    "defenses",
    "der",
    "evaluate",
    "learning",
    "load_dataset",
    "models",
    "papers",
    "poison",
    "run",
]

__getattr__, __dir__ = attributes(
    __name__,
    {
        "attacks.poisoning": ("poison",),
        "data": ("load_dataset",),
        "data.types": ("Dataset", "ImageSet", "PoisonedDataset"),
        "experiments": ("Experiment", "Result", "Store", "run"),
        "learning.evaluation": ("Evaluation", "der", "evaluate"),
        "models": ("build_model",),
    },
    {name: name for name in ("attacks", "data", "defenses", "learning", "models", "papers")},
)
