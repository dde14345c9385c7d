"""How BSD finds the target label: the altruistic model's warm-up, and its votes (Alg. 1, App. D.3)."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from defenselib.defenses.bsd_split import complement, top
from defenselib.defenses.scores import cross_entropy, local_gradient_ascent
from defenselib.errors import InvalidValueError
from defenselib.learning.batches import infer
from defenselib.learning.semi_supervised import Trainee
from defenselib.learning.supervised import LossFunction, supervised_epoch
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
