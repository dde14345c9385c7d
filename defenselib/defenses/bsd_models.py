"""BSD's models at work: how the altruistic one finds the target label in its warm-up (Alg. 1, App. D.3), what a fit
shares, and the open-set scores that features give (Sec. 4, App. D.8)."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from defenselib.data.augment.crop_flip import Augment
from defenselib.data.types import ImageSet
from defenselib.defenses import bsd_split as split
from defenselib.defenses.base import BuildModel
from defenselib.defenses.bsd_split import complement, top
from defenselib.defenses.scores import cross_entropy, features, local_gradient_ascent
from defenselib.errors import InvalidValueError
from defenselib.learning.batches import infer
from defenselib.learning.context import Context
from defenselib.learning.semi_supervised import MixMatch, Trainee
from defenselib.learning.supervised import LossFunction, make_optimizer, supervised_epoch
from defenselib.models import Classifier


def most_frequent(classes: Tensor) -> int:
    """The most frequent entry of int64 (N,), the lowest of equals."""
    counts = torch.bincount(classes)
    return int((counts == counts.max()).nonzero()[0])


def majority(votes: Sequence[int]) -> int:
    """The most frequent vote, the lowest of equals (Alg. 1, line 12)."""
    if not votes:
        raise InvalidValueError("there is no vote to take a majority of")
    return min(set(votes), key=lambda vote: (-votes.count(vote), vote))


def isolated(loss: Tensor, share: float) -> Tensor:
    """Positions of the share of least loss, one at least (App. D.3)."""
    return top(-loss, max(share, 1.0 / len(loss)))


@dataclass
class Altruist:
    """The altruistic model g, which is trained on everything and so backdoored, and what it learns from.

    Its optimizer keeps its state from the warm-up into the main loop.
    """

    trainee: Trainee
    batch_size: int

    @property
    def model(self) -> Classifier:
        return self.trainee.model

    def epoch(self, loss_function: LossFunction = F.cross_entropy) -> float:
        """One supervised pass over everything; returns the mean loss."""
        g = self.trainee
        return supervised_epoch(
            g.model, g.optimizer, g.train, g.context, g.augment, self.batch_size, None, loss_function, "bsd/altruistic"
        )

    def warm_up(self, epochs: int, forced: int = -1) -> int:
        """Train with cross-entropy; returns the target label that most epochs voted for (Alg. 1, lines 5 to 12).

        The vote of an epoch is the class that is most often the second most likely one. forced: the label to return
        instead, if it is not negative; the epochs vote all the same.
        """
        votes: list[int] = []
        for epoch in self._epochs(epochs, votes):
            loss = self.epoch()
            votes.append(self._second_choice())
            self._tell(epoch, loss, votes, forced if forced >= 0 else majority(votes))
        return forced if forced >= 0 else majority(votes)

    def warm_up_by_ascent(self, epochs: int, gamma: float, share: float, forced: int = -1) -> int:
        """Train by local gradient ascent; the target is the label of most isolated samples (App. D.3, Table 8).

        share: of the samples, those of least loss, that is isolated after the last epoch. The observer is told of
        every epoch's isolation as a split whose clean part is everything else.
        """
        votes: list[int] = []
        train, context = self.trainee.train, self.trainee.context
        loss_function = functools.partial(local_gradient_ascent, gamma=gamma)
        for epoch in self._epochs(epochs, votes):
            loss = self.epoch(loss_function)
            suspects = isolated(cross_entropy(self.model, train.images, train.labels, context), share)
            votes.append(most_frequent(train.labels[suspects]))
            clean = complement(suspects, len(train))
            context.observe("split", stage="warmup", epoch=epoch, clean=clean)
            self._tell(epoch, loss, votes, forced if forced >= 0 else votes[-1])
        return forced if forced >= 0 else votes[-1]

    def _epochs(self, n: int, votes: list[int]) -> Iterator[int]:
        optimizer = self.trainee.optimizer
        return self.trainee.context.epochs("warmup", n, model=self.model, optimizer=optimizer, votes=votes)

    def _tell(self, epoch: int, loss: float, votes: list[int], target: int) -> None:
        context = self.trainee.context
        context.observe("target", guess=target)
        numbers = {"loss": loss, "vote": votes[-1], "target": target}
        context.observe("epoch", stage="warmup", epoch=epoch, model=self.model, **numbers)

    def _second_choice(self) -> int:
        def second(logits: Tensor, _: Tensor) -> Tensor:
            return logits.topk(2).indices[:, 1]

        return most_frequent(infer(self.model, self.trainee.train.images, self.trainee.context, second))


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
