"""ASD's start from clean samples of another data set (Gao et al., CVPR 2023, Sec. 5.4, Table 6)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from defenselib.data.types import ImageSet
from defenselib.errors import InvalidValueError
from defenselib.learning.batches import shuffled
from defenselib.learning.semi_supervised import Trainee
from defenselib.learning.supervised import head_epoch


def joined(train: ImageSet, given: ImageSet | None) -> tuple[ImageSet, Tensor, Tensor]:
    """The training samples followed by the given ones; positions of the given, and of the training samples."""
    if given is None or len(given) == 0:
        raise InvalidValueError("ASD with a seed_source needs clean samples of that data set (context.clean)")
    if given.images.shape[1:] != train.images.shape[1:]:
        raise InvalidValueError(
            f"the seeds have images of {tuple(given.images.shape[1:])}, they must be of the training set's "
            f"{tuple(train.images.shape[1:])}"
        )
    both = ImageSet(torch.cat([train.images, given.images]), torch.cat([train.labels, given.labels]))
    order = torch.arange(len(both), device=train.labels.device)
    return both, order[len(train) :], order[: len(train)]


def linear_epoch(trainee: Trainee, batch_size: int) -> float:
    """One pass that trains the head on frozen features (evaluation mode); returns the mean loss."""
    model, train, context = trainee.model.eval(), trainee.train, trainee.context
    order, views = context.generator("asd/linear/order"), context.generator("asd/linear/augment")

    def loss(logits: Tensor, index: Tensor) -> Tensor:
        return F.cross_entropy(logits, train.labels[index])

    batches = shuffled(len(train), batch_size, order)
    return head_epoch(model, trainee.optimizer, batches, lambda index: trainee.look(index, views), loss, context)
