"""DBD: decoupling the training of features and classifier (Huang et al., ICLR 2022)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from defenselib.data.types import ImageSet
from defenselib.defenses.base import BuildModel, Fitted
from defenselib.defenses.settings import Ranked, lowest
from defenselib.errors import check_batch_sizes, check_counts, check_range
from defenselib.learning.batches import shuffled
from defenselib.learning.context import Context
from defenselib.learning.contrastive import Contrastive, simclr_encoder
from defenselib.learning.semi_supervised import Trainee
from defenselib.learning.settings import part_of
from defenselib.learning.supervised import head_epoch


@dataclass(frozen=True, kw_only=True)
class DBD(Ranked):
    """SimCLR without labels, a linear head with the labels as given, MixMatch on a loss-guided split (DBD Sec. 4).

    The defaults are the authors' on CIFAR-10. Stages: "simclr" (shared with other methods), "linear", "dbd".
    linear_epochs: only the head learns, by symmetric cross-entropy; as in the authors' code the features come without
    gradient from a model in training mode, so that its BatchNorm statistics move. epochs: before each, the share
    `epsilon` of least symmetric cross-entropy (one draw of the training augmentation, evaluation mode) becomes the
    labelled pool; then `iterations` steps of MixMatch on the whole network. One Adam serves both stages.
    """

    name = "dbd"
    stage = "dbd"

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
    rampup: float = 190.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.contrastive()
        check_batch_sizes(self, "linear_batch_size")
        check_range("epsilon", self.epsilon, 0.0, 1.0)
        check_counts(self, "linear_epochs", "epochs")

    def contrastive(self) -> Contrastive:
        """The settings of the first stage."""
        return part_of(self, Contrastive, "simclr_")

    def fit(self, train: ImageSet, build_model: BuildModel, context: Context) -> Fitted:
        model = simclr_encoder(self.contrastive(), train, build_model, context)
        trainee = Trainee(model, self.adam(model), train, context, self.augment(context))
        for epoch in context.epochs("linear", self.linear_epochs, model=model, optimizer=trainee.optimizer):
            loss = self.linear_epoch(trainee)
            context.observe("epoch", stage="linear", epoch=epoch, model=model, loss=loss)
        return self.on_pools(self.mixmatch(), trainee, lambda epoch: self.split(trainee, epoch))

    def linear_epoch(self, trainee: Trainee) -> float:
        """One pass that trains the head by symmetric cross-entropy (Sec. 4.3); returns the mean loss."""
        model, train, context = trainee.model.train(), trainee.train, trainee.context
        order, views = context.generator("linear/order"), context.generator("linear/augment")

        def loss(logits: Tensor, index: Tensor) -> Tensor:
            return self.sce(logits, train.labels[index]).mean()

        batches = shuffled(len(train), self.linear_batch_size, order)
        return head_epoch(model, trainee.optimizer, batches, lambda index: trainee.look(index, views), loss, context)

    def split(self, trainee: Trainee, epoch: int) -> Tensor:
        """The labelled pool of this epoch: int(N * epsilon) sorted positions of least loss (Sec. 4.3)."""
        loss = self.ranking_loss(trainee)
        if epoch in (0, self.epochs - 1):
            trainee.context.observe("scores", name="loss", epoch=epoch, values=loss)
        clean = lowest(loss, self.epsilon)
        trainee.context.observe("split", stage="dbd", epoch=epoch, clean=clean, scores=loss)
        return clean
