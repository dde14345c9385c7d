"""Spectral signatures as a defense: filter the training set, train anew (Tran, Li, Madry, NeurIPS 2018)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from defenselib.data.types import ImageSet
from defenselib.defenses.base import BuildModel, Fitted
from defenselib.defenses.none import Undefended
from defenselib.defenses.scores import features, spectral_signatures
from defenselib.defenses.settings import Scheduled
from defenselib.errors import InvalidValueError, check_range
from defenselib.learning.context import Context
from defenselib.learning.settings import part_of
from defenselib.models import Classifier


@dataclass(frozen=True, kw_only=True)
class Spectral(Scheduled):
    """Remove, from every label, the share with the largest spectral signatures of the undefended model, and train the
    model anew on the others (Tran et al. Alg. 1).

    removed_share: 1.5 times the share of a label that may be poison; 0.15 stands for a tenth, as in BackdoorBench.
    The other hyper-parameters are those of the new training, with the defaults of the undefended model.
    Stage: "train".
    """

    name = "spectral"
    post_training = True

    removed_share: float = 0.15

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("removed_share", self.removed_share, 0.0, 0.9)

    def fit(self, train: ImageSet, build_model: BuildModel, context: Context) -> Fitted:
        undefended = None if context.upstream is None else context.upstream.model
        if not isinstance(undefended, Classifier):
            raise InvalidValueError("spectral signatures need the undefended model (context.upstream)")
        scores = spectral_signatures(features(undefended, train.images, context), train.labels)
        removed = highest_of_each(scores, train.labels, self.removed_share)
        kept = torch.ones_like(train.labels, dtype=torch.bool)
        kept[removed] = False
        context.observe("scores", name="spectral_signature", epoch=0, values=scores)
        context.observe("split", stage="filter", epoch=0, clean=torch.nonzero(kept).squeeze(1), scores=scores)
        fitted = part_of(self, Undefended).fit(train.select(kept).channels_last(), build_model, context)
        return replace(fitted, suspects=removed)


def highest_of_each(scores: Tensor, labels: Tensor, share: float) -> Tensor:
    """Positions of the int(n * share) highest scores of each label with n samples, ties in index order, sorted."""
    chosen = []
    for label in labels.unique():
        members = torch.nonzero(labels == label).squeeze(1)
        order = scores[members].argsort(descending=True, stable=True)
        chosen.append(members[order[: int(len(members) * share)]])
    return torch.cat(chosen).sort().values
