"""What post-training defenses have in common: a backdoored model to repair and a few clean samples to do it with."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from defenselib.data.augment.crop_flip import Augment
from defenselib.data.types import ImageSet
from defenselib.defenses.base import CleanRequest
from defenselib.defenses.settings import Augmented
from defenselib.errors import InvalidValueError, check_batch_sizes, check_positive, check_range
from defenselib.learning.context import Context
from defenselib.learning.fine_tuning import FineTuning
from defenselib.learning.settings import part_of
from defenselib.models import Classifier


@dataclass(frozen=True, kw_only=True)
class Removal(Augmented):
    """Base of the defenses that repair a trained model; they do not look at the training set.

    The defaults are BackdoorBench's (Wu et al. 2022): clean_share 5 % of the training set's size, batches of 256,
    SGD with rate 0.01 and momentum 0.9, random crop after padding by 4 zero pixels, flip where the data set has it.
    """

    post_training = True

    clean_share: float = 0.05
    batch_size: int = 256
    learning_rate: float = 0.01
    momentum: float = 0.9
    padding_mode: str = "zeros"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.clean_share <= 1.0:
            raise InvalidValueError(f"clean_share is {self.clean_share}, it must lie in (0, 1]")
        check_batch_sizes(self, "batch_size")
        check_positive(self, "learning_rate")
        check_range("momentum", self.momentum, 0.0, 1.0)

    def clean_request(self) -> CleanRequest:
        return CleanRequest(share=self.clean_share)

    def begin(self, context: Context) -> tuple[Classifier, ImageSet, Augment]:
        """A copy of the model to repair, the clean samples, their augmentation."""
        if context.upstream is None or context.clean is None:
            raise InvalidValueError(f"{self.name!r} repairs context.upstream with context.clean; both must be given")
        model = copy.deepcopy(context.upstream.model)
        if not isinstance(model, Classifier):
            raise InvalidValueError(f"{self.name!r} repairs a Classifier, not a {type(model).__name__}")
        return model.requires_grad_(True), context.clean.channels_last(), self.augment(context)


@dataclass(frozen=True, kw_only=True)
class FineTuned(Removal):
    """Base of those that fine-tune all weights: BackdoorBench's weight decay and cosine."""

    weight_decay: float = 5e-4
    schedule: str = "cosine"

    def tuning(self, epochs: int, augment: Augment) -> FineTuning:
        """Their fine-tuning for so many epochs. Raises InvalidValueError for settings out of range."""
        return part_of(self, FineTuning, epochs=epochs, augment=augment)
