"""Gradient attacks in the L-infinity ball: PGD and iterative FGSM."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from defenselib.errors import check_range


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
