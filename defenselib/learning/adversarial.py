"""Gradient attacks in the L-infinity ball: PGD and iterative FGSM; PGD adversarial training, the minimax objective of
Madry et al. (2018), Eq. 2.1."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from defenselib.data.augment.crop_flip import Augment
from defenselib.data.tensors import to_float
from defenselib.data.types import ImageSet
from defenselib.errors import InvalidValueError, check_range
from defenselib.learning.batches import shuffled
from defenselib.learning.context import Context
from defenselib.learning.supervised import one_pass
from defenselib.models.classifier import evaluating


def pgd(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    eps: float,
    step: float,
    steps: int,
    generator: torch.Generator | None = None,
    targeted: bool = False,
) -> Tensor:
    """Projected gradient descent on the cross-entropy (Madry et al. 2018, Eq. 2.2).

    images: float (N, 3, H, W) in [0, 1]; labels: int64 (N,); eps, step in [0, 1] units. With a generator it starts
    uniformly in the ball, without one at the images. Raises the loss on `labels` (lowers it if `targeted`).
    Returns float images within eps of the input and within [0, 1]. The model's mode and gradients are untouched.
    """
    check_range("eps", eps, 0.0, 1.0)
    check_range("step", step, 0.0, 1.0)
    low, high = (images - eps).clamp(min=0.0), (images + eps).clamp(max=1.0)
    adversarial = images.clone()
    if generator is not None:
        noise = torch.rand(images.shape, generator=generator, device=images.device)
        adversarial = adversarial + (2 * noise - 1) * eps
    adversarial = adversarial.clamp(low, high)
    direction = -step if targeted else step
    for _ in range(steps):
        adversarial.requires_grad_(True)
        with torch.enable_grad():
            loss = F.cross_entropy(model(adversarial).float(), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, adversarial)
        adversarial = (adversarial.detach() + direction * gradient.sign()).clamp(low, high)
    return adversarial.detach()


def ifgsm(model: nn.Module, images: Tensor, labels: Tensor, eps: float, step: float, steps: int) -> Tensor:
    """Iterative FGSM (Kurakin et al. 2017): PGD on the given labels without a random start."""
    return pgd(model, images, labels, eps, step, steps)


@dataclass(frozen=True)
class Adversary:
    """PGD with a uniform random start in the L-infinity ball.

    eps: radius of the ball, step: length of a step, both in grey levels of 255; steps: gradients an image.
    Example: `Adversary(eps=8, step=2, steps=10)(model, inputs, labels, generator)`.
    """

    eps: float = 8.0
    step: float = 2.0
    steps: int = 10

    def __post_init__(self) -> None:
        check_range("eps", self.eps, 0.0, 255.0)
        check_range("step", self.step, 0.0, 255.0)
        if self.steps < 1:
            raise InvalidValueError(f"steps is {self.steps}, it must be at least 1")

    def __call__(self, model: nn.Module, inputs: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Inputs, float (N, 3, H, W) in [0, 1], moved within eps and [0, 1] to where the loss on `labels` is high.

        The model is attacked in evaluation mode, so that the search moves no running statistics; its mode is put back.
        """
        with evaluating(model):
            return pgd(model, inputs, labels, self.eps / 255, self.step / 255, self.steps, generator)


def adversarial_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    train: ImageSet,
    context: Context,
    augment: Augment,
    adversary: Adversary,
    batch_size: int = 128,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
    stream: str = "adversarial",
) -> float:
    """One pass over `train` on adversarial versions of its augmented images, min E max CE(f(x + delta), y).

    stream: name of the random streams for order, augmentation and the adversary's start. The last, incomplete batch
    is kept. Returns the mean loss on the adversarial images. Raises TrainingDivergedError when it is not finite.
    """
    model.train()
    order, views = context.generator(f"{stream}/order"), context.generator(f"{stream}/augment")
    start = context.generator(f"{stream}/start")

    def loss(index: Tensor) -> Tensor:
        inputs, labels = to_float(augment(train.images, index, views)), train.labels[index]
        with context.autocast():
            logits = model(adversary(model, inputs, labels, start))
        return F.cross_entropy(logits.float(), labels)

    return one_pass(loss, shuffled(len(train), batch_size, order), optimizer, scheduler, stream, (context, train))
