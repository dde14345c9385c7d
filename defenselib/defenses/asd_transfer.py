"""ASD's start from clean samples of another data set (Gao et al., CVPR 2023, Sec. 5.4, Table 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from defenselib.data.augment.crop_flip import Augment
from defenselib.data.pixels import to_float
from defenselib.data.types import ImageSet
from defenselib.errors import InvalidValueError
from defenselib.learning.batches import shuffled
from defenselib.learning.context import Context
from defenselib.learning.supervised import check_finite, make_optimizer
from defenselib.models import Classifier

if TYPE_CHECKING:
    from defenselib.defenses.asd import ASD


def transferred(asd: ASD, model: Classifier, train: ImageSet, augment: Augment, context: Context) -> None:
    """Pre-train `model` in place, in two stages of epochs.

    "transfer": semi-supervised learning, the clean samples of the other data set with their labels, all training
    samples without. "linear": the head alone, on all training samples with the labels as given, by cross-entropy; the
    rest is frozen, its BatchNorm statistics too. Batches and learning rate are ASD's own, the paper states none.
    """
    both, labelled, unlabelled = joined(train, context.clean)
    learner = asd.learner(model, context)
    own = {"learner": learner} if isinstance(learner, nn.Module) else {}
    parameters = [p for module in (model, *own.values()) for p in module.parameters()]
    optimizer = make_optimizer(parameters, "adam", asd.learning_rate)
    classes = model.head.out_features
    for epoch in context.epochs("transfer", asd.transfer_epochs, model=model, optimizer=optimizer, **own):
        losses = learner.train_epoch(model, optimizer, both, labelled, unlabelled, epoch, context, augment, classes)
        context.observe("epoch", stage="transfer", epoch=epoch, model=model, **losses)
    optimizer = make_optimizer(list(model.head.parameters()), "adam", asd.learning_rate)
    for epoch in context.epochs("linear", asd.linear_epochs, model=model, optimizer=optimizer):
        loss = linear_epoch(model, optimizer, train, augment, asd.virtual_batch_size, context)
        context.observe("epoch", stage="linear", epoch=epoch, model=model, loss=loss)


def joined(train: ImageSet, given: ImageSet | None) -> tuple[ImageSet, torch.Tensor, torch.Tensor]:
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


def linear_epoch(
    model: Classifier,
    optimizer: torch.optim.Optimizer,
    train: ImageSet,
    augment: Augment,
    batch_size: int,
    context: Context,
) -> float:
    """One pass that trains the head on frozen features (evaluation mode); returns the mean loss."""
    model.eval()
    order, views = context.generator("asd/linear/order"), context.generator("asd/linear/augment")
    total = torch.zeros((), device=context.device)
    for index in shuffled(len(train), batch_size, order):
        with torch.no_grad(), context.autocast():
            features = model.features(to_float(augment(train.images, index, views))).float()
        loss = F.cross_entropy(model.head(features), train.labels[index])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(index)
    return check_finite(total.item() / len(train), "linear")
