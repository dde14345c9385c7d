"""D-BR: distinguishment and backdoor removal (Chen et al., NeurIPS 2022, Sec. 3.4, Alg. 4).

Symbols of the paper: e_ft of Alg. 4 = rounds; its first step, e_t epochs of ordinary training, is the undefended model
that is repaired.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from defenselib.data.types import ImageSet
from defenselib.defenses.base import BuildModel, Fitted
from defenselib.defenses.distinguish import Distinguishing, Split
from defenselib.defenses.settings import Augmented
from defenselib.errors import (
    InvalidValueError,
    check_batch_sizes,
    check_choice,
    check_fields,
    check_positive,
    check_range,
)
from defenselib.learning.context import Context
from defenselib.learning.losses import ascent
from defenselib.learning.supervised import LossFunction, make_optimizer, supervised_epoch
from defenselib.models import Classifier

PROBES = ("none", "pairs", "features")
# Fig. 5: both in turn, or one of them alone.
STEPS = {"both": ("unlearn", "relearn"), "unlearn": ("unlearn",), "relearn": ("relearn",)}


@dataclass(frozen=True, kw_only=True)
class DBR(Distinguishing, Augmented):
    """Split by sensitivity, then repair the undefended model by unlearning and relearning in turn.

    Each of `rounds` (stage "removal") is one epoch of gradient ascent on the poisoned part (Eq. 4), then one of
    descent on the clean part (Eq. 5), with one optimizer at a constant rate; the last round counts. The model that
    scores and the model that is repaired are two trainings. Optimizer and augmentation: the authors' code.

    steps: "unlearn" or "relearn" leaves out the other (Fig. 5). rounds 0: the distinguishment alone. probe: what a run
    measures besides, see `experiments.measure.figures`; the method does not look at it.
    """

    name: ClassVar[str] = "dbr"
    post_training: ClassVar[bool] = True

    rounds: int = 20
    steps: str = "both"
    batch_size: int = 128
    learning_rate: float = 1e-4
    momentum: float = 0.9
    weight_decay: float = 5e-4
    padding_mode: str = "zeros"
    probe: str = "none"

    def __post_init__(self) -> None:
        Distinguishing.__post_init__(self)
        Augmented.__post_init__(self)
        check_batch_sizes(self, "batch_size")
        check_range("rounds", self.rounds, 0, math.inf)
        check_fields(self, 0.0, 1.0, "momentum", "weight_decay")
        check_positive(self, "learning_rate")
        check_choice("steps", self.steps, STEPS)
        check_choice("probe", self.probe, PROBES)

    def fit(self, train: ImageSet, build_model: BuildModel, context: Context) -> Fitted:
        backdoored = None if context.upstream is None else context.upstream.model
        if not isinstance(backdoored, Classifier):
            raise InvalidValueError("D-BR repairs the undefended model (context.upstream)")
        model = copy.deepcopy(backdoored).requires_grad_(True)
        split = self.distinguish(train, build_model, context)
        self.remove(model, split, train, context)
        return Fitted(model, split.metrics(train.labels, model.head.out_features), suspects=split.poison)

    def remove(self, model: Classifier, split: Split, train: ImageSet, context: Context) -> None:
        """Unlearn and relearn (Alg. 4, lines 3 to 6); an empty part is passed over."""
        parameters = list(model.parameters())
        optimizer = make_optimizer(parameters, "sgd", self.learning_rate, self.momentum, self.weight_decay)
        augment = self.augment(context)
        parts: dict[str, tuple[Tensor, LossFunction]] = {
            "unlearn": (split.poison, ascent),
            "relearn": (split.clean, F.cross_entropy),
        }
        work = {
            step: (train.select(parts[step][0]).channels_last(), parts[step][1])
            for step in STEPS[self.steps]
            if len(parts[step][0])
        }
        context.observe("epoch", stage="removal", epoch=0, model=model)
        for done in context.epochs("removal", self.rounds, model=model, optimizer=optimizer):
            losses = {
                step: supervised_epoch(
                    model, optimizer, part, context, augment, self.batch_size, loss_function=loss, stream=step
                )
                for step, (part, loss) in work.items()
            }
            context.observe("epoch", stage="removal", epoch=done + 1, model=model, **losses)
