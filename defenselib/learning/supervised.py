"""Supervised training: optimizer, learning-rate schedule, one epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from defenselib.data.augment.crop_flip import Augment
from defenselib.data.tensors import to_float
from defenselib.data.types import ImageSet
from defenselib.errors import InvalidValueError, TrainingDivergedError, check_choice, check_increasing
from defenselib.learning.batches import shuffled
from defenselib.learning.capture import captured
from defenselib.learning.context import Context
from defenselib.models import Classifier

SCHEDULES = ("constant", "step", "cosine", "onecycle")
OPTIMIZERS = ("sgd", "adam")
LossFunction = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Schedule:
    """Learning rate as a factor of the base rate, a function of the step.

    step: times `factor` after each milestone (in epochs); cosine: half a cosine to 0; onecycle: linear from 1/25
    up to 1 at 30 % of the steps, then half a cosine to nearly 0.
    """

    kind: str = "constant"
    milestones: tuple[int, ...] = ()
    factor: float = 0.1

    def __post_init__(self) -> None:
        check_choice("schedule", self.kind, SCHEDULES)
        check_increasing(self, "milestones")

    def at(self, step: int, total: int, steps_per_epoch: int) -> float:
        if self.kind == "step":
            return self.factor ** sum(step >= m * steps_per_epoch for m in self.milestones)
        if self.kind == "cosine":
            return 0.5 * (1 + math.cos(math.pi * step / total))
        if self.kind == "onecycle":
            peak = 0.3 * total
            if step < peak:
                return 0.04 + 0.96 * step / peak
            return 1e-4 + (1 - 1e-4) * 0.5 * (1 + math.cos(math.pi * (step - peak) / (total - peak)))
        return 1.0

    def attach(
        self, optimizer: torch.optim.Optimizer, epochs: int, steps_per_epoch: int
    ) -> torch.optim.lr_scheduler.LambdaLR:
        """A torch scheduler to be stepped once a batch."""
        total = max(1, epochs * steps_per_epoch)
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.at(step, total, steps_per_epoch))


def make_optimizer(
    parameters: list[nn.Parameter], kind: str, learning_rate: float, momentum: float = 0.9, weight_decay: float = 0.0
) -> torch.optim.Optimizer:
    """SGD with momentum, or Adam with default betas, in torch's fused form."""
    check_choice("optimizer", kind, OPTIMIZERS)
    if learning_rate <= 0:
        raise InvalidValueError(f"learning_rate is {learning_rate}, it must be positive")
    if kind == "sgd":
        return torch.optim.SGD(parameters, learning_rate, momentum, weight_decay=weight_decay, fused=True)
    return torch.optim.Adam(parameters, learning_rate, weight_decay=weight_decay, fused=True)


def supervised_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    train: ImageSet,
    context: Context,
    augment: Augment,
    batch_size: int = 128,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
    loss_function: LossFunction = F.cross_entropy,
    stream: str = "train",
) -> float:
    """One pass over `train` with its given labels; returns the mean loss.

    loss_function: of logits float32 (N, C) and labels int64 (N,), to the scalar that is descended.
    stream: name of the random streams for order and augmentation. The last, incomplete batch is kept.
    Raises TrainingDivergedError when the loss is not finite.
    """
    model.train()
    order, views = context.generator(f"{stream}/order"), context.generator(f"{stream}/augment")

    def loss(index: Tensor) -> Tensor:
        inputs = to_float(augment(train.images, index, views))
        with context.autocast():
            logits = model(inputs)
        return loss_function(logits.float(), train.labels[index])

    return one_pass(loss, shuffled(len(train), batch_size, order), optimizer, scheduler, stream, (context, train))


def supervised_stage(
    stage: str,
    epochs: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    train: ImageSet,
    context: Context,
    augment: Augment,
    batch_size: int,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
    loss_function: LossFunction = F.cross_entropy,
) -> None:
    """A stage of supervised epochs, each reported with its mean loss; `stage` names the random streams too."""
    state = {} if scheduler is None else {"schedule": scheduler}
    for epoch in context.epochs(stage, epochs, model=model, optimizer=optimizer, **state):
        loss = supervised_epoch(
            model, optimizer, train, context, augment, batch_size, scheduler, loss_function, stream=stage
        )
        context.observe("epoch", stage=stage, epoch=epoch, model=model, loss=loss)


def head_epoch(
    model: Classifier,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[Tensor],
    look: Callable[[Tensor], Tensor],
    loss: Callable[[Tensor, Tensor], Tensor],
    context: Context,
) -> float:
    """One pass that trains the linear head alone, on features without gradient; returns the mean loss.

    batches: int64 positions; look: maps them to float inputs; loss: of logits and the positions, a mean over them. The
    caller sets the model's mode: in training mode BatchNorm's statistics move.
    """

    def of(index: Tensor) -> Tensor:
        with torch.no_grad(), context.autocast():
            features = model.features(look(index)).float()
        return loss(model.head(features), index)

    return one_pass(of, batches, optimizer, None, "linear")


def one_pass(
    loss: Callable[[Tensor], Tensor],
    batches: Iterable[Tensor],
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None,
    what: str,
    graph: tuple[Context, ImageSet] | None = None,
) -> float:
    """A step down the loss of every index batch; returns the mean over the samples.

    graph: where the loss draws from and what it reads; then the steps may be recorded (see `learning.capture`).

    Raises TrainingDivergedError, naming `what`, when that is not finite (looked at once: no synchronisation inside).
    """
    total: Tensor | float = 0.0
    samples = 0

    def step(index: Tensor) -> Tensor:
        return descend(loss(index), optimizer)

    batches = list(batches)
    steps = step if graph is None else captured(step, len(batches), graph[0], optimizer, graph[1])
    for index in batches:
        total = total + steps(index) * len(index)
        if scheduler is not None:
            scheduler.step()
        samples += len(index)
    return check_finite(float(total) / samples, what)


def descend(
    loss: Tensor, optimizer: torch.optim.Optimizer, scheduler: torch.optim.lr_scheduler.LRScheduler | None = None
) -> Tensor:
    """One step down a scalar loss, and one of a schedule that counts batches; returns the loss without gradient."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    if scheduler is not None:
        scheduler.step()
    return loss.detach()


def check_finite(loss: float, what: str) -> float:
    """Return the loss, or raise TrainingDivergedError if it is NaN or infinite."""
    if not math.isfinite(loss):
        raise TrainingDivergedError(f"the loss of {what!r} became {loss}; lower the learning rate or use fp32")
    return loss
