"""UDA (Xie et al., NeurIPS 2020) as a semi-supervised learner in the place of MixMatch (ASD Table 4)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from defenselib.data.augment.randaugment import RandAugment
from defenselib.errors import check_choice, check_counts, check_positive, check_range
from defenselib.learning.batches import endless
from defenselib.learning.semi_supervised import Trainee
from defenselib.learning.supervised import check_finite, descend

SIGNALS = ("none", "linear", "log", "exp")


@dataclass(frozen=True)
class UDA:
    """Predictions of strongly augmented images follow sharpened, confident ones of weakly augmented images.

    The defaults are the authors' on CIFAR-10. temperature: tau of the target softmax(logits / tau); threshold: beta,
    the confidence (not sharpened) above which a sample counts; lambda_u: weight of the unlabelled loss;
    unlabelled_ratio: unlabelled samples for each labelled one; signal: growth of the threshold above which labelled
    samples are left out (training signal annealing, Sec. 3.3), over `epochs`; "none" keeps all.
    """

    temperature: float = 0.4
    threshold: float = 0.8
    lambda_u: float = 1.0
    signal: str = "none"
    epochs: float = 120.0
    iterations: int = 1024
    batch_size: int = 64
    unlabelled_ratio: int = 7
    strong: RandAugment = field(default_factory=RandAugment)

    def __post_init__(self) -> None:
        check_choice("signal", self.signal, SIGNALS)
        check_range("threshold", self.threshold, 0.0, 1.0)
        check_positive(self, "temperature", "epochs")
        check_counts(self, "iterations", "batch_size", "unlabelled_ratio")

    def train_epoch(self, trainee: Trainee, labelled: Tensor, unlabelled: Tensor, epoch: int) -> dict[str, float]:
        """`iterations` steps; labelled, unlabelled: int64 positions.

        Returns means over the steps: loss_x, loss_u and the share of unlabelled samples that were confident.
        """
        model, context = trainee.model.train(), trainee.context
        order, views = context.generator("uda/order"), context.generator("uda/augment")
        index_x = endless(labelled, self.batch_size, self.iterations, order)
        index_u = endless(unlabelled, self.batch_size * self.unlabelled_ratio, self.iterations, order)
        sums = torch.zeros(3, device=context.device)
        for step in range(self.iterations):
            x, weak = trainee.look(index_x[step], views), trainee.look(index_u[step], views)
            strong = self.strong(trainee.look(index_u[step], views), views)
            with torch.no_grad(), context.autocast():
                guess = model(weak).float()
            with context.autocast():
                logits = model(torch.cat([x, strong])).float()
            ceiling = self.ceiling(epoch + step / self.iterations, logits.shape[1])
            loss_x = annealed(logits[: len(x)], trainee.train.labels[index_x[step]], ceiling)
            loss_u, confident = self.consistency(guess, logits[len(x) :])
            descend(loss_x + self.lambda_u * loss_u, trainee.optimizer)
            sums += torch.stack([loss_x.detach(), loss_u.detach(), confident])
        means = [check_finite(value / self.iterations, "uda") for value in sums.tolist()]
        return {"loss_x": means[0], "loss_u": means[1], "confident": means[2]}

    def consistency(self, guess: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Mean over all samples of [max softmax(guess) > beta] KL(softmax(guess / tau), softmax(logits)), and the
        share of samples that count (Sec. 2.2, 2.3). guess, logits: (B, C), of weak and strong views."""
        confident = (guess.softmax(1).amax(1) > self.threshold).float()
        target = F.log_softmax(guess / self.temperature, dim=1)
        divergence = F.kl_div(F.log_softmax(logits, dim=1), target, reduction="none", log_target=True).sum(1)
        return (confident * divergence).mean(), confident.mean()

    def ceiling(self, epoch: float, num_classes: int) -> float:
        """eta, from 1 / C to 1: labelled samples with a larger probability of their label are left out (Sec. 3.3)."""
        t = min(max(epoch / self.epochs, 0.0), 1.0)
        alpha = {"none": 1.0, "linear": t, "log": 1 - math.exp(-5 * t), "exp": math.exp(5 * (t - 1))}[self.signal]
        return 1.0 if self.signal == "none" else alpha * (1 - 1 / num_classes) + 1 / num_classes


def annealed(logits: Tensor, labels: Tensor, ceiling: float) -> Tensor:
    """Mean cross-entropy of the samples whose label has a probability of at most `ceiling`; 0 where there is none."""
    losses = F.cross_entropy(logits, labels, reduction="none")
    kept = ((-losses.detach()).exp() <= ceiling).float()
    return (kept * losses).sum() / kept.sum().clamp(min=1)
