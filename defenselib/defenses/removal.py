"""What post-training defenses have in common: a backdoored model to repair and a few clean samples to do it with."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from defenselib.data.augment.crop_flip import Augment
from defenselib.data.types import ImageSet
from defenselib.defenses.base import CleanRequest, Defense
from defenselib.errors import InvalidValueError, check_range
from defenselib.learning.context import Context
from defenselib.learning.fine_tuning import FineTuning
from defenselib.models import Classifier


@dataclass(frozen=True, kw_only=True)
class Removal(Defense):
    """Base of the defenses that repair a trained model; they do not look at the training set.

    The defaults are BackdoorBench's (Wu et al. 2022): clean_share 5 % of the training set's size, batches of 256,
    SGD with rate 0.01 and momentum 0.9, random crop after padding by 4 zero pixels, flip where the data set has it.
    """

    post_training = True

    clean_share: float = 0.05
    batch_size: int = 256
    learning_rate: float = 0.01
    momentum: float = 0.9
    padding: int = 4
    padding_mode: str = "zeros"

    def __post_init__(self) -> None:
        if not 0.0 < self.clean_share <= 1.0:
            raise InvalidValueError(f"clean_share is {self.clean_share}, it must lie in (0, 1]")
        if self.batch_size < 1 or not self.learning_rate > 0:
            raise InvalidValueError(
                f"batch_size {self.batch_size} must be at least 1, learning_rate {self.learning_rate} positive"
            )
        check_range("momentum", self.momentum, 0.0, 1.0)
        Augment(self.padding, self.padding_mode)

    def clean_request(self) -> CleanRequest:
        return CleanRequest(share=self.clean_share)

    def begin(self, context: Context) -> tuple[Classifier, ImageSet, Augment]:
        """A copy of the model to repair, the clean samples, their augmentation."""
        if context.upstream is None or context.clean is None:
            raise InvalidValueError(f"{self.name!r} repairs context.upstream with context.clean; both must be given")
        model = copy.deepcopy(context.upstream.model)
        if not isinstance(model, Classifier):
            raise InvalidValueError(f"{self.name!r} repairs a Classifier, not a {type(model).__name__}")
        augment = Augment(self.padding, self.padding_mode, flip=context.flip)
        return model.requires_grad_(True), context.clean.channels_last(), augment


@dataclass(frozen=True, kw_only=True)
class FineTuned(Removal):
    """Base of those that fine-tune all weights: BackdoorBench's weight decay and cosine."""

    weight_decay: float = 5e-4
    schedule: str = "cosine"

    def tuning(self, epochs: int, augment: Augment) -> FineTuning:
        """Their fine-tuning for so many epochs. Raises InvalidValueError for settings out of range."""
        return FineTuning(
            epochs, self.batch_size, self.learning_rate, self.momentum, self.weight_decay, self.schedule, augment
        )
