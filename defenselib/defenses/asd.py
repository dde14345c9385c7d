"""ASD: adaptively splitting the poisoned data set (Gao et al., CVPR 2023).

Symbols of the paper: w = seeds_per_class, n = growth_per_class, t = growth_every, T1 = stage1_end, T2 = stage2_end,
T3 = epochs, alpha and gamma = shares of stages 2 and 3, beta = virtual_learning_rate, L1 = symmetric cross-entropy,
L2 = cross-entropy, D_C = clean pool (used with labels), D_P = polluted pool (used without).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from defenselib.data.augment.crop_flip import Augment
from defenselib.data.types import ImageSet
from defenselib.defenses.asd_transfer import joined, linear_epoch
from defenselib.defenses.base import BuildModel, CleanRequest, Fitted, per_class
from defenselib.defenses.settings import Ranked, lowest, state_of
from defenselib.errors import (
    InvalidValueError,
    check_batch_sizes,
    check_choice,
    check_counts,
    check_fields,
    check_not_negative,
    check_positive,
)
from defenselib.learning.context import Context
from defenselib.learning.remixmatch import ReMixMatch
from defenselib.learning.semi_supervised import SemiSupervised, Trainee
from defenselib.learning.supervised import make_optimizer, supervised_epoch
from defenselib.learning.uda import UDA
from defenselib.models import Classifier

LEARNERS = ("mixmatch", "uda", "remixmatch")


@dataclass(frozen=True, kw_only=True)
class ASD(Ranked):
    """Three stages of loss-guided splitting around MixMatch (ASD Sec. 4; one stage of epochs, "asd").

    Epochs count from 0. e < stage1_end: seeds and the growing number of samples of least loss of every label
    (class-aware). e < stage2_end: the share alpha of least loss in all (class-agnostic). Then meta-split: the share
    gamma whose loss a virtual model, trained one epoch on everything, reduces least (Eq. 3). The pool is built anew
    every epoch. Where the paper is silent this follows the authors' released settings: gamma = alpha, ranking with
    training augmentation in evaluation mode, a virtual model whose last three layers are trained by Adam.
    Without stage 1: stage1_end=0. Without stage 2: stage1_end=stage2_end. Without stage 3: stage2_end=epochs.

    ssl: the semi-supervised learner (Table 4). temperature, mixup_alpha, lambda_u and rampup are MixMatch's; UDA and
    ReMixMatch run with their authors' settings. seed_source: another data set, whose samples take the place of the
    seeds (Sec. 5.4, Table 6): the model starts from what it learned with them (stages "transfer" and "linear"), and in
    stage 1 the samples of least loss stand where the seeds would.
    """

    name = "asd"
    stage = "asd"

    seeds_per_class: int = per_class(10)
    poisoned_seeds: int = 0
    seed_source: str | None = None
    transfer_epochs: int = 10
    linear_epochs: int = 1
    growth_per_class: int = per_class(10)
    growth_every: int = 5
    stage1_end: int = 60
    stage2_end: int = 90
    epochs: int = 120
    alpha: float = 0.5
    gamma: float = 0.5
    ssl: str = "mixmatch"
    virtual_learning_rate: float = 0.015
    virtual_epochs: int = 1
    virtual_batch_size: int = 128
    virtual_layers: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.stage1_end <= self.stage2_end <= self.epochs:
            raise InvalidValueError(
                f"stage1_end {self.stage1_end}, stage2_end {self.stage2_end}, epochs {self.epochs}: "
                "they must not be negative and must not fall"
            )
        check_fields(self, 0.0, 1.0, "alpha", "gamma")
        check_batch_sizes(self, "virtual_batch_size")
        check_positive(self, "virtual_learning_rate")
        check_not_negative(self, "seeds_per_class", "poisoned_seeds", "growth_per_class", "virtual_epochs")
        check_choice("ssl", self.ssl, LEARNERS)
        check_counts(self, "growth_every", "virtual_layers", "transfer_epochs", "linear_epochs")
        if self.seed_source is not None and self.poisoned_seeds:
            raise InvalidValueError(
                f"poisoned_seeds is {self.poisoned_seeds}, it must be 0 for seeds of another data set, "
                f"here {self.seed_source!r}"
            )

    def clean_request(self) -> CleanRequest:
        return CleanRequest(
            per_class=self.seeds_per_class, inside=True, poisoned=self.poisoned_seeds, source=self.seed_source
        )

    def learner(self, model: Classifier, context: Context) -> SemiSupervised:
        """The semi-supervised learner of Eq. 2."""
        if self.ssl == "uda":
            return UDA(iterations=self.iterations, batch_size=self.batch_size)
        if self.ssl == "remixmatch":
            head = model.head
            size = {"iterations": self.iterations, "batch_size": self.batch_size}
            return ReMixMatch(head.in_features, head.out_features, context, **size)
        return self.mixmatch()

    def fit(self, train: ImageSet, build_model: BuildModel, context: Context) -> Fitted:
        seeds = train.labels.new_empty(0) if self.seed_source is not None else context.clean_index
        if seeds is None:
            raise InvalidValueError("ASD needs clean seeds inside the training set (context.clean_index)")
        augment = self.augment(context)
        model = build_model()
        if self.seed_source is not None:
            self.transfer(model, train, augment, context)
        learner = self.learner(model, context)
        trainee = Trainee(model, self.adam(model, *state_of(learner).values()), train, context, augment)
        return self.on_pools(learner, trainee, lambda epoch: self.split(trainee, seeds, epoch))

    def transfer(self, model: Classifier, train: ImageSet, augment: Augment, context: Context) -> None:
        """Pre-train `model` in place on the seeds of another data set, in two stages of epochs.

        "transfer": semi-supervised learning, those seeds with their labels, all training samples without. "linear": the
        head alone, on all training samples with the labels as given, by cross-entropy; the rest is frozen, its
        BatchNorm statistics too. Batches and learning rate are ASD's own, the paper states none.
        """
        both, labelled, unlabelled = joined(train, context.clean)
        learner = self.learner(model, context)
        trainee = Trainee(model, self.adam(model, *state_of(learner).values()), both, context, augment)
        state = {"model": model, "optimizer": trainee.optimizer, **state_of(learner)}
        for epoch in context.epochs("transfer", self.transfer_epochs, **state):
            losses = learner.train_epoch(trainee, labelled, unlabelled, epoch)
            context.observe("epoch", stage="transfer", epoch=epoch, model=model, **losses)
        trainee = Trainee(model, self.adam(model.head), train, context, augment)
        for epoch in context.epochs("linear", self.linear_epochs, model=model, optimizer=trainee.optimizer):
            loss = linear_epoch(trainee, self.virtual_batch_size)
            context.observe("epoch", stage="linear", epoch=epoch, model=model, loss=loss)

    def split(self, trainee: Trainee, seeds: Tensor, epoch: int) -> Tensor:
        """The clean pool of this epoch: sorted int64 positions in the training set (ASD Sec. 4.2, 4.3)."""
        context = trainee.context
        loss = self.ranking_loss(trainee)
        report = epoch in (self.stage1_end, self.stage2_end, self.epochs - 1)
        if report:
            context.observe("scores", name="loss", epoch=epoch, values=loss)
        if epoch < self.stage1_end:
            clean = self.class_aware(self.admissible(loss), trainee.train.labels, seeds, epoch)
        elif epoch < self.stage2_end:
            clean = lowest(self.admissible(loss), self.alpha)
        else:
            virtual_loss = self.ranking_loss(trainee, self.virtual_model(trainee))
            scores = loss - virtual_loss
            clean = lowest(self.admissible(scores), self.gamma)
            if report:
                context.observe("scores", name="virtual_loss", epoch=epoch, values=virtual_loss)
                context.observe("scores", name="reduction", epoch=epoch, values=scores)
        context.observe("split", stage="asd", epoch=epoch, clean=clean, scores=loss)
        return clean

    def admissible(self, scores: Tensor) -> Tensor:
        """The scores that pools are chosen by, low is clean; the oracle diagnostic overrides this, nothing else."""
        return scores

    def class_aware(self, loss: Tensor, labels: Tensor, seeds: Tensor, epoch: int) -> Tensor:
        """Seeds and, of every label, the n * floor(epoch / t) other samples of least loss (Sec. 4.2).

        Where there are no seeds, as many more samples of least loss stand for them.
        """
        growth = self.growth_per_class * (epoch // self.growth_every) + (0 if len(seeds) else self.seeds_per_class)
        free = torch.ones_like(labels, dtype=torch.bool)
        free[seeds] = False
        chosen = [seeds]
        for label in labels.unique():
            candidates = torch.nonzero((labels == label) & free & loss.isfinite()).squeeze(1)
            chosen.append(candidates[loss[candidates].argsort(stable=True)[:growth]])
        return torch.cat(chosen).sort().values

    def virtual_model(self, trainee: Trainee) -> Classifier:
        """A copy of the model after one epoch of supervised training on everything (Sec. 4.3, Eq. 3).

        Only the last layers learn; BatchNorm statistics move everywhere, as in the authors' code.
        """
        virtual = copy.deepcopy(trainee.model)
        virtual.requires_grad_(False)
        layers = [*virtual.stages, virtual.head][-self.virtual_layers :]
        parameters = [p for layer in layers for p in layer.parameters()]
        for parameter in parameters:
            parameter.requires_grad_(True)
        optimizer = make_optimizer(parameters, "adam", self.virtual_learning_rate)
        context, augment, size = trainee.context, trainee.augment, self.virtual_batch_size
        for _ in range(self.virtual_epochs):
            supervised_epoch(virtual, optimizer, trainee.train, context, augment, size, stream="asd/virtual")
        return virtual
