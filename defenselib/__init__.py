"""Training-time backdoor attacks and defenses, and the five papers whose exhibits they regenerate.

>>> import defenselib as dl
>>> result = dl.run(dl.Experiment(dataset="cifar10", attack="badnets", defense="asd", profile="smoke"))
>>> result.acc, result.asr
"""

from defenselib import attacks, data, defenses, learning, models, papers
from defenselib.attacks.poisoning import poison
from defenselib.data import load_dataset
from defenselib.data.types import Dataset, ImageSet, PoisonedDataset
from defenselib.errors import DefenseLibError
from defenselib.experiments import Experiment, Result, Store, run
from defenselib.learning.evaluation import Evaluation, der, evaluate
from defenselib.models import build_model
from defenselib.version import __version__

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
