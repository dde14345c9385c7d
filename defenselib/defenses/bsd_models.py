"""BSD's models at work: what a fit shares, and the open-set scores that their features give (Sec. 4, App. D.8)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from defenselib.data.augment.crop_flip import Augment
from defenselib.data.types import ImageSet
from defenselib.defenses import bsd_split as split
from defenselib.defenses.base import BuildModel
from defenselib.defenses.bsd_target import Altruist
from defenselib.defenses.scores import features
from defenselib.learning.context import Context
from defenselib.learning.semi_supervised import MixMatch, Trainee
from defenselib.learning.supervised import make_optimizer
from defenselib.models import Classifier


@dataclass
class Run:
    """What one fit works on. memory: tensors that outlive an epoch and are saved with it."""

    train: ImageSet
    context: Context
    augment: Augment
    learner: MixMatch
    altruist: Altruist
    target: int = -1
    memory: dict[str, Tensor] = field(default_factory=dict)

    def trainee(self, model: Classifier, optimizer: torch.optim.Optimizer) -> Trainee:
        return Trainee(model, optimizer, self.train, self.context, self.augment)

    def complement(self, pool: Tensor) -> Tensor:
        return split.complement(pool, len(self.train))

    def report(self, epoch: int, **scores: Tensor) -> None:
        for name, values in scores.items():
            self.context.observe("scores", name=name, epoch=epoch, values=values)


def open_set_scores(model: Classifier, train: ImageSet, target: int, context: Context) -> dict[str, Tensor]:
    """The OSS scores (Eq. 6) of all samples by every rule of `bsd_split.DISTANCES`, (N,) each."""
    found = features(model, train.images, context)
    return {rule: split.oss_scores(found, train.labels, target, rule) for rule in split.DISTANCES}


def oss_of_every_class(run: Run, build_model: BuildModel, epochs: int, learning_rate: float, distance: str) -> Tensor:
    """OSS scores of every sample from the run that takes its label for the target, (N,) (App. D.8).

    Each class has a main model of its own, from the same initial weights, trained `epochs` epochs without the labels
    of that class (stage "oss/CLASS").
    """
    labels = run.train.labels
    scores = torch.full((len(labels),), float("nan"), device=labels.device)
    for target in labels.unique().tolist():
        model = build_model()
        trainee = run.trainee(model, make_optimizer(list(model.parameters()), "adam", learning_rate))
        members = labels == target
        labelled, unlabelled = (~members).nonzero().squeeze(1), members.nonzero().squeeze(1)
        for epoch in run.context.epochs(f"oss/{target}", epochs, model=model, optimizer=trainee.optimizer):
            losses = run.learner.train_epoch(trainee, labelled, unlabelled, epoch)
            run.context.observe("epoch", stage=f"oss/{target}", epoch=epoch, model=model, **losses)
        found = features(model, run.train.images, run.context)
        scores[members] = split.oss_scores(found, labels, target, distance)[members]
    run.report(epochs, **{f"distance_{distance}": scores})
    return scores
