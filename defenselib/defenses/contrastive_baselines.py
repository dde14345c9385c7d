"""D-ST's two baselines (Chen et al., NeurIPS 2022, Sec. 4.1): SimCLR or SupCon features, then a linear classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from defenselib.data.types import ImageSet
from defenselib.defenses.base import BuildModel, Defense, Fitted
from defenselib.errors import InvalidValueError
from defenselib.learning.batches import shuffled
from defenselib.learning.context import Context
from defenselib.learning.contrastive import Contrastive, contrastive_views, simclr_encoder, supcon_encoder
from defenselib.learning.supervised import check_finite, make_optimizer
from defenselib.models import Classifier


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
        if self.linear_epochs < 1 or self.linear_batch_size < 1 or self.linear_learning_rate <= 0:
            raise InvalidValueError(
                f"linear_epochs {self.linear_epochs} and linear_batch_size {self.linear_batch_size} must be at least "
                f"1, linear_learning_rate {self.linear_learning_rate} positive"
            )

    def contrastive(self) -> Contrastive:
        """The settings of the extractor's training."""
        return Contrastive(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            warmup=self.warmup,
            final_share=self.final_share,
            temperature=self.temperature,
            base_temperature=self.base_temperature,
            head_norm=self.head_norm,
            blur=self.blur,
        )

    def train_classifier(self, model: Classifier, train: ImageSet, context: Context) -> None:
        """Train the linear head alone. Stage: "linear"."""
        parameters = list(model.head.parameters())
        optimizer = make_optimizer(parameters, "sgd", self.linear_learning_rate, self.momentum)
        views = contrastive_views(self.blur, context)
        order, draws = context.generator("linear/order"), context.generator("linear/views")
        for epoch in context.epochs("linear", self.linear_epochs, model=model, optimizer=optimizer):
            model.eval()
            total = torch.zeros((), device=context.device)
            for index in shuffled(len(train), self.linear_batch_size, order):
                with torch.no_grad(), context.autocast():
                    features = model.features(views(train.images, index, draws)).float()
                loss = F.cross_entropy(model.head(features), train.labels[index])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                total += loss.detach() * len(index)
            loss_mean = check_finite(total.item() / len(train), "linear")
            context.observe("epoch", stage="linear", epoch=epoch, model=model, loss=loss_mean)


@dataclass(frozen=True, kw_only=True)
class SimCLRBaseline(ContrastiveBaseline):
    """D-ST's baseline 1: features by SimCLR, which reads no label. Stages: "simclr" (shared), "linear"."""

    name: ClassVar[str] = "simclr-baseline"

    def fit(self, train: ImageSet, build_model: BuildModel, context: Context) -> Fitted:
        model = simclr_encoder(self.contrastive(), train, build_model, context)
        self.train_classifier(model, train, context)
        return Fitted(model)


@dataclass(frozen=True, kw_only=True)
class SupConBaseline(ContrastiveBaseline):
    """D-ST's baseline 2: features by SupCon with the labels as given, poisoned ones too. Stages: "supcon", "linear"."""

    name: ClassVar[str] = "supcon-baseline"

    def fit(self, train: ImageSet, build_model: BuildModel, context: Context) -> Fitted:
        model = supcon_encoder(self.contrastive(), train, build_model, context)
        self.train_classifier(model, train, context)
        return Fitted(model)
