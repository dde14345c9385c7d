"""DBD: decoupling the training of features and classifier (Huang et al., ICLR 2022)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from defenselib.data.augment.crop_flip import Augment
from defenselib.data.pixels import to_float
from defenselib.data.types import ImageSet
from defenselib.defenses.base import BuildModel, Defense, Fitted
from defenselib.errors import InvalidValueError, check_range
from defenselib.learning.batches import infer, shuffled
from defenselib.learning.context import Context
from defenselib.learning.contrastive import Contrastive, simclr_encoder
from defenselib.learning.losses import symmetric_cross_entropy
from defenselib.learning.semi_supervised import MixMatch
from defenselib.learning.supervised import check_finite, make_optimizer
from defenselib.models import Classifier


@dataclass(frozen=True, kw_only=True)
class DBD(Defense):
    """SimCLR without labels, a linear head with the labels as given, MixMatch on a loss-guided split (DBD Sec. 4).

    The defaults are the authors' on CIFAR-10. Stages: "simclr" (shared with other methods), "linear", "dbd".
    linear_epochs: only the head learns, by symmetric cross-entropy; as in the authors' code the features come without
    gradient from a model in training mode, so that its BatchNorm statistics move. epochs: before each, the share
    `epsilon` of least symmetric cross-entropy (one draw of the training augmentation, evaluation mode) becomes the
    labelled pool; then `iterations` steps of MixMatch on the whole network. One Adam serves both stages.
    """

    name = "dbd"

    simclr_epochs: int = 1000
    simclr_batch_size: int = 512
    simclr_learning_rate: float = 0.4
    simclr_warmup: int = 0
    simclr_temperature: float = 0.5
    simclr_blur: bool = True
    linear_epochs: int = 10
    linear_batch_size: int = 128
    epochs: int = 190
    epsilon: float = 0.5
    learning_rate: float = 0.002
    iterations: int = 1024
    batch_size: int = 64
    temperature: float = 0.5
    mixup_alpha: float = 0.75
    lambda_u: float = 15.0
    rampup: float = 190.0
    sce_alpha: float = 0.1
    sce_beta: float = 1.0
    augmented_ranking: bool = True
    padding: int = 4
    padding_mode: str = "reflect"

    def __post_init__(self) -> None:
        self.contrastive()
        check_range("epsilon", self.epsilon, 0.0, 1.0)
        for what in ("linear_epochs", "linear_batch_size", "epochs", "iterations", "batch_size"):
            if getattr(self, what) < 1:
                raise InvalidValueError(f"{what} is {getattr(self, what)}, it must be at least 1")
        Augment(self.padding, self.padding_mode)

    def contrastive(self) -> Contrastive:
        """The settings of the first stage."""
        return Contrastive(
            epochs=self.simclr_epochs,
            batch_size=self.simclr_batch_size,
            learning_rate=self.simclr_learning_rate,
            warmup=self.simclr_warmup,
            temperature=self.simclr_temperature,
            blur=self.simclr_blur,
        )

    def fit(self, train: ImageSet, build_model: BuildModel, context: Context) -> Fitted:
        model = simclr_encoder(self.contrastive(), train, build_model, context)
        optimizer = make_optimizer(list(model.parameters()), "adam", self.learning_rate)
        augment = Augment(self.padding, self.padding_mode, flip=context.flip)
        for epoch in context.epochs("linear", self.linear_epochs, model=model, optimizer=optimizer):
            loss = self.linear_epoch(model, optimizer, train, augment, context)
            context.observe("epoch", stage="linear", epoch=epoch, model=model, loss=loss)
        learner = MixMatch(
            self.temperature, self.mixup_alpha, self.lambda_u, self.rampup, self.iterations, self.batch_size
        )
        classes = model.head.out_features
        everything = torch.arange(len(train), device=train.labels.device)
        pools: dict[str, Tensor] = {}  # part of the state: a run killed after its last epoch still knows its suspects
        for epoch in context.epochs("dbd", self.epochs, model=model, optimizer=optimizer, pools=pools):
            clean = self.split(model, train, epoch, augment, context)
            polluted = everything[~torch.isin(everything, clean)]
            losses = learner.train_epoch(model, optimizer, train, clean, polluted, epoch, context, augment, classes)
            context.observe("epoch", stage="dbd", epoch=epoch, model=model, **losses)
            pools["polluted"] = polluted
        final = self.ranking_loss(model, train, augment, context)
        context.observe("scores", name="final_loss", epoch=self.epochs, values=final)
        return Fitted(model, suspects=pools.get("polluted"))

    def linear_epoch(
        self,
        model: Classifier,
        optimizer: torch.optim.Optimizer,
        train: ImageSet,
        augment: Augment,
        context: Context,
    ) -> float:
        """One pass that trains the head by symmetric cross-entropy (Sec. 4.3); returns the mean loss."""
        model.train()
        order, views = context.generator("linear/order"), context.generator("linear/augment")
        total = torch.zeros((), device=context.device)
        for index in shuffled(len(train), self.linear_batch_size, order):
            with torch.no_grad(), context.autocast():
                features = model.features(to_float(augment(train.images, index, views))).float()
            loss = self.loss(model.head(features), train.labels[index]).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(index)
        return check_finite(total.item() / len(train), "linear")

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return symmetric_cross_entropy(logits, labels, self.sce_alpha, self.sce_beta)

    def split(self, model: Classifier, train: ImageSet, epoch: int, augment: Augment, context: Context) -> Tensor:
        """The labelled pool of this epoch: int(N * epsilon) sorted positions of least loss (Sec. 4.3)."""
        loss = self.ranking_loss(model, train, augment, context)
        if epoch in (0, self.epochs - 1):
            context.observe("scores", name="loss", epoch=epoch, values=loss)
        clean = loss.argsort(stable=True)[: int(len(loss) * self.epsilon)].sort().values
        context.observe("split", stage="dbd", epoch=epoch, clean=clean, scores=loss)
        return clean

    def ranking_loss(self, model: Classifier, train: ImageSet, augment: Augment, context: Context) -> Tensor:
        """Symmetric cross-entropy of every sample, (N,), in evaluation mode."""
        views = context.generator("dbd/rank")

        def fetch(index: Tensor) -> Tensor:
            return augment(train.images, index, views)

        def loss(logits: Tensor, index: Tensor) -> Tensor:
            return self.loss(logits, train.labels[index])

        return infer(model, train.images, context, loss, fetch if self.augmented_ranking else None)
