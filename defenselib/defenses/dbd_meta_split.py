"""DBD made faster by ASD's meta-split (Gao et al., CVPR 2023, Sec. 5.2, Fig. 5a)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from defenselib.defenses.asd import ASD
from defenselib.defenses.dbd import DBD
from defenselib.defenses.settings import lowest
from defenselib.errors import InvalidValueError
from defenselib.learning.semi_supervised import Trainee


@dataclass(frozen=True, kw_only=True)
class DBDMetaSplit(DBD):
    """DBD whose last stage is short: `split_epochs` epochs of its own split, then ASD's meta-split.

    The first two stages are DBD's, the first is shared with it. "After stage 3 of DBD for 10 epochs" could mean
    stage 2, which has 10 epochs; here it is 10 epochs of the third, since 25 instead of 190 are counted there. The
    ramp of lambda_u keeps DBD's length. virtual_...: as in ASD.
    """

    name: ClassVar[str] = "dbd-meta-split"

    split_epochs: int = 10
    epochs: int = 25
    virtual_learning_rate: float = 0.015
    virtual_epochs: int = 1
    virtual_batch_size: int = 128
    virtual_layers: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.split_epochs <= self.epochs:
            raise InvalidValueError(f"split_epochs is {self.split_epochs}, it must be from 0 to epochs ({self.epochs})")
        self.meta_split()

    def meta_split(self) -> ASD:
        """The settings of the virtual model."""
        return ASD(
            virtual_learning_rate=self.virtual_learning_rate,
            virtual_epochs=self.virtual_epochs,
            virtual_batch_size=self.virtual_batch_size,
            virtual_layers=self.virtual_layers,
        )

    def split(self, trainee: Trainee, epoch: int) -> Tensor:
        """The labelled pool of this epoch: by loss at first, then by the loss that a virtual model takes away least."""
        if epoch < self.split_epochs:
            return super().split(trainee, epoch)
        loss = self.ranking_loss(trainee)
        reduction = loss - self.ranking_loss(trainee, self.meta_split().virtual_model(trainee))
        if epoch in (self.split_epochs, self.epochs - 1):
            trainee.context.observe("scores", name="reduction", epoch=epoch, values=reduction)
        clean = lowest(reduction, self.epsilon)
        trainee.context.observe("split", stage="dbd", epoch=epoch, clean=clean, scores=loss)
        return clean
