"""No defense: plain supervised training on the data as given, the reference of every comparison."""

from __future__ import annotations

from dataclasses import dataclass

from defenselib.data.augment.crop_flip import Augment
from defenselib.data.types import ImageSet
from defenselib.defenses.base import BuildModel, Defense, Fitted
from defenselib.errors import InvalidValueError
from defenselib.learning.context import Context
from defenselib.learning.supervised import Schedule, make_optimizer, supervised_epoch


@dataclass(frozen=True, kw_only=True)
class Undefended(Defense):
    """Cross-entropy with SGD, random crop and flip.

    The defaults are those of ASD's and BSD's undefended models (BSD App. B.3): 200 epochs, rate 0.1, divided by
    ten at epochs 100 and 150. Stage: "train".
    """

    name = "none"

    epochs: int = 200
    batch_size: int = 128
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "step"
    milestones: tuple[int, ...] = (100, 150)
    padding: int = 4
    padding_mode: str = "reflect"

    def __post_init__(self) -> None:
        Schedule(self.schedule, tuple(self.milestones))
        Augment(self.padding, self.padding_mode)
        if self.epochs < 1 or self.batch_size < 1:
            raise InvalidValueError(f"epochs {self.epochs} and batch_size {self.batch_size} must be at least 1")

    def fit(self, train: ImageSet, build_model: BuildModel, context: Context) -> Fitted:
        model = build_model()
        optimizer = make_optimizer(
            list(model.parameters()), "sgd", self.learning_rate, self.momentum, self.weight_decay
        )
        steps = -(-len(train) // self.batch_size)
        schedule = Schedule(self.schedule, tuple(self.milestones)).attach(optimizer, self.epochs, steps)
        augment = Augment(self.padding, self.padding_mode, flip=context.flip)
        for epoch in context.epochs("train", self.epochs, model=model, optimizer=optimizer, schedule=schedule):
            loss = supervised_epoch(model, optimizer, train, context, augment, self.batch_size, schedule)
            context.observe("epoch", stage="train", epoch=epoch, model=model, loss=loss)
        return Fitted(model)
