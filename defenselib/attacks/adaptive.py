"""Adaptive attacks: one universal trigger, searched with knowledge of the defense.

ASD (Gao et al., CVPR 2023), Sec. 5.5: the poisoned samples shall have small parameter gradients, so that training on
them reduces their loss little, which is what ASD's meta-split looks for. BSD, App. D.7: a proxy model shall find the
poisoned images semantically close to the target class. Neither text defines its loss; these are our readings:

- gradient (ASD): J(d) = mean over batches of ||grad_theta CE(f(x + d), y_t)||^2, theta: parameters of the last layers.
- distance (BSD): J(d) = mean of ||h(x + d) - mean h of the target class||^2, h: features before the head.
- cross-entropy (BSD, the other reading): J(d) = mean of CE(f(x + d), y_t).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from defenselib.attacks.additive import add
from defenselib.attacks.base import Plan, Preset, TrainedAttack
from defenselib.attacks.surrogates import Training, surrogate
from defenselib.data.tensors import to_float
from defenselib.data.types import ImageSet
from defenselib.errors import InvalidValueError, check_choice, check_counts, check_fields
from defenselib.learning.context import Context
from defenselib.learning.settings import part_of
from defenselib.models import Classifier

OBJECTIVES = ("gradient", "distance", "cross-entropy")
Loss = Callable[[Tensor], Tensor]
_DIRTY5, _DIRTY1 = Plan(0.05, 3, "bernoulli-nontarget"), Plan(0.01, 3, "bernoulli-nontarget")


@dataclass(frozen=True, kw_only=True)
class Adaptive(TrainedAttack):
    """x' = floor8(clamp(x + d)), in training and test, with d <- clip(d - step * sign(grad J), +-eps) from d = 0.

    objective: J, see the module; layers: how many of the last layers (stages and head) `gradient` takes parameters of.
    eps, step: in grey levels of 255 (ASD's step is 0.001 of [0, 1]). images: non-target training images in each of the
    `iterations`, drawn anew, worked on in batches of `batch_size`, whose mean gradient has its norm taken.
    The surrogate is trained on the clean images as a victim would be; see `surrogates.Training`.
    """

    name: ClassVar[str] = "adaptive"
    presets: ClassVar[Mapping[str, Preset]] = {
        "asd": Preset(_DIRTY5),
        "bsd": Preset(_DIRTY1, {"objective": "distance", "eps": 8.0, "step": 1.5, "iterations": 15}),
    }

    objective: str = "gradient"
    layers: int = 2
    eps: float = 32.0
    step: float = 0.255
    iterations: int = 200
    images: int = 5000
    batch_size: int = 128
    surrogate_epochs: int = 200
    surrogate_batch_size: int = 128
    surrogate_learning_rate: float = 0.1
    surrogate_schedule: str = "step"
    surrogate_milestones: tuple[int, ...] = (100, 150)
    surrogate_images: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("objective", self.objective, OBJECTIVES)
        check_fields(self, 0.0, 255.0, "eps", "step")
        check_counts(self, "layers", "iterations", "images", "batch_size")
        self.training()

    def training(self) -> Training:
        """How the surrogate is trained."""
        return part_of(self, Training, "surrogate_")

    def learn(self, train: ImageSet, target: int | None, context: Context) -> dict[str, Tensor]:
        """trigger: d in grey levels, float32 (3, H, W)."""
        if target is None:
            raise InvalidValueError(f"attack {self.name!r} needs a target class")
        model = surrogate(train, self.training(), context)
        loss = self.loss(model, train, target, context)
        others = (train.labels != target).nonzero().flatten()
        if not len(others):
            raise InvalidValueError(f"all training images are of the target class {target}")
        order = context.generator("adaptive/order")
        trigger = torch.zeros(train.images.shape[1:], device=train.images.device)
        for _ in context.epochs("adaptive/trigger", self.iterations, trigger=trigger):
            drawn = others[torch.randperm(len(others), generator=order, device=others.device)[: self.images]]
            slope = torch.zeros_like(trigger)
            for index in drawn.split(self.batch_size):
                slope += len(index) * self.slope(loss, train.images[index], trigger, context)[1]
            trigger.copy_((trigger - self.step * slope.sign()).clamp_(-self.eps, self.eps))
        return {"trigger": trigger}

    def loss(self, model: Classifier, train: ImageSet, target: int, context: Context) -> Loss:
        """J of a batch of float images, as a function that autograd can follow."""
        model.requires_grad_(False)

        def cross_entropy(inputs: Tensor) -> Tensor:
            logits = model(inputs).float()
            return F.cross_entropy(logits, torch.full((len(inputs),), target, device=inputs.device))

        if self.objective == "cross-entropy":
            return cross_entropy
        if self.objective == "distance":
            centre = _mean_feature(model, train.images[train.labels == target], context)
            return lambda inputs: (model.features(inputs).float() - centre).square().sum(1).mean()
        parameters = [p for layer in [*model.stages, model.head][-self.layers :] for p in layer.parameters()]
        for parameter in parameters:
            parameter.requires_grad_(True)

        def gradient_norm(inputs: Tensor) -> Tensor:
            gradients = torch.autograd.grad(cross_entropy(inputs), parameters, create_graph=True)
            return torch.stack([gradient.square().sum() for gradient in gradients]).sum()

        return gradient_norm

    @staticmethod
    def slope(loss: Loss, images: Tensor, trigger: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        """J of uint8 images under the trigger, and its gradient by the trigger."""
        moved = trigger.detach().clone().requires_grad_(True)
        with torch.enable_grad(), context.autocast():
            value = loss((to_float(images) + moved / 255).clamp(0, 1))
        (gradient,) = torch.autograd.grad(value, moved)
        return value.detach(), gradient

    def __call__(self, images: Tensor, index: Tensor | None = None) -> Tensor:
        self.check_images(images)
        return add(images, self.ready()["trigger"])


@torch.no_grad()
def _mean_feature(model: Classifier, images: Tensor, context: Context, batch_size: int = 500) -> Tensor:
    """(D,) mean of the features of uint8 images. Raises InvalidValueError where there are none."""
    if not len(images):
        raise InvalidValueError("the training set has no image of the target class to be close to")
    total = torch.zeros(model.head.in_features, device=images.device)
    for batch in images.split(batch_size):
        with context.autocast():
            total += model.features(to_float(batch)).float().sum(0)
    return total / len(images)
