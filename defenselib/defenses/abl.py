"""ABL: anti-backdoor learning (Li, Lyu, Koren, Lyu, Li, Ma, NeurIPS 2021).

Symbols of the paper: gamma = threshold of local gradient ascent, p = isolated_share, D_b = the isolated samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from defenselib.data.augment.crop_flip import Augment
from defenselib.data.types import ImageSet
from defenselib.defenses.base import BuildModel, Fitted
from defenselib.defenses.scores import loss_under_ascent, nesterov
from defenselib.defenses.settings import CutOut
from defenselib.errors import (
    check_batch_sizes,
    check_counts,
    check_fields,
    check_increasing,
    check_positive,
    check_range,
    check_shares,
)
from defenselib.learning.context import Context
from defenselib.learning.losses import ascent
from defenselib.learning.supervised import Schedule, supervised_epoch, supervised_stage
from defenselib.models import Classifier


@dataclass(frozen=True, kw_only=True)
class ABL(CutOut):
    """Isolate what is learned fastest, train on the rest, unlearn the isolated (ABL Sec. 3).

    1. "isolate": training on everything with the loss of a batch kept near gamma by local gradient ascent; poison
       falls below. The share of least plain cross-entropy is isolated: the suspects.
    2. "finetune": the same model goes on with the others, with crop, flip and cutout.
    3. "unlearn": gradient ascent on the isolated samples, with the same optimizer at its own rate.

    The defaults are those of the authors' code, in which gamma bounds the mean of a batch. Its other loss, flooding,
    has the same gradients. Steps 2 and 3 are left out by finetuning_epochs=0, unlearning_epochs=0.
    """

    name = "abl"

    isolation_epochs: int = 10
    gamma: float = 0.5
    isolation_learning_rate: float = 0.1
    isolated_share: float = 0.01
    finetuning_epochs: int = 60
    learning_rate: float = 0.1
    schedule: str = "step"
    milestones: tuple[int, ...] = (40,)
    unlearning_epochs: int = 5
    unlearning_learning_rate: float = 5e-4
    batch_size: int = 128
    momentum: float = 0.9
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_batch_sizes(self, "batch_size")
        check_shares(self, "weight_decay")
        check_increasing(self, "milestones")
        check_range("isolated_share", self.isolated_share, 0.0, 0.9)
        check_range("gamma", self.gamma, 0.0, float("inf"))
        check_range("momentum", self.momentum, 1e-9, 1.0)
        check_counts(self, "isolation_epochs")
        check_fields(self, 0, float("inf"), "finetuning_epochs", "unlearning_epochs")
        check_positive(self, "isolation_learning_rate", "learning_rate", "unlearning_learning_rate")
        Schedule(self.schedule, tuple(self.milestones))

    def fit(self, train: ImageSet, build_model: BuildModel, context: Context) -> Fitted:
        model = build_model()
        isolated, others, losses = self.isolate(model, train, context)
        optimizer = nesterov(model, self.learning_rate, self.momentum, self.weight_decay)
        self.finetune(model, optimizer, train.select(others).channels_last(), context)
        self.unlearn(model, optimizer, train.select(isolated).channels_last(), context)
        metrics = {"isolated": float(len(isolated)), "isolation_threshold": losses[isolated].max().item()}
        return Fitted(model, metrics, suspects=isolated)

    def isolate(self, model: Classifier, train: ImageSet, context: Context) -> tuple[Tensor, Tensor, Tensor]:
        """Positions of the isolated samples and of the others, int64 and sorted, and the losses (N,) (Sec. 3.2)."""
        optimizer = nesterov(model, self.isolation_learning_rate, self.momentum, self.weight_decay)
        losses = loss_under_ascent(model, optimizer, train, context, self.gamma, self.isolation_epochs, self.batch_size)
        # At least one: a share of a tiny set must not leave nothing to unlearn.
        count = max(1, int(len(train) * self.isolated_share))
        order = losses.argsort(stable=True)
        isolated, others = order[:count].sort().values, order[count:].sort().values
        context.observe("scores", name="isolation_loss", epoch=self.isolation_epochs, values=losses)
        context.observe("split", stage="isolate", epoch=self.isolation_epochs, clean=others, scores=losses)
        return isolated, others, losses

    def finetune(self, model: Classifier, optimizer: torch.optim.Optimizer, others: ImageSet, context: Context) -> None:
        """Supervised training on what was not isolated."""
        steps = -(-len(others) // self.batch_size)
        schedule = Schedule(self.schedule, tuple(self.milestones)).attach(optimizer, self.finetuning_epochs, steps)
        epochs, augment = self.finetuning_epochs, self.augment(context)
        supervised_stage("finetune", epochs, model, optimizer, others, context, augment, self.batch_size, schedule)

    def unlearn(
        self, model: Classifier, optimizer: torch.optim.Optimizer, isolated: ImageSet, context: Context
    ) -> None:
        """Gradient ascent on the isolated samples (Sec. 3.3, Eq. 4); their mean cross-entropy is reported."""
        plain = Augment(0, flip=False)
        for epoch in context.epochs("unlearn", self.unlearning_epochs, model=model, optimizer=optimizer):
            for group in optimizer.param_groups:
                group["lr"] = self.unlearning_learning_rate
            loss = supervised_epoch(
                model, optimizer, isolated, context, plain, self.batch_size, loss_function=ascent, stream="unlearn"
            )
            context.observe("epoch", stage="unlearn", epoch=epoch, model=model, loss=-loss)
