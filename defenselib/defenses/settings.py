"""Hyper-parameters that several defenses share, checked once, and what they stand for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from defenselib.data.augment.crop_flip import Augment, CutoutAugment, augmentation
from defenselib.defenses.base import Defense, Fitted
from defenselib.errors import (
    check_batch_sizes,
    check_counts,
    check_increasing,
    check_not_negative,
    check_positive,
    check_shares,
)
from defenselib.learning.batches import infer
from defenselib.learning.context import Context
from defenselib.learning.losses import symmetric_cross_entropy
from defenselib.learning.semi_supervised import MixMatch, SemiSupervised, Trainee
from defenselib.learning.settings import part_of
from defenselib.learning.supervised import Schedule, make_optimizer
from defenselib.models import Classifier


@dataclass(frozen=True, kw_only=True)
class Augmented(Defense):
    """Random crop after padding, and flip where the data set has it.

    crop: "resized" takes crops of random size in place of padded ones (see `augment.photos`), and padding has no
    meaning then. degrees: by which images are turned at most.
    """

    padding: int = 4
    padding_mode: str = "reflect"
    crop: str = "padded"
    degrees: float = 0.0

    def __post_init__(self) -> None:
        augmentation(Augment(self.padding, self.padding_mode), self.crop, self.degrees)

    def augment(self, context: Context) -> Augment:
        return augmentation(Augment(self.padding, self.padding_mode, flip=context.flip), self.crop, self.degrees)


@dataclass(frozen=True, kw_only=True)
class CutOut(Augmented):
    """Crop, flip and a square cut out, as ABL and CBD augment."""

    padding_mode: str = "zeros"
    cutout: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        CutoutAugment(self.padding, self.padding_mode, length=self.cutout)

    def augment(self, context: Context) -> Augment:
        padded = CutoutAugment(self.padding, self.padding_mode, context.flip, self.cutout)
        return augmentation(padded, self.crop, self.degrees)


@dataclass(frozen=True, kw_only=True)
class Scheduled(Augmented):
    """SGD with a schedule. The defaults are those of ASD's and BSD's undefended models (BSD App. B.3): 200 epochs, rate
    0.1, divided by ten at epochs 100 and 150."""

    epochs: int = 200
    batch_size: int = 128
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "step"
    milestones: tuple[int, ...] = (100, 150)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_increasing(self, "milestones")
        check_batch_sizes(self, "batch_size")
        check_positive(self, "learning_rate")
        check_shares(self, "momentum", "weight_decay")
        Schedule(self.schedule, tuple(self.milestones))
        check_counts(self, "epochs")

    def sgd(self, model: nn.Module) -> torch.optim.Optimizer:
        return make_optimizer(list(model.parameters()), "sgd", self.learning_rate, self.momentum, self.weight_decay)

    def scheduler(self, optimizer: torch.optim.Optimizer, samples: int) -> torch.optim.lr_scheduler.LambdaLR:
        """The schedule over so many samples an epoch, stepped once a batch."""
        steps = -(-samples // self.batch_size)
        return Schedule(self.schedule, tuple(self.milestones)).attach(optimizer, self.epochs, steps)


@dataclass(frozen=True, kw_only=True)
class MixMatched(Augmented):
    """MixMatch with Adam on pools that follow the symmetric cross-entropy of the samples (DBD, ASD, BSD)."""

    learning_rate: float = 0.002
    iterations: int = 1024
    batch_size: int = 64
    temperature: float = 0.5
    mixup_alpha: float = 0.75
    lambda_u: float = 15.0
    rampup: float = 120.0
    sce_alpha: float = 0.1
    sce_beta: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_batch_sizes(self, "batch_size")
        check_positive(self, "temperature", "mixup_alpha", "learning_rate")
        check_not_negative(self, "lambda_u", "rampup", "sce_alpha", "sce_beta")
        check_counts(self, "iterations")

    def mixmatch(self) -> MixMatch:
        return part_of(self, MixMatch)

    def adam(self, *modules: nn.Module) -> torch.optim.Optimizer:
        """Adam at `learning_rate` for all parameters of these modules."""
        return make_optimizer([p for module in modules for p in module.parameters()], "adam", self.learning_rate)

    def sce(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Symmetric cross-entropy of every sample; logits (N, C), labels int64 (N,) to (N,)."""
        return symmetric_cross_entropy(logits, labels, self.sce_alpha, self.sce_beta)


@dataclass(frozen=True, kw_only=True)
class Ranked(MixMatched):
    """A clean pool, used with labels, and the rest, used without, chosen before every epoch by the rank of the loss
    (DBD, ASD). stage: of the epochs, and of the random stream of the ranking.

    augmented_ranking: on one draw of the training augmentation, as in the authors' code, else on the images as stored.
    """

    stage: ClassVar[str]

    epochs: int
    augmented_ranking: bool = True

    def on_pools(self, learner: SemiSupervised, trainee: Trainee, split: Callable[[int], Tensor]) -> Fitted:
        """Train on the pools that `split` chooses for an epoch: sorted int64 positions of the clean one."""
        model, context = trainee.model, trainee.context
        everything = torch.arange(len(trainee.train), device=trainee.train.labels.device)
        pools: dict[str, Tensor] = {}  # part of the state: a run killed after its last epoch still knows its suspects
        state = {"model": model, "optimizer": trainee.optimizer, "pools": pools, **state_of(learner)}
        for epoch in context.epochs(self.stage, self.epochs, **state):
            clean = split(epoch)
            polluted = everything[~torch.isin(everything, clean)]
            losses = learner.train_epoch(trainee, clean, polluted, epoch)
            context.observe("epoch", stage=self.stage, epoch=epoch, model=model, **losses)
            pools["polluted"] = polluted
        context.observe("scores", name="final_loss", epoch=self.epochs, values=self.ranking_loss(trainee))
        return Fitted(model, suspects=pools.get("polluted"))

    def ranking_loss(self, trainee: Trainee, model: Classifier | None = None) -> Tensor:
        """Symmetric cross-entropy of every sample, (N,), in evaluation mode; of another model where one is given."""
        train, context = trainee.train, trainee.context
        views = context.generator(f"{self.stage}/rank")

        def fetch(index: Tensor) -> Tensor:
            return trainee.augment(train.images, index, views)

        def loss(logits: Tensor, index: Tensor) -> Tensor:
            return self.sce(logits, train.labels[index])

        return infer(model or trainee.model, train.images, context, loss, fetch if self.augmented_ranking else None)


def state_of(learner: SemiSupervised) -> dict[str, nn.Module]:
    """What a learner has of its own beside the model: weights and a state, to be trained and saved with it."""
    return {"learner": learner} if isinstance(learner, nn.Module) else {}


def lowest(scores: Tensor, share: float) -> Tensor:
    """Positions of the int(N * share) lowest scores, ties in index order, sorted."""
    return scores.argsort(stable=True)[: int(len(scores) * share)].sort().values
