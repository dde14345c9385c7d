"""What the post-training defenses train with: cross-entropy on a few clean samples, from a model that is there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import nn

from defenselib.data.augment.crop_flip import Augment
from defenselib.data.types import ImageSet
from defenselib.errors import InvalidValueError, check_batch_sizes, check_counts, check_fields, check_positive
from defenselib.learning.context import Context
from defenselib.learning.supervised import Schedule, make_optimizer, supervised_epoch


@dataclass(frozen=True)
class FineTuning:
    """SGD on the cross-entropy, all weights, random crop and flip; `schedule` spans the `epochs`.

    Example: `FineTuning(10, 256, 0.01, 0.9, 5e-4, "cosine", Augment()).run(model, clean, context, "ft")`.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float
    weight_decay: float
    schedule: str
    augment: Augment

    def __post_init__(self) -> None:
        Schedule(self.schedule)
        check_batch_sizes(self, "batch_size")
        check_counts(self, "epochs")
        check_positive(self, "learning_rate")
        check_fields(self, 0.0, 1.0, "momentum", "weight_decay")

    def optimizer(
        self, model: nn.Module, samples: int
    ) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
        """Optimizer and schedule (stepped once a batch) for the model on so many samples."""
        optimizer = make_optimizer(
            list(model.parameters()), "sgd", self.learning_rate, self.momentum, self.weight_decay
        )
        return optimizer, Schedule(self.schedule).attach(optimizer, self.epochs, -(-samples // self.batch_size))

    def run(self, model: nn.Module, clean: ImageSet, context: Context, stage: str, observe: bool = True) -> float:
        """Train `model` in place; returns the mean loss of the last epoch. `stage` names epochs and random streams.

        observe: report the epochs. A stage that may come from the store reports none, so that the history of a run
        does not depend on what was there.
        """
        optimizer, schedule = self.optimizer(model, len(clean))
        last: dict[str, float] = {}
        for epoch in context.epochs(stage, self.epochs, model=model, optimizer=optimizer, schedule=schedule, last=last):
            last["loss"] = supervised_epoch(
                model, optimizer, clean, context, self.augment, self.batch_size, schedule, stream=stage
            )
            if observe:
                context.observe("epoch", stage=stage, epoch=epoch, model=model, **last)
        return last["loss"]


def hold_out(clean: ImageSet, share: float, generator: torch.Generator) -> tuple[ImageSet, ImageSet]:
    """The samples cut in two at random: those to learn from, and `share` of them (at least one) to choose by."""
    held = max(1, round(share * len(clean)))
    if held >= len(clean):
        raise InvalidValueError(f"holdout {share} of {len(clean)} clean samples leaves none to learn from")
    order = torch.randperm(len(clean), generator=generator, device=generator.device)
    return clean.select(order[held:].sort().values), clean.select(order[:held].sort().values)


def weights_digest(model: nn.Module) -> str:
    """SHA-256 over the names and bytes of a model's weights and buffers."""
    state = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        state.update(name.encode())
        state.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return state.hexdigest()
