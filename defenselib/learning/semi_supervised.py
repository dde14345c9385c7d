"""Semi-supervised learners behind one interface: labelled and unlabelled index sets, one epoch at a time."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from defenselib.cpu.devices import computes_bf16
from defenselib.data.augment.crop_flip import Augment
from defenselib.data.tensors import to_float
from defenselib.data.types import ImageSet
from defenselib.learning.batches import endless
from defenselib.learning.capture import captured
from defenselib.learning.context import Context
from defenselib.learning.losses import one_hot, soft_cross_entropy
from defenselib.learning.supervised import check_finite
from defenselib.models import Classifier
from defenselib.models.classifier import counted_together


class Passes:
    """Copies of a network that share its memory, `models`, one for each pass of a step, and their gradients' sum.

    Autograd adds up the gradients of a weight that served several passes weight by weight, and autocast converts weight
    by weight; for a GPU each of these is an operation of its own. Here every pass has weights of its own in the same
    memory, so that `convert` and `hand_over` do it in a few operations. The numbers are autograd's and autocast's: the
    last pass comes first in the sum, and converted weights are summed in bf16. The copies are in the model's mode.

    Example: `passes.convert()`, a loss of what the models say, `loss.backward()`, `passes.hand_over()`.
    """

    def __init__(self, model: nn.Module, count: int, context: Context) -> None:
        half = context.precision == "bf16" and computes_bf16(context.device)
        products = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
        converted = {id(item) for layer in products for item in layer.parameters(recurse=False)} if half else set()
        own = [item for item in model.parameters() if item.requires_grad]
        self._wide = [item for item in own if id(item) not in converted]
        self._narrow = [item for item in own if id(item) in converted]
        self._halves = [torch.empty_like(item, dtype=torch.bfloat16) for item in self._narrow]
        self.models: list[nn.Module] = []
        self._aliases: list[tuple[list[nn.Parameter], list[nn.Parameter]]] = []
        for _ in range(count):
            wide, narrow = _aliases(self._wide), _aliases(self._halves)
            shared = {id(item): item for item in (*model.parameters(), *model.buffers())}
            shared |= {id(item): alias for item, alias in zip(self._wide, wide, strict=True)}
            shared |= {id(item): alias for item, alias in zip(self._narrow, narrow, strict=True)}
            self.models.append(copy.deepcopy(model, shared))  # type: ignore[arg-type]
            self._aliases.append((wide, narrow))

    @torch.no_grad()
    def convert(self) -> None:
        """Bring the model's weights as they are now to the passes: before the first of a step."""
        if self._narrow:
            torch._foreach_copy_(self._halves, self._narrow)  # type: ignore[arg-type]

    @torch.no_grad()
    def hand_over(self) -> None:
        """Give the model's parameters the sum of the passes' gradients, which are forgotten."""
        wide, narrow = (_sum([pair[part] for pair in self._aliases]) for part in (0, 1))
        for own, gradient in zip(self._wide, wide, strict=True):
            own.grad = gradient
        if self._narrow:
            gradients = [torch.empty_like(item) for item in self._narrow]
            torch._foreach_copy_(gradients, narrow)
            for own, gradient in zip(self._narrow, gradients, strict=True):
                own.grad = gradient


def _aliases(tensors: list[nn.Parameter] | list[Tensor]) -> list[nn.Parameter]:
    return [nn.Parameter(item.detach()) for item in tensors]


def _sum(passes: list[list[nn.Parameter]]) -> list[Tensor]:
    """The passes' gradients added up from the last to the first, as autograd meets them."""
    found = []
    for parameters in passes:
        found.append([item.grad for item in parameters if item.grad is not None])
        for item in parameters:
            item.grad = None
    total = found.pop()
    while total and found:
        torch._foreach_add_(total, found.pop())
    return total


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

    def looks(self, indices: Sequence[Tensor], draws: torch.Generator) -> Tensor:
        """`look` at one index after the other, as one batch: the same draws and pixels, moved at once."""
        return to_float(self.augment.together(self.train.images, indices, draws))

    def one_hot(self, index: Tensor) -> Tensor:
        """The labels of the samples at `index` (B,), float (B, C)."""
        return one_hot(self.train.labels[index], self.model.head.out_features)


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


@lru_cache(maxsize=16)
def interleaving(blocks: int, size: int, device: torch.device) -> Tensor:
    """`interleave` of so many blocks of `size` samples as positions in all of them, int64 (blocks * size,)."""
    return torch.cat(interleave(list(torch.arange(blocks * size, device=device).split(size))))


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
        context = trainee.context
        trainee.model.train()
        order = context.generator("mixmatch/order")
        index_x = endless(labelled, self.batch_size, self.iterations, order)
        index_u = endless(unlabelled, self.batch_size, self.iterations, order)
        mixing = self._draw_mixing(context.generator("mixmatch/mixup"))
        weights = [self.weight(epoch + step / self.iterations) for step in range(self.iterations)]
        # Numbers that change from step to step are tensors: nothing but their memory tells one step from the next.
        rising = torch.tensor(weights, device=context.device)
        passes = Passes(trainee.model, 1 if self.merged else 1 + self.views, context)
        run = captured(partial(self.step, trainee, passes), self.iterations, context, trainee.optimizer, trainee.train)
        sums = torch.zeros(2, device=context.device)
        for step in range(self.iterations):
            sums += run(index_x[step], index_u[step], mixing[step], rising[step])
        means = [check_finite(value / self.iterations, "mixmatch") for value in sums.tolist()]
        return {"loss_x": means[0], "loss_u": means[1], "lambda_u": weights[-1]}

    def step(
        self, trainee: Trainee, passes: Passes, index_x: Tensor, index_u: Tensor, mixing: Tensor, weight: Tensor
    ) -> Tensor:
        """One step down loss_x + weight * loss_u; returns both losses, (2,). index_x, index_u: int64 (B,) positions;
        mixing, weight: float32 (). passes: of the model, in train mode."""
        context = trainee.context
        passes.convert()
        inputs = trainee.looks([index_x, *[index_u] * self.views], context.generator("mixmatch/augment"))
        u = inputs[len(index_x) :].split(len(index_u))
        with counted_together():
            targets = torch.cat([trainee.one_hot(index_x), *[self.guess(passes.models, u, context)] * self.views])
            mixed, mixed_targets = self.mix(inputs, targets, mixing, context.generator("mixmatch/mixup"))
            loss_x, loss_u = self.losses(passes.models, mixed, mixed_targets, context)
        (loss_x + weight * loss_u).backward()
        passes.hand_over()
        trainee.optimizer.step()
        return torch.stack([loss_x.detach(), loss_u.detach()])

    def _draw_mixing(self, generator: torch.Generator) -> Tensor:
        """max(l, 1 - l) with l ~ Beta(mixup_alpha, mixup_alpha), one for each iteration, float32 (iterations,)."""
        device = generator.device
        shape = torch.full((2, self.iterations), self.mixup_alpha, device=device)
        a, b = torch._standard_gamma(shape, generator=generator)
        drawn = a / (a + b)
        return torch.maximum(drawn, 1 - drawn)

    @torch.no_grad()
    def guess(self, models: Sequence[nn.Module], views: Sequence[Tensor], context: Context) -> Tensor:
        """Sharpened mean prediction over the views, (B, C), by one copy of the model each, in train mode as in ASD's
        code."""
        with context.autocast():
            logits = self._logits(models, views).view(len(views), len(views[0]), -1)
        return sharpen(logits.softmax(2).mean(0), self.temperature)

    def _logits(self, models: Sequence[nn.Module], blocks: Sequence[Tensor]) -> Tensor:
        """Logits of blocks of one size, float32 (sum of lengths, C): a pass and a copy of the model each, or one."""
        if self.merged:
            return models[0](torch.cat(list(blocks))).float()
        return torch.cat([model(block) for model, block in zip(models, blocks, strict=False)]).float()

    @staticmethod
    def mix(
        inputs: Tensor, targets: Tensor, mixing: Tensor | float, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """MixUp of all samples with a random permutation of themselves; one coefficient for the batch."""
        partner = torch.randperm(len(inputs), generator=generator, device=inputs.device)
        return torch.lerp(inputs[partner], inputs, mixing), torch.lerp(targets[partner], targets, mixing)

    def losses(
        self, models: Sequence[nn.Module], mixed: Tensor, targets: Tensor, context: Context
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy of the labelled block, mean squared error of the others (over samples and classes)."""
        size = self.batch_size
        order = interleaving(len(mixed) // size, size, mixed.device)
        with context.autocast():
            logits = self._logits(models, mixed[order].split(size))
        own, others = logits.index_select(0, order).split([size, len(mixed) - size])  # the order is its own inverse
        loss_x = soft_cross_entropy(own, targets[:size]).mean()
        loss_u = F.mse_loss(others.softmax(1), targets[size:])
        return loss_x, loss_u
