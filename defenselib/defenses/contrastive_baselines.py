"""D-ST's two baselines (Chen et al., NeurIPS 2022, Sec. 4.1): SimCLR or SupCon features, then a linear classifier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from defenselib.data.types import ImageSet
from defenselib.defenses.base import BuildModel, Defense, Fitted
from defenselib.errors import check_counts, check_positive
from defenselib.learning.batches import shuffled
from defenselib.learning.context import Context
from defenselib.learning.contrastive import Contrastive, contrastive_views, simclr_encoder, supcon_encoder
from defenselib.learning.settings import part_of
from defenselib.learning.supervised import head_epoch, make_optimizer
from defenselib.models import Classifier

HeadLoss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class ContrastiveBaseline(Defense):
    """What both have in common: the settings of D-ST's own stages (App. C.5 and its released code).

    Extractor: see `Contrastive`. Classifier: cross-entropy on all samples with the labels as given, one view each, the
    extractor frozen in evaluation mode. The paper says nothing on the classifier's training: it is that of D-ST's.
    """

    epochs: int = 200
    batch_size: int = 512
    learning_rate: float = 0.5
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warmup: int = 10
    final_share: float = 1e-3
    temperature: float = 0.1
    base_temperature: float = 0.07
    head_norm: bool = False
    blur: bool = False
    linear_epochs: int = 10
    linear_batch_size: int = 512
    linear_learning_rate: float = 5.0

    def __post_init__(self) -> None:
        self.contrastive()
        check_counts(self, "linear_epochs", "linear_batch_size")
        check_positive(self, "linear_learning_rate")

    def contrastive(self) -> Contrastive:
        """The settings of the extractor's training."""
        return part_of(self, Contrastive)

    def train_classifier(
        self, model: Classifier, train: ImageSet, pool: Tensor, loss: HeadLoss, context: Context
    ) -> None:
        """Train the linear head alone on the samples at the positions `pool`, one view each; loss: of logits (B, C) and
        int64 positions (B,). Stage: "linear"."""
        parameters = list(model.head.parameters())
        optimizer = make_optimizer(parameters, "sgd", self.linear_learning_rate, self.momentum)
        views = contrastive_views(self.blur, context)
        order, draws = context.generator("linear/order"), context.generator("linear/views")

        def look(index: Tensor) -> Tensor:
            return views(train.images, index, draws)

        for epoch in context.epochs("linear", self.linear_epochs, model=model, optimizer=optimizer):
            batches = (pool[chosen] for chosen in shuffled(len(pool), self.linear_batch_size, order))
            mean = head_epoch(model.eval(), optimizer, batches, look, loss, context)
            context.observe("epoch", stage="linear", epoch=epoch, model=model, loss=mean)

    def classified(self, model: Classifier, train: ImageSet, context: Context) -> Fitted:
        """The model with its head trained on all samples with the labels as given."""

        def loss(logits: Tensor, index: Tensor) -> Tensor:
            return F.cross_entropy(logits, train.labels[index])

        everything = torch.arange(len(train), device=train.labels.device)
        self.train_classifier(model, train, everything, loss, context)
        return Fitted(model)


@dataclass(frozen=True, kw_only=True)
class SimCLRBaseline(ContrastiveBaseline):
    """D-ST's baseline 1: features by SimCLR, which reads no label. Stages: "simclr" (shared), "linear"."""

    name: ClassVar[str] = "simclr-baseline"

    def fit(self, train: ImageSet, build_model: BuildModel, context: Context) -> Fitted:
        return self.classified(simclr_encoder(self.contrastive(), train, build_model, context), train, context)


@dataclass(frozen=True, kw_only=True)
class SupConBaseline(ContrastiveBaseline):
    """D-ST's baseline 2: features by SupCon with the labels as given, poisoned ones too. Stages: "supcon", "linear"."""

    name: ClassVar[str] = "supcon-baseline"

    def fit(self, train: ImageSet, build_model: BuildModel, context: Context) -> Fitted:
        return self.classified(supcon_encoder(self.contrastive(), train, build_model, context), train, context)
