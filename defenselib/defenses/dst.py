"""D-ST: distinguishment and secure training (Chen et al., NeurIPS 2022, Sec. 3.3, Alg. 3).

Symbols of the paper: e_e = epochs, e_c = linear_epochs, lambda_p = poison_weight, T = temperature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from defenselib.data.types import ImageSet
from defenselib.defenses.base import BuildModel, Fitted
from defenselib.defenses.contrastive_baselines import ContrastiveBaseline
from defenselib.defenses.distinguish import Distinguishing, Split
from defenselib.errors import InvalidValueError, check_choice, check_range
from defenselib.learning.context import Context
from defenselib.learning.contrastive import simclr_encoder, supcon_encoder
from defenselib.learning.semi_contrastive import POSITIVES, semi_contrastive_encoder
from defenselib.models import Classifier

# Table 3: the paper's method; SimCLR on all images; SupCon on all images with their labels.
EXTRACTORS = ("ss-ctl", "ctl", "s-ctl")


def mixed_cross_entropy(logits: Tensor, labels: Tensor, poison: Tensor, weight: float) -> Tensor:
    """Eq. 3 over a batch: mean CE of the believed samples minus `weight` times the mean CE of the suspected ones.

    logits: (B, K); labels: int64 (B,); poison: bool (B,). A part without samples counts nothing.
    """
    loss = F.cross_entropy(logits, labels, reduction="none")
    clean, suspected = ((loss * part).sum() / part.sum().clamp(min=1) for part in (~poison, poison))
    return clean - weight * suspected


@dataclass(frozen=True, kw_only=True)
class DST(Distinguishing, ContrastiveBaseline):
    """Split by sensitivity, learn features by semi-supervised contrast, then a linear classifier on what is believed.

    1. The sample-distinguishment module (`Distinguishing`).
    2. "ss-ctl": a new extractor on all images (Eq. 2), settings of `ContrastiveBaseline`; positives: see
       `semi_contrastive_loss`. extractor "ctl" and "s-ctl" are the paper's comparisons (Table 3).
    3. "linear": the extractor frozen, mixed cross-entropy on the clean and the poisoned part (Eq. 3).
    """

    name: ClassVar[str] = "dst"

    extractor: str = "ss-ctl"
    positives: str = "clean"
    poison_weight: float = 0.001

    def __post_init__(self) -> None:
        Distinguishing.__post_init__(self)
        ContrastiveBaseline.__post_init__(self)
        check_choice("extractor", self.extractor, EXTRACTORS)
        check_choice("positives", self.positives, POSITIVES)
        check_range("poison_weight", self.poison_weight, 0.0, float("inf"))
        if self.clean_share == 0:
            raise InvalidValueError("clean_share is 0: without a sample to believe there is no classifier")

    def fit(self, train: ImageSet, build_model: BuildModel, context: Context) -> Fitted:
        split = self.distinguish(train, build_model, context)
        model = self.extract(split, train, build_model, context)
        self.classify(model, split, train, context)
        return Fitted(model, split.metrics(train.labels, model.head.out_features), suspects=split.poison)

    def extract(self, split: Split, train: ImageSet, build_model: BuildModel, context: Context) -> Classifier:
        """The feature extractor of stage 1, with a new head."""
        settings = self.contrastive()
        if self.extractor == "ctl":
            return simclr_encoder(settings, train, build_model, context)
        if self.extractor == "s-ctl":
            return supcon_encoder(settings, train, build_model, context)
        made_by = self.split_settings()
        return semi_contrastive_encoder(settings, train, split.clean, made_by, self.positives, build_model, context)

    def classify(self, model: Classifier, split: Split, train: ImageSet, context: Context) -> None:
        """Train the linear head alone, one view a sample, the extractor in evaluation mode (stage 2)."""
        pool = torch.cat([split.clean, split.poison])
        poison = torch.zeros(len(train), dtype=torch.bool, device=pool.device)
        poison[split.poison] = True

        def loss(logits: Tensor, index: Tensor) -> Tensor:
            return mixed_cross_entropy(logits, train.labels[index], poison[index], self.poison_weight)

        self.train_classifier(model, train, pool, loss, context)
