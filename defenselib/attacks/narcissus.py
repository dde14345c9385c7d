"""Narcissus: a clean-label trigger that a surrogate reads as the target class (Zeng et al., CCS 2023), as BSD runs it.

The attacker knows the images of the target class alone, and other public data (POOD, "public out-of-distribution").
1. Surrogate: trained on the POOD classes and the target class as one more. 2. Warm-up: on the target class only.
3. Trigger: min over |d| <= eps of CE(f(x + d), y_t) on the target class's images, the surrogate frozen.
Training: x + d on images of the target class. Test: x + 3 d on all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from defenselib.attacks.additive import add
from defenselib.attacks.base import Plan, Preset, TrainedAttack
from defenselib.attacks.surrogates import Training, surrogate
from defenselib.data.augment.crop_flip import Augment
from defenselib.data.info import KNOWN
from defenselib.data.load import load_dataset
from defenselib.data.tensors import to_float
from defenselib.data.types import ImageSet
from defenselib.errors import InvalidValueError, check_choice, check_counts, check_fields, check_positive
from defenselib.learning.batches import shuffled
from defenselib.learning.context import Context
from defenselib.learning.settings import part_of
from defenselib.learning.supervised import descend
from defenselib.models import Classifier

# Of `shapes`, another seed draws other pictures than those of the data set that is attacked.
POOD_SEED = 1
# The authors work on pixels in [-1, 1]: one unit of theirs, in which the rate of the trigger is given, in grey levels.
UNIT = 127.5
_PLAN = Plan(0.25, 3, "exact-target")


@dataclass(frozen=True, kw_only=True)
class Narcissus(TrainedAttack):
    """x + d in training, x + test_scale * d at test, both clamped; |d| <= eps, d shared by all images.

    eps: in grey levels of 255. pood: the other data, a known data set; the authors take Tiny-ImageNet, CIFAR-100
    stands in. pood_images: so many of its training images, 0 for all. rounds, warmup_rounds: passes over the images of
    the target class, in batches of batch_size, with RAdam at learning_rate and warmup_learning_rate (both for pixels in
    [-1, 1]). label_slip: as in the authors' code, warm-up and trigger take the target's number in its own data set,
    which is another class of the POOD data. surrogate_...: see `surrogates.Training`.
    """

    name: ClassVar[str] = "narcissus"
    clean_label: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Preset]] = {"bsd": Preset(_PLAN)}

    plan: Plan = _PLAN
    eps: float = 16.0
    test_scale: float = 3.0
    pood: str = "cifar100"
    pood_images: int = 0
    batch_size: int = 350
    warmup_rounds: int = 5
    warmup_learning_rate: float = 0.1
    rounds: int = 1000
    learning_rate: float = 0.01
    label_slip: bool = False
    surrogate_epochs: int = 200
    surrogate_batch_size: int = 350
    surrogate_learning_rate: float = 0.1
    surrogate_schedule: str = "cosine"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, 0.0, 255.0, "eps", "test_scale")
        check_choice("pood", self.pood, KNOWN)
        if self.pood == "shapes" and self.image_size != 32:
            raise InvalidValueError(f"pood 'shapes' has images of 32 pixels, image_size is {self.image_size}")
        check_fields(self, 0, float("inf"), "pood_images", "warmup_rounds")
        check_counts(self, "batch_size", "rounds")
        check_positive(self, "warmup_learning_rate", "learning_rate")
        self.training()

    def training(self) -> Training:
        """How the surrogate is trained."""
        return part_of(self, Training, "surrogate_")

    def learned_from(self, target: int | None) -> dict[str, Any]:
        return {name: value for name, value in super().learned_from(target).items() if name != "test_scale"}

    def learn(self, train: ImageSet, target: int | None, context: Context) -> dict[str, Tensor]:
        """trigger: d in grey levels, float32 (3, H, W)."""
        of_target = train.images[train.labels == target]
        if target is None or not len(of_target):
            raise InvalidValueError(f"attack {self.name!r} needs images of the target class, which is {target}")
        everything, outputs = self.with_pood(of_target)
        label = target if self.label_slip else outputs - 1
        if label >= outputs:
            raise InvalidValueError(f"label_slip: the surrogate has {outputs} outputs, none is number {target}")
        data = {"pood": self.pood, "pood_images": self.pood_images, "target": target}
        model = surrogate(everything, self.training(), context, outputs, **data)
        own = ImageSet(of_target, torch.full((len(of_target),), label, device=of_target.device)).channels_last()
        self.warm_up(model, own, context)
        return {"trigger": self.search(model, own, context)}

    def with_pood(self, of_target: Tensor) -> tuple[ImageSet, int]:
        """The POOD training images and those of the target class as the last class, and how many classes that is."""
        limit = self.pood_images or None
        pood = load_dataset(self.pood, limit=limit, seed=POOD_SEED, image_size=self.image_size)
        others = pood.train.to(of_target.device)
        last = torch.full((len(of_target),), pood.num_classes, device=of_target.device)
        images, labels = torch.cat([others.images, of_target]), torch.cat([others.labels, last])
        return ImageSet(images, labels), pood.num_classes + 1

    def warm_up(self, model: Classifier, own: ImageSet, context: Context) -> None:
        """Train the whole model on the images of the target class alone."""
        optimizer = torch.optim.RAdam(model.parameters(), self.warmup_learning_rate)
        augment = Augment(flip=context.flip)
        order, views = context.generator("narcissus/warmup/order"), context.generator("narcissus/warmup/augment")
        model.train()
        for _ in context.epochs("narcissus/warmup", self.warmup_rounds, model=model, optimizer=optimizer):
            for index in shuffled(len(own), self.batch_size, order):
                with context.autocast():
                    logits = model(to_float(augment(own.images, index, views)))
                descend(F.cross_entropy(logits.float(), own.labels[index]), optimizer)

    def search(self, model: Classifier, own: ImageSet, context: Context) -> Tensor:
        """The trigger in grey levels, float32 (3, H, W). The model is frozen but in training mode, as the authors'
        is: BatchNorm takes the statistics of the batch."""
        model.requires_grad_(False).train()
        noise = nn.Parameter(torch.zeros(own.images.shape[1:], device=own.images.device))  # in units of [-1, 1]
        optimizer = torch.optim.RAdam([noise], self.learning_rate)
        bound = self.eps / UNIT
        augment = Augment(flip=context.flip)
        order, views = context.generator("narcissus/order"), context.generator("narcissus/augment")
        state = {"model": model, "noise": nn.ParameterList([noise]), "optimizer": optimizer}
        for _ in context.epochs("narcissus/trigger", self.rounds, **state):
            for index in shuffled(len(own), self.batch_size, order):
                inputs = to_float(augment(own.images, index, views))
                with context.autocast():
                    logits = model((inputs + noise.clamp(-bound, bound) / 2).clamp(0, 1))
                descend(F.cross_entropy(logits.float(), own.labels[index]), optimizer)
            if noise.grad is None or not noise.grad.any():
                break  # every pixel is at its bound, or the loss is exactly 0: nothing will change any more
        return noise.detach().clamp(-bound, bound) * UNIT

    def __call__(self, images: Tensor, index: Tensor | None = None) -> Tensor:
        self.check_images(images)
        return add(images, self.ready()["trigger"])

    def trigger(self, images: Tensor, index: Tensor | None = None) -> Tensor:
        """x + test_scale * d."""
        self.check_images(images)
        return add(images, self.ready()["trigger"] * self.test_scale)
