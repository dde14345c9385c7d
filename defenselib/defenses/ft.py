"""FT: fine-tuning on clean samples, the baseline of all repairs (D-ST/D-BR Sec. 4.1, App. C.4; BackdoorBench)."""

from __future__ import annotations

from dataclasses import dataclass

from defenselib.data.augment.crop_flip import Augment
from defenselib.data.types import ImageSet
from defenselib.defenses.base import BuildModel, Fitted
from defenselib.defenses.removal import FineTuned
from defenselib.learning.context import Context


@dataclass(frozen=True, kw_only=True)
class FT(FineTuned):
    """Cross-entropy on the clean samples, all weights. Defaults: BackdoorBench's. Stage: "ft"."""

    name = "ft"

    epochs: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        self.tuning(self.epochs, Augment())

    def fit(self, train: ImageSet, build_model: BuildModel, context: Context) -> Fitted:
        model, clean, augment = self.begin(context)
        loss = self.tuning(self.epochs, augment).run(model, clean, context, "ft")
        return Fitted(model, metrics={"clean_loss": loss})
