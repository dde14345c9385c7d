"""No defense: plain supervised training on the data as given, the reference of every comparison."""

from __future__ import annotations

from dataclasses import dataclass

from defenselib.data.types import ImageSet
from defenselib.defenses.base import BuildModel, Fitted
from defenselib.defenses.settings import Scheduled
from defenselib.learning.context import Context
from defenselib.learning.supervised import supervised_stage


@dataclass(frozen=True, kw_only=True)
class Undefended(Scheduled):
    """Cross-entropy with SGD, random crop and flip. Defaults: see `Scheduled`. Stage: "train"."""

    name = "none"

    def fit(self, train: ImageSet, build_model: BuildModel, context: Context) -> Fitted:
        model = build_model()
        optimizer = self.sgd(model)
        schedule, augment = self.scheduler(optimizer, len(train)), self.augment(context)
        supervised_stage("train", self.epochs, model, optimizer, train, context, augment, self.batch_size, schedule)
        return Fitted(model)
