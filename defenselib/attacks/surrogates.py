"""Surrogates: models that an attacker trains on clean images to aim at, plainly or adversarially, once for all attacks.

The adversarial one follows Wong, Rice, Kolter (2020), as the code of the label-consistent attack does.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from defenselib.data.augment.crop_flip import Augment
from defenselib.data.types import ImageSet
from defenselib.errors import (
    check_batch_sizes,
    check_choice,
    check_counts,
    check_fields,
    check_increasing,
    check_positive,
)
from defenselib.learning.adversarial import Adversary, adversarial_epoch
from defenselib.learning.context import Context
from defenselib.learning.settings import stage_key
from defenselib.learning.supervised import SCHEDULES, Schedule, make_optimizer, supervised_epoch
from defenselib.models import Classifier
from defenselib.seeds import initialised

SURROGATES = ("robust", "standard")
RATES = (*SCHEDULES, "triangle")


@dataclass(frozen=True)
class Training:
    """How a surrogate is trained: cross-entropy, SGD with momentum 0.9 and weight decay 5e-4, crop and flip.

    kind: "robust" trains on PGD's images (`eps`, `step` in grey levels, `steps` gradients), "standard" on the images.
    schedule: one of `supervised.SCHEDULES`, or "triangle": linearly up to the rate at half of the steps, then down.
    images: train on so many of the images, 0 for all.
    """

    kind: str = "standard"
    epochs: int = 200
    batch_size: int = 128
    learning_rate: float = 0.1
    schedule: str = "step"
    milestones: tuple[int, ...] = ()
    eps: float = 0.0
    step: float = 0.0
    steps: int = 0
    images: int = 0

    def __post_init__(self) -> None:
        check_choice("surrogate", self.kind, SURROGATES)
        check_choice("surrogate_schedule", self.schedule, RATES)
        check_batch_sizes(self, "batch_size", prefix="surrogate_")
        check_increasing(self, "milestones", prefix="surrogate_")
        check_counts(self, "epochs", prefix="surrogate_")
        check_fields(self, 0, float("inf"), "images", prefix="surrogate_")
        check_positive(self, "learning_rate", prefix="surrogate_")
        if self.kind == "robust":
            Adversary(self.eps, self.step, self.steps)

    def settings(self) -> dict[str, Any]:
        """What decides the outcome: without milestones and adversary where they are not looked at."""
        found = dataclasses.asdict(self)
        unused = [] if self.schedule == "step" else ["milestones"]
        unused += [] if self.kind == "robust" else ["eps", "step", "steps"]
        return {name: value for name, value in found.items() if name not in unused}


def surrogate(train: ImageSet, how: Training, context: Context, outputs: int | None = None, **data: Any) -> Classifier:
    """A trained surrogate in evaluation mode, from the store if it is there.

    outputs: classes of its head where they are not those of the data set. data: names what `train` is where it is not
    the clean training set of the experiment.
    """
    model = context.build_model("surrogate")
    if outputs is not None:
        _replace_head(model, outputs, context)
    key = stage_key("surrogate", **how.settings(), **data)
    model.load_state_dict(context.cached(key, partial(_train, model, train, how, context)))
    return model.eval()


def _replace_head(model: Classifier, outputs: int, context: Context) -> None:
    head = initialised(partial(nn.Linear, model.head.in_features, outputs), context.generator("surrogate/head"))
    model.head = head.to(model.head.weight.device)


def _train(model: Classifier, train: ImageSet, how: Training, context: Context) -> dict[str, Tensor]:
    """The state of `model` after training; random streams "surrogate/...", so that no victim shares them."""
    if how.images and how.images < len(train):
        stream = context.generator("surrogate/images")
        train = train.select(torch.randperm(len(train), generator=stream, device=stream.device)[: how.images])
    train = train.channels_last()
    optimizer = make_optimizer(list(model.parameters()), "sgd", how.learning_rate, 0.9, 5e-4)
    steps = -(-len(train) // how.batch_size)
    schedule = _schedule(how, optimizer, steps)
    augment = Augment(flip=context.flip)
    adversary = Adversary(how.eps, how.step, how.steps) if how.kind == "robust" else None
    for _ in context.epochs("surrogate", how.epochs, model=model, optimizer=optimizer, schedule=schedule):
        if adversary is None:
            supervised_epoch(model, optimizer, train, context, augment, how.batch_size, schedule, stream="surrogate")
        else:
            adversarial_epoch(
                model, optimizer, train, context, augment, adversary, how.batch_size, schedule, stream="surrogate"
            )
    return dict(model.state_dict())


def _schedule(how: Training, optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    if how.schedule != "triangle":
        return Schedule(how.schedule, tuple(how.milestones)).attach(optimizer, how.epochs, steps)
    total = how.epochs * steps
    # Half a step in, so that no update has rate 0.
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, 1 - abs(2 * (step + 0.5) / total - 1)))
