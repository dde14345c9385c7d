"""NAD: neural attention distillation (Li et al., ICLR 2021, Sec. 3.2, 3.3).

Symbols of the paper: A = attention, p = power, beta_l = beta, one for each of the last stages.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from defenselib.data.augment.crop_flip import Augment
from defenselib.data.types import ImageSet, digest_of
from defenselib.defenses.base import BuildModel, Fitted
from defenselib.defenses.removal import FineTuned
from defenselib.errors import InvalidValueError
from defenselib.learning.batches import shuffled
from defenselib.learning.context import Context
from defenselib.learning.fine_tuning import weights_digest
from defenselib.learning.semi_supervised import Trainee
from defenselib.learning.settings import stage_key
from defenselib.learning.supervised import check_finite, descend
from defenselib.models import Classifier

# What decides the teacher beside its `teacher_epochs`.
_TEACHER = ("batch_size", "learning_rate", "momentum", "weight_decay", "schedule", "padding", "padding_mode")


@dataclass(frozen=True, kw_only=True)
class NAD(FineTuned):
    """The teacher is the backdoored model fine-tuned on the clean samples (a shared stage: a grid over beta trains it
    once). The student, again the backdoored model, learns on them, for `epochs` (stage "nad"),

        CE + sum_l beta_l MSE(A(F_l student), A(F_l teacher)),   A(F) = sum_c |F_c|^p / ||sum_c |F_c|^p||_2

    over the last len(beta) stages, low to high. Defaults: BackdoorBench's. Its third weight, on the pooled maps, is
    left out: the attention of a single position is constant. Its teacher's cosine spans 100 epochs and its student's
    rate falls at epoch 20; in ten epochs neither moves the rate by more than 3 %, so it is constant here.
    """

    name = "nad"

    epochs: int = 10
    teacher_epochs: int = 10
    beta: tuple[float, ...] = (500.0, 1000.0)
    power: float = 2.0
    schedule: str = "constant"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.tuning(min(self.epochs, self.teacher_epochs), Augment())
        if not self.beta or min(self.beta) < 0:
            raise InvalidValueError(f"beta is {self.beta}, it must hold a weight, not negative, for each stage")
        if self.power < 1:
            raise InvalidValueError(f"power is {self.power}, it must be at least 1")

    def fit(self, train: ImageSet, build_model: BuildModel, context: Context) -> Fitted:
        model, clean, augment = self.begin(context)
        if len(self.beta) > len(model.stages):
            raise InvalidValueError(f"beta has {len(self.beta)} weights, the model {len(model.stages)} stages")
        settings = {name: getattr(self, name) for name in _TEACHER} | {"epochs": self.teacher_epochs}
        key = stage_key("nad-teacher", start=weights_digest(model), clean=digest_of(clean), **settings)
        teacher = copy.deepcopy(model)
        teacher.load_state_dict(context.cached(key, partial(self.teach, model, clean, augment, context)))
        teacher.eval().requires_grad_(False)
        optimizer, schedule = self.tuning(self.epochs, augment).optimizer(model, len(clean))
        student = Trainee(model, optimizer, clean, context, augment)
        last: dict[str, float] = {}
        for epoch in context.epochs("nad", self.epochs, model=model, optimizer=optimizer, schedule=schedule, last=last):
            last |= self.distil(student, teacher, schedule)
            context.observe("epoch", stage="nad", epoch=epoch, model=model, **last)
        return Fitted(model, metrics=dict(last))

    def teach(self, model: Classifier, clean: ImageSet, augment: Augment, context: Context) -> dict[str, Tensor]:
        """State of the teacher: the model fine-tuned for `teacher_epochs`."""
        teacher = copy.deepcopy(model)
        self.tuning(self.teacher_epochs, augment).run(teacher, clean, context, "nad-teacher", observe=False)
        return teacher.state_dict()

    def distil(
        self, trainee: Trainee, teacher: Classifier, schedule: torch.optim.lr_scheduler.LRScheduler
    ) -> dict[str, float]:
        """One pass over the clean samples; returns the mean losses: cross-entropy and weighted attention distance."""
        student, clean, context = trainee.model.train(), trainee.train, trainee.context
        order, views = context.generator("nad/order"), context.generator("nad/augment")
        sums = torch.zeros(2, device=context.device)
        for index in shuffled(len(clean), self.batch_size, order):
            inputs = trainee.look(index, views)
            with context.autocast():
                logits, maps = logits_and_maps(student, inputs, len(self.beta))
                with torch.no_grad():
                    wanted = logits_and_maps(teacher, inputs, len(self.beta))[1]
            loss = F.cross_entropy(logits.float(), clean.labels[index])
            distance = attention_distance(maps, wanted, self.beta, self.power)
            descend(loss + distance, trainee.optimizer, schedule)
            sums += torch.stack([loss.detach(), distance.detach()]) * len(index)
        means = [check_finite(value / len(clean), "nad") for value in sums.tolist()]
        return {"clean_loss": means[0], "attention_loss": means[1]}


def logits_and_maps(model: Classifier, x: Tensor, stages: int) -> tuple[Tensor, list[Tensor]]:
    """Logits (B, classes) and outputs (B, C, h, w) of the last `stages` stages, low to high; x: float (B, 3, H, W)."""
    maps: list[Tensor] = []
    handles = [
        stage.register_forward_hook(lambda module, inputs, output: maps.append(output))
        for stage in list(model.stages)[-stages:]
    ]
    try:
        return model(x), maps
    finally:
        for handle in handles:
            handle.remove()


def attention(maps: Tensor, power: float) -> Tensor:
    """sum_c |F_c|^p divided by its spatial L2 norm (NAD Eq. 1): (B, C, h, w) to float32 (B, h * w)."""
    return F.normalize(maps.float().abs().pow(power).sum(1).flatten(1), dim=1)


def attention_distance(
    student: Sequence[Tensor], teacher: Sequence[Tensor], beta: Sequence[float], power: float
) -> Tensor:
    """sum_l beta_l * mean squared difference of the attentions of stage l, over samples and positions; a scalar."""
    terms = [
        weight * F.mse_loss(attention(mine, power), attention(theirs, power))
        for weight, mine, theirs in zip(beta, student, teacher, strict=True)
    ]
    return torch.stack(terms).sum()
