"""ReMixMatch (Berthelot et al., ICLR 2020) as a semi-supervised learner in the place of MixMatch (ASD Table 4)."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from defenselib.data.augment.randaugment import CTAugment
from defenselib.errors import InvalidValueError
from defenselib.learning.batches import endless
from defenselib.learning.context import Context
from defenselib.learning.losses import soft_cross_entropy
from defenselib.learning.semi_supervised import Trainee, sharpen
from defenselib.learning.supervised import check_finite, descend
from defenselib.models import Classifier
from defenselib.seeds import initialised

TURNS = 4


class ReMixMatch(nn.Module):
    """MixMatch with distribution alignment, augmentation anchoring, a loss before MixUp and one on rotations.

    A module, since it has a state of its own: the head that tells rotations (give its `parameters()` to the
    optimizer), the running class distributions and the weights of CTAugment (save it with the model). The defaults
    are the authors' (App. B). width: features of the model; views: K, strong views of an unlabelled sample;
    lambda_u, lambda_pre: weights of the unlabelled losses after and before MixUp, both rising linearly over `rampup`
    epochs (1,024 thousand labelled images in the authors' code); lambda_rotation: weight of the loss on rotations;
    memory: batches that the running class distributions remember.
    """

    labelled_share: Tensor
    guessed_share: Tensor

    def __init__(
        self,
        width: int,
        num_classes: int,
        context: Context,
        *,
        temperature: float = 0.5,
        mixup_alpha: float = 0.75,
        lambda_u: float = 1.5,
        lambda_pre: float = 0.5,
        lambda_rotation: float = 0.5,
        rampup: float = 16.0,
        iterations: int = 1024,
        batch_size: int = 64,
        views: int = 8,
        memory: int = 128,
    ) -> None:
        super().__init__()
        if min(views, memory, iterations, batch_size) < 1 or min(temperature, mixup_alpha) <= 0:
            raise InvalidValueError(
                f"views {views}, memory {memory}, iterations {iterations}, batch_size {batch_size} must be at least 1, "
                f"temperature {temperature} and mixup_alpha {mixup_alpha} positive"
            )
        self.temperature, self.mixup_alpha, self.rampup = temperature, mixup_alpha, rampup
        self.lambda_u, self.lambda_pre, self.lambda_rotation = lambda_u, lambda_pre, lambda_rotation
        self.iterations, self.batch_size, self.views = iterations, batch_size, views
        self.strong = CTAugment()
        self.register_buffer("labelled_share", torch.full((memory, num_classes), 1 / num_classes))
        self.register_buffer("guessed_share", torch.full((memory, num_classes), 1 / num_classes))
        self.rotation = initialised(partial(nn.Linear, width, TURNS), context.generator("remixmatch/init"))
        self.to(context.device)

    def weight(self, epoch: float) -> float:
        """How far the unlabelled losses have risen, in [0, 1]."""
        return min(max(epoch / self.rampup, 0.0), 1.0) if self.rampup > 0 else 1.0

    def train_epoch(self, trainee: Trainee, labelled: Tensor, unlabelled: Tensor, epoch: int) -> dict[str, float]:
        """`iterations` steps; labelled, unlabelled: int64 positions.

        Returns the mean losses: loss_x, loss_u, loss_pre, loss_rotation.
        """
        model, context = trainee.model, trainee.context
        order, draws = context.generator("remixmatch/order"), context.generator("remixmatch/augment")
        index_x = endless(labelled, self.batch_size, self.iterations, order)
        index_u = endless(unlabelled, self.batch_size, self.iterations, order)
        sums = torch.zeros(4, device=context.device)
        for step in range(self.iterations):
            targets_x = trainee.one_hot(index_x[step])
            self.probe(model, trainee.look(index_x[step], draws), targets_x, context, draws)
            model.train()
            x = self.strong(trainee.look(index_x[step], draws), draws)
            weak, *views = [trainee.look(index_u[step], draws) for _ in range(self.views + 1)]
            views = [self.strong(view, draws) for view in views]
            targets_u = self.guess(model, weak, targets_x, context)
            losses = self.losses(model, x, targets_x, [*views, weak], targets_u, context)
            rise = self.weight(epoch + step / self.iterations)
            loss_x, loss_u, loss_pre, loss_rotation = losses
            matching = rise * (self.lambda_u * loss_u + self.lambda_pre * loss_pre)
            descend(loss_x + matching + self.lambda_rotation * loss_rotation, trainee.optimizer)
            sums += torch.stack(losses).detach()
        means = [check_finite(value / self.iterations, "remixmatch") for value in sums.tolist()]
        return dict(zip(("loss_x", "loss_u", "loss_pre", "loss_rotation"), means, strict=True))

    @torch.no_grad()
    def probe(
        self, model: Classifier, images: Tensor, targets: Tensor, context: Context, draws: torch.Generator
    ) -> None:
        """Learn from labelled images how strong an augmentation the model still sees through (Sec. 3.2.2)."""
        model.eval()
        changed, operations, bins = self.strong.probe(images, draws)
        with context.autocast():
            predictions = model(changed).float().softmax(1)
        self.strong.update(predictions, targets, operations, bins)

    @torch.no_grad()
    def guess(self, model: Classifier, weak: Tensor, targets_x: Tensor, context: Context) -> Tensor:
        """Aligned and sharpened predictions of the weakly augmented samples, (B, C); the running distributions move
        on. The model stays in train mode."""
        with context.autocast():
            predictions = model(weak).float().softmax(1)
        aligned = align(predictions, self.labelled_share.mean(0), self.guessed_share.mean(0))
        for memory, newest in ((self.labelled_share, targets_x), (self.guessed_share, predictions)):
            memory.copy_(torch.cat([memory[1:], newest.mean(0, keepdim=True)]))
        return sharpen(aligned, self.temperature)

    def losses(
        self,
        model: Classifier,
        x: Tensor,
        targets_x: Tensor,
        views: list[Tensor],
        targets_u: Tensor,
        context: Context,
    ) -> list[Tensor]:
        """The four losses, each a mean over its samples (Eq. 3 to 6). views: the strong ones, then the weak one.

        All images pass in one batch, so that BatchNorm sees every kind.
        """
        draws = context.generator("remixmatch/mixup")
        size, first = len(x), views[0]
        mixed, targets = self.mix(torch.cat([x, *views]), torch.cat([targets_x, *[targets_u] * len(views)]), draws)
        turns = torch.randint(TURNS, (len(first),), generator=draws, device=first.device)
        with context.autocast():
            features = model.features(torch.cat([mixed, first, rotate(first, turns)]))
            logits = model.head(features[: -len(first)]).float()
            rotations = self.rotation(features[-len(first) :]).float()
        ends = logits.split([size, len(mixed) - size, len(first)])
        return [
            soft_cross_entropy(ends[0], targets[:size]).mean(),
            soft_cross_entropy(ends[1], targets[size:]).mean(),
            soft_cross_entropy(ends[2], targets_u).mean(),
            F.cross_entropy(rotations, turns),
        ]

    def mix(self, inputs: Tensor, targets: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        """MixUp of all samples with a random permutation of themselves, one coefficient max(l, 1 - l) a sample."""
        shape = torch.full((2, len(inputs)), self.mixup_alpha, device=inputs.device)
        a, b = torch._standard_gamma(shape, generator=draws)
        share = a / (a + b).clamp(min=torch.finfo(a.dtype).tiny)
        share = torch.maximum(share, 1 - share)
        partner = torch.randperm(len(inputs), generator=draws, device=inputs.device)
        mixed = torch.lerp(inputs[partner], inputs, share.view(-1, 1, 1, 1))
        return mixed, torch.lerp(targets[partner], targets, share.view(-1, 1))


def align(predictions: Tensor, wanted: Tensor, seen: Tensor) -> Tensor:
    """Normalise(p * wanted / seen): distribution alignment (Sec. 3.1). predictions: (B, C); wanted, seen: (C,).

    The authors' 1e-6 keeps classes that were never seen from dividing by zero.
    """
    scaled = predictions * (wanted + 1e-6) / (seen + 1e-6)
    return scaled / scaled.sum(1, keepdim=True)


def rotate(images: Tensor, turns: Tensor) -> Tensor:
    """Image i turned counter-clockwise by turns[i] quarters. images: (B, 3, H, H); turns: int64 (B,) in 0..3."""
    turned = torch.stack([torch.rot90(images, k, (2, 3)) for k in range(TURNS)])
    return turned[turns, torch.arange(len(images), device=images.device)]
