"""Adversarial training as a defense: the baseline of A-ABL (Zhao, Wressnegger, AISec 2024, Table 3, Fig. 6 and 7)."""

from __future__ import annotations

from dataclasses import dataclass

from defenselib.data.augment.crop_flip import Augment
from defenselib.data.types import ImageSet
from defenselib.defenses.base import BuildModel, Defense, Fitted
from defenselib.errors import InvalidValueError
from defenselib.learning.adversarial_training import Adversary, adversarial_epoch
from defenselib.learning.context import Context
from defenselib.learning.supervised import Schedule, make_optimizer


@dataclass(frozen=True, kw_only=True)
class AdversarialTraining(Defense):
    """PGD adversarial training (Madry et al. 2018) on the data as given. Stage: "adversarial".

    The settings are those of A-ABL's last stage (its Sec. 6): eps 8/255, step 2/255, ten steps, 100 epochs, rate 0.1,
    divided by ten at epochs 50, 75 and 90. eps and step are in grey levels of 255. The paper names neither batch size
    nor weight decay; 128 and 5e-4 are usual for this training.
    """

    name = "adv-train"

    epochs: int = 100
    batch_size: int = 128
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "step"
    milestones: tuple[int, ...] = (50, 75, 90)
    eps: float = 8.0
    step: float = 2.0
    steps: int = 10
    padding: int = 4
    padding_mode: str = "reflect"

    def __post_init__(self) -> None:
        Schedule(self.schedule, tuple(self.milestones))
        Augment(self.padding, self.padding_mode)
        Adversary(self.eps, self.step, self.steps)
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
        adversary = Adversary(self.eps, self.step, self.steps)
        for epoch in context.epochs("adversarial", self.epochs, model=model, optimizer=optimizer, schedule=schedule):
            loss = adversarial_epoch(model, optimizer, train, context, augment, adversary, self.batch_size, schedule)
            context.observe("epoch", stage="adversarial", epoch=epoch, model=model, loss=loss)
        return Fitted(model)
