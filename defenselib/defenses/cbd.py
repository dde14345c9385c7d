"""CBD: causality-inspired backdoor defense (Zhang, Liu, Wang, Lu, Hu, CVPR 2023).

Symbols of the paper: f_B = the backdoored model, f_C = the clean one, r and z = their hidden features, T = the critic.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from defenselib.data.augment.crop_flip import Augment
from defenselib.data.types import ImageSet
from defenselib.defenses.base import BuildModel, Fitted
from defenselib.defenses.scores import cross_entropy, nesterov
from defenselib.defenses.settings import CutOut
from defenselib.errors import (
    check_batch_sizes,
    check_counts,
    check_increasing,
    check_positive,
    check_range,
    check_shares,
)
from defenselib.learning.batches import shuffled
from defenselib.learning.context import Context
from defenselib.learning.semi_supervised import Trainee
from defenselib.learning.supervised import Schedule, check_finite, descend, supervised_stage
from defenselib.models import Classifier
from defenselib.seeds import initialised


def sample_weights(backdoor_loss: Tensor, clean_loss: Tensor) -> Tensor:
    """CE_B / (CE_B + CE_C), rescaled to mean 1 over the batch (CBD Sec. 3.3). Both losses and the result: (B,).

    >>> sample_weights(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 1.0]))  # 0 and 1/2
    tensor([0., 2.])
    """
    weights = backdoor_loss / (backdoor_loss + clean_loss + 1e-8)
    # A last batch of one sample that f_B knows by heart sums to 0.
    return weights * len(weights) / weights.sum().clamp_min(1e-12)


class Critic(nn.Module):
    """T(r, z): two linear layers, leaky ReLU between them, dropout before each, kept to spectral norm 1."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Linear(2 * width, width)
        self.second = nn.Linear(width, 1)
        self.dropout = dropout

    def forward(self, r: Tensor, z: Tensor, masks: torch.Generator) -> Tensor:
        """T of every pair, (B,). r, z: (B, width); dropout draws from `masks`."""
        hidden = F.leaky_relu(self.first(self._drop(torch.cat([r, z], 1), masks)))
        return self.second(self._drop(hidden, masks)).squeeze(1)

    def gap(self, r: Tensor, z: Tensor, masks: torch.Generator) -> Tensor:
        """E[T(r, z)] - E[T(r, z of another sample)]: how far r and z depend on each other (CBD Sec. 3.2)."""
        return self(r, z, masks).mean() - self(r, z.roll(-1, 0), masks).mean()

    def _drop(self, x: Tensor, masks: torch.Generator) -> Tensor:
        kept = torch.rand(x.shape, generator=masks, device=x.device) >= self.dropout
        return x * kept / (1 - self.dropout)

    @torch.no_grad()
    def normalise(self) -> None:
        """Divide each weight matrix by its spectral norm."""
        for layer in (self.first, self.second):
            layer.weight.div_(spectral_norm(layer.weight).clamp_min(1e-12))


def spectral_norm(matrix: Tensor, steps: int = 5) -> Tensor:
    """Largest singular value of a matrix (m, n) by power iteration from a vector of ones, a lower bound of it."""
    u = matrix.new_ones(matrix.shape[1])
    for _ in range(steps):
        v = F.normalize(matrix @ u, dim=0)
        u = F.normalize(matrix.T @ v, dim=0)
    return (matrix @ u).norm()


@dataclass(frozen=True, kw_only=True)
class CBD(CutOut):
    """A model trained briefly takes up the backdoor and little else; a second one learns what the first does not know.

    1. "backdoor": f_B by plain cross-entropy on everything for a few epochs, then frozen (CBD Sec. 3.1).
    2. "train": f_C by cross-entropy weighted with `sample_weights`: poison has a low loss under f_B, so a low weight.
       With `disentangle` (off in the authors' code and so here) f_C also lowers the gap of a critic, which is trained
       to raise it in a pass of its own before each epoch.

    Augmentation: crop, flip, cutout. Defaults: the authors' code.
    """

    name = "cbd"

    backdoor_epochs: int = 5
    epochs: int = 100
    batch_size: int = 64
    backdoor_learning_rate: float = 0.1
    learning_rate: float = 0.1
    schedule: str = "step"
    milestones: tuple[int, ...] = (20, 70)
    momentum: float = 0.9
    weight_decay: float = 1e-4
    disentangle: bool = False
    disentangle_weight: float = 0.01
    critic_learning_rate: float = 0.2
    critic_milestones: tuple[int, ...] = (20, 40, 60, 80)
    critic_dropout: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_batch_sizes(self, "batch_size")
        check_shares(self, "weight_decay")
        check_increasing(self, "milestones", "critic_milestones")
        check_counts(self, "backdoor_epochs", "epochs")
        check_positive(self, "backdoor_learning_rate", "learning_rate", "critic_learning_rate")
        check_range("momentum", self.momentum, 1e-9, 1.0)
        check_range("disentangle_weight", self.disentangle_weight, 0.0, float("inf"))
        check_range("critic_dropout", self.critic_dropout, 0.0, 0.99)
        Schedule(self.schedule, tuple(self.milestones))

    def fit(self, train: ImageSet, build_model: BuildModel, context: Context) -> Fitted:
        augment = self.augment(context)
        backdoored = self.backdoor(build_model("backdoored"), train, augment, context)
        model = build_model()
        optimizer = nesterov(model, self.learning_rate, self.momentum, self.weight_decay)
        trainee = Trainee(model, optimizer, train, context, augment)
        steps = -(-len(train) // self.batch_size)
        schedule = Schedule(self.schedule, tuple(self.milestones)).attach(optimizer, self.epochs, steps)
        state = {"model": model, "optimizer": optimizer, "schedule": schedule}
        critic = None
        if self.disentangle:
            make = partial(Critic, model.head.in_features, self.critic_dropout)
            critic = initialised(make, context.generator("critic/init")).to(context.device)
            raising = torch.optim.Adam(critic.parameters(), self.critic_learning_rate)
            falling = Schedule("step", tuple(self.critic_milestones)).attach(raising, self.epochs, 1)
            state |= {"critic": critic, "raising": raising, "falling": falling}
        for epoch in context.epochs("train", self.epochs, **state):
            numbers = {}
            if critic is not None:
                numbers["gap"] = self.critic_epoch(critic, raising, trainee, backdoored)
                falling.step()
            numbers |= self.clean_epoch(trainee, schedule, backdoored, critic)
            context.observe("epoch", stage="train", epoch=epoch, model=model, **numbers)
        final = cross_entropy(backdoored, train.images, train.labels, context)
        weights = sample_weights(final, cross_entropy(model, train.images, train.labels, context))
        context.observe("scores", name="weight", epoch=self.epochs, values=weights)
        return Fitted(model)

    def backdoor(self, model: Classifier, train: ImageSet, augment: Augment, context: Context) -> Classifier:
        """f_B, trained and frozen."""
        optimizer = nesterov(model, self.backdoor_learning_rate, self.momentum, self.weight_decay)
        epochs, batch_size = self.backdoor_epochs, self.batch_size
        supervised_stage("backdoor", epochs, model, optimizer, train, context, augment, batch_size)
        losses = cross_entropy(model, train.images, train.labels, context)
        context.observe("scores", name="backdoor_loss", epoch=self.backdoor_epochs, values=losses)
        return model.eval().requires_grad_(False)

    def clean_epoch(
        self,
        trainee: Trainee,
        schedule: torch.optim.lr_scheduler.LRScheduler,
        backdoored: Classifier,
        critic: Critic | None,
    ) -> dict[str, float]:
        """One epoch of f_C; the mean weighted and plain cross-entropy."""
        model, train, context = trainee.model.train(), trainee.train, trainee.context
        order, views = context.generator("train/order"), context.generator("train/augment")
        sums = torch.zeros(2, device=context.device)
        for index in shuffled(len(train), self.batch_size, order):
            inputs, labels = trainee.look(index, views), train.labels[index]
            with context.autocast():
                z, r = model.features(inputs), backdoored.features(inputs)
                logits, hint = model.head(z), backdoored.head(r)
            losses = F.cross_entropy(logits.float(), labels, reduction="none")
            known = F.cross_entropy(hint.float(), labels, reduction="none")
            weighted = (sample_weights(known, losses.detach()) * losses).mean()
            loss = weighted
            if critic is not None:
                masks = context.generator("critic/dropout")
                loss = loss + self.disentangle_weight * critic.gap(r.float(), z.float(), masks)
            descend(loss, trainee.optimizer, schedule)
            sums += torch.stack([weighted.detach(), losses.detach().mean()]) * len(index)
        means = [check_finite(value / len(train), "cbd") for value in sums.tolist()]
        return {"loss": means[0], "plain_loss": means[1]}

    def critic_epoch(
        self, critic: Critic, raising: torch.optim.Optimizer, trainee: Trainee, backdoored: Classifier
    ) -> float:
        """One epoch of the critic, which raises the gap; its mean. f_C's BatchNorm statistics move with it."""
        model, train, context = trainee.model.train(), trainee.train, trainee.context
        order, views = context.generator("critic/order"), context.generator("critic/augment")
        total = torch.zeros((), device=context.device)
        for index in shuffled(len(train), self.batch_size, order):
            inputs = trainee.look(index, views)
            with torch.no_grad(), context.autocast():
                z, r = model.features(inputs), backdoored.features(inputs)
            gap = critic.gap(r.float(), z.float(), context.generator("critic/dropout"))
            descend(-gap, raising)
            critic.normalise()
            total += gap.detach() * len(index)
        return check_finite(total.item() / len(train), "cbd critic")
