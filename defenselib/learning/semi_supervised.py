"""Semi-supervised learners behind one interface: labelled and unlabelled index sets, one epoch at a time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from defenselib.data.augment.crop_flip import Augment
from defenselib.data.pixels import to_float
from defenselib.data.types import ImageSet
from defenselib.learning.batches import endless
from defenselib.learning.context import Context
from defenselib.learning.losses import soft_cross_entropy
from defenselib.learning.supervised import check_finite, descend
from defenselib.models import Classifier


@dataclass(frozen=True)
class Trainee:
    """What stays the same while a learner trains: the model and its optimizer, the samples, and how they are shown."""

    model: Classifier
    optimizer: torch.optim.Optimizer
    train: ImageSet
    context: Context
    augment: Augment

    def look(self, index: Tensor, draws: torch.Generator) -> Tensor:
        """Augmented samples, float (B, 3, H, W) in [0, 1]; index: int64 positions."""
        return to_float(self.augment(self.train.images, index, draws))

    def one_hot(self, index: Tensor) -> Tensor:
        """The labels of the samples at `index` (B,), float (B, C)."""
        return F.one_hot(self.train.labels[index], self.model.head.out_features).float()


class SemiSupervised(Protocol):
    """A learner that trains on labelled samples and on unlabelled ones, whose labels it does not read."""

    def train_epoch(self, trainee: Trainee, labelled: Tensor, unlabelled: Tensor, epoch: int) -> dict[str, float]:
        """An epoch on int64 positions of labelled and unlabelled samples; returns means over its steps."""
        ...


def sharpen(p: Tensor, temperature: float) -> Tensor:
    """p_k^(1/T) / sum_j p_j^(1/T) over the last axis (MixMatch, Eq. 7). p: (N, C) probabilities."""
    powered = p ** (1.0 / temperature)
    return powered / powered.sum(-1, keepdim=True)


def interleave(blocks: list[Tensor]) -> list[Tensor]:
    """Swap groups between block 0 and each other block, so that every BatchNorm batch holds all kinds.

    Each block is cut into as many groups as there are blocks, the larger ones last; group i of block 0 changes
    places with group i of block i. Its own inverse.
    """
    n, size = len(blocks), len(blocks[0])
    edges = [0]
    for group in range(n):
        edges.append(edges[-1] + size // n + (1 if group >= n - size % n else 0))
    groups = [[block[a:b] for a, b in pairwise(edges)] for block in blocks]
    for i in range(1, n):
        groups[0][i], groups[i][i] = groups[i][i], groups[0][i]
    return [torch.cat(parts) for parts in groups]


@dataclass(frozen=True)
class MixMatch:
    """MixMatch (Berthelot et al. 2019) as ASD runs it (ASD Sec. 5.1 and its released settings).

    temperature: of sharpening; mixup_alpha: Beta parameter, one draw per iteration for the whole batch;
    lambda_u: weight of the unlabelled loss at the end of the ramp; rampup: its length in epochs (0: no ramp);
    iterations: steps an epoch; views: augmented views of an unlabelled sample.
    merged: one pass of the network for all views and one for all blocks, 2 an iteration instead of 5. BatchNorm's
    statistics are then those of larger batches, and its running ones move 2 times. Not ASD's, and no method's default.
    """

    temperature: float = 0.5
    mixup_alpha: float = 0.75
    lambda_u: float = 15.0
    rampup: float = 120.0
    iterations: int = 1024
    batch_size: int = 64
    views: int = 2
    merged: bool = False

    def weight(self, epoch: float) -> float:
        """lambda_u(epoch), linear from 0 to lambda_u over `rampup` epochs."""
        return self.lambda_u * (min(max(epoch / self.rampup, 0.0), 1.0) if self.rampup > 0 else 1.0)

    def train_epoch(self, trainee: Trainee, labelled: Tensor, unlabelled: Tensor, epoch: int) -> dict[str, float]:
        """`iterations` steps; labelled, unlabelled: int64 positions.

        Returns the mean labelled and unlabelled loss and the last weight: loss_x, loss_u, lambda_u.
        """
        model, context = trainee.model.train(), trainee.context
        order, views = context.generator("mixmatch/order"), context.generator("mixmatch/augment")
        index_x = endless(labelled, self.batch_size, self.iterations, order)
        index_u = endless(unlabelled, self.batch_size, self.iterations, order)
        sums = torch.zeros(2, device=context.device)
        weight = self.weight(epoch)
        mixing = self._draw_mixing(context.generator("mixmatch/mixup"))
        for step in range(self.iterations):
            x = trainee.look(index_x[step], views)
            u = [trainee.look(index_u[step], views) for _ in range(self.views)]
            inputs = torch.cat([x, *u])
            targets = torch.cat([trainee.one_hot(index_x[step]), *[self.guess(model, u, context)] * self.views])
            mixed, mixed_targets = self.mix(inputs, targets, mixing[step], context.generator("mixmatch/mixup"))
            weight = self.weight(epoch + step / self.iterations)
            loss_x, loss_u = self.losses(model, mixed, mixed_targets, context)
            descend(loss_x + weight * loss_u, trainee.optimizer)
            sums += torch.stack([loss_x.detach(), loss_u.detach()])
        means = [check_finite(value / self.iterations, "mixmatch") for value in sums.tolist()]
        return {"loss_x": means[0], "loss_u": means[1], "lambda_u": weight}

    def _draw_mixing(self, generator: torch.Generator) -> list[float]:
        """max(l, 1 - l) with l ~ Beta(mixup_alpha, mixup_alpha), one for each iteration."""
        device = generator.device
        shape = torch.full((2, self.iterations), self.mixup_alpha, device=device)
        a, b = torch._standard_gamma(shape, generator=generator)
        drawn = a / (a + b)
        return torch.maximum(drawn, 1 - drawn).tolist()

    @torch.no_grad()
    def guess(self, model: nn.Module, views: list[Tensor], context: Context) -> Tensor:
        """Sharpened mean prediction over the views, (B, C). The model stays in train mode, as in ASD's code."""
        with context.autocast():
            predictions = [logits.softmax(1) for logits in self._passes(model, views)]
        return sharpen(torch.stack(predictions).mean(0), self.temperature)

    def _passes(self, model: nn.Module, blocks: list[Tensor]) -> list[Tensor]:
        """Logits of each block (B, 3, H, W) in float32, (B, C): a pass each, or one for all."""
        if self.merged:
            return list(model(torch.cat(blocks)).float().split([len(block) for block in blocks]))
        return [model(block).float() for block in blocks]

    @staticmethod
    def mix(inputs: Tensor, targets: Tensor, mixing: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """MixUp of all samples with a random permutation of themselves; one coefficient for the batch."""
        partner = torch.randperm(len(inputs), generator=generator, device=inputs.device)
        return torch.lerp(inputs[partner], inputs, mixing), torch.lerp(targets[partner], targets, mixing)

    def losses(self, model: nn.Module, mixed: Tensor, targets: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        """Cross-entropy of the labelled block, mean squared error of the others (over samples and classes)."""
        blocks = interleave(list(mixed.split(self.batch_size)))
        with context.autocast():
            logits = interleave(self._passes(model, blocks))
        size = self.batch_size
        loss_x = soft_cross_entropy(logits[0], targets[:size]).mean()
        loss_u = F.mse_loss(torch.cat(logits[1:]).softmax(1), targets[size:])
        return loss_x, loss_u
