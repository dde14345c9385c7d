"""Adversarial training as a defense: the baseline of A-ABL (Zhao, Wressnegger, AISec 2024, Table 3, Fig. 6 and 7)."""

from __future__ import annotations

from dataclasses import dataclass

from defenselib.data.types import ImageSet
from defenselib.defenses.base import BuildModel, Fitted
from defenselib.defenses.settings import Scheduled
from defenselib.learning.adversarial import Adversary, adversarial_epoch
from defenselib.learning.context import Context
from defenselib.learning.settings import part_of


@dataclass(frozen=True, kw_only=True)
class Adversarial(Scheduled):
    """The settings of A-ABL's last stage (its Sec. 6): eps 8/255, step 2/255, ten steps, 100 epochs, rate 0.1, divided
    by ten at epochs 50, 75 and 90. eps and step are in grey levels of 255. The paper names neither batch size nor
    weight decay; 128 and 5e-4 are usual for this training."""

    epochs: int = 100
    milestones: tuple[int, ...] = (50, 75, 90)
    eps: float = 8.0
    step: float = 2.0
    steps: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        self.adversary()

    def adversary(self) -> Adversary:
        return part_of(self, Adversary)


@dataclass(frozen=True, kw_only=True)
class AdversarialTraining(Adversarial):
    """PGD adversarial training (Madry et al. 2018) on the data as given. Defaults: see `Adversarial`. Stage:
    "adversarial"."""

    name = "adv-train"

    def fit(self, train: ImageSet, build_model: BuildModel, context: Context) -> Fitted:
        model = build_model()
        optimizer, augment, adversary = self.sgd(model), self.augment(context), self.adversary()
        schedule = self.scheduler(optimizer, len(train))
        for epoch in context.epochs("adversarial", self.epochs, model=model, optimizer=optimizer, schedule=schedule):
            loss = adversarial_epoch(model, optimizer, train, context, augment, adversary, self.batch_size, schedule)
            context.observe("epoch", stage="adversarial", epoch=epoch, model=model, loss=loss)
        return Fitted(model)
