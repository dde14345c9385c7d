"""The Beneficiary of V&B (Zhu et al., ICCV 2023, Sec. 3.4, 3.5): the network that is delivered."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from defenselib.defenses.vab_victim import suppress
from defenselib.errors import check_choice, check_range
from defenselib.learning import mixing
from defenselib.learning.batches import endless, shuffled
from defenselib.learning.capture import captured
from defenselib.learning.context import Context
from defenselib.learning.losses import one_hot, soft_cross_entropy
from defenselib.learning.semi_supervised import Trainee
from defenselib.learning.supervised import check_finite, descend, one_pass
from defenselib.models import Classifier

AUGMENTATIONS = ("attentionmix", "attentive-cutmix", "cutmix", "mixup", "none")


@dataclass(frozen=True)
class Mixing:
    """Which augmentation mixes the labelled images, and its parameters (see `learning.mixing`)."""

    kind: str
    threshold: float
    resize: str
    alpha: float
    share: float

    def __post_init__(self) -> None:
        check_choice("augmentation", self.kind, AUGMENTATIONS)
        check_choice("attention_resize", self.resize, mixing.RESIZES)
        check_range("mix_threshold", self.threshold, 0.0, 1.0)
        check_range("attentive_share", self.share, 0.0, 1.0)
        check_range("mixing_alpha", self.alpha, 1e-3, float("inf"))

    def __call__(
        self, model: Classifier, views: list[Tensor], targets: Tensor, context: Context
    ) -> tuple[Tensor, Tensor]:
        """All views and their targets, mixed with a random permutation of themselves.

        views: float (B, 3, H, W) each; targets: (V B, C). Attention is the model's own, in train mode as in the
        authors' code, without gradient.
        """
        images = torch.cat(views)
        if self.kind == "none":
            return images, targets
        stream = context.generator("vab/mix")
        partner = torch.randperm(len(images), generator=stream, device=images.device)
        if self.kind == "mixup":
            return mixing.mixup(images, targets, partner, stream, self.alpha)
        if self.kind == "cutmix":
            return mixing.cutmix(images, targets, partner, stream, self.alpha)
        with torch.no_grad(), context.autocast():
            maps = torch.cat([model.maps(view) for view in views])
        found = mixing.attention(maps, (images.shape[2], images.shape[3]), self.resize)
        if self.kind == "attentive-cutmix":
            return mixing.attentive_cutmix(images, targets, found, partner, self.share)
        return mixing.attention_mix(images, targets, found, partner, self.threshold)


def pace(credible: int, suspicious: int, batch_size: int) -> tuple[int, int]:
    """Steps of an epoch of stage 3, and suspicious samples in each, for so many credible and suspicious samples."""
    steps = credible // batch_size + 1
    return steps, max(1, suspicious // steps)


@dataclass(frozen=True)
class Beneficiary:
    """F_b with its optimizer and how its images are augmented; `views` augmented copies of an image enter a step."""

    trainee: Trainee
    mixing: Mixing
    batch_size: int
    views: int

    def clean_epoch(self, credible: Tensor) -> dict[str, float]:
        """One pass over the credible samples with their labels (Eq. 9). credible: int64 positions."""
        self.trainee.model.train()
        order = self.trainee.context.generator("vab/order")
        batches = (credible[chosen] for chosen in shuffled(len(credible), self.batch_size, order))

        def loss(index: Tensor) -> Tensor:
            return self._labelled(index, self.trainee.one_hot(index))

        it = self.trainee
        return {"loss_c": one_pass(loss, batches, it.optimizer, None, "clean", (it.context, it.train))}

    def suppression_epoch(
        self, credible: Tensor, suspicious: Tensor, victim: Tensor, alpha: float, suppression: str
    ) -> dict[str, float]:
        """As many steps as full credible batches fit, and one; the suspicious samples are spread over them (Eq. 11).

        credible, suspicious: int64 positions. victim: its probabilities for all samples, (N, C). alpha: weight of the
        suspicious loss. suppression: whose labels the Victim suppresses ("both", "suspicious", "none").
        """
        self.trainee.model.train()
        order = self.trainee.context.generator("vab/order")
        steps, share = pace(len(credible), len(suspicious), self.batch_size)
        index_c = endless(credible, min(self.batch_size, len(credible)), steps, order)
        index_s = endless(suspicious, share, steps, order) if len(suspicious) else suspicious.expand(steps, 0)

        def step(index: Tensor, hidden: Tensor) -> Tensor:
            targets = self.trainee.one_hot(index)
            if suppression == "both":
                targets = suppress(targets, victim[index])
            loss_c = self._labelled(index, targets)
            loss_s = torch.zeros_like(loss_c)
            if len(hidden):
                loss_s = self._relabelled(hidden, victim[hidden] if suppression != "none" else None)
            descend(loss_c + alpha * loss_s, self.trainee.optimizer)
            return torch.stack([loss_c.detach(), loss_s.detach()])

        it = self.trainee
        run = captured(step, steps, it.context, it.optimizer, it.train)
        sums = torch.zeros(2, device=order.device)
        for number in range(steps):
            sums += run(index_c[number], index_s[number])
        means = [check_finite(value / steps, "suppression") for value in sums.tolist()]
        return {"loss_c": means[0], "loss_s": means[1], "alpha": alpha}

    def _labelled(self, index: Tensor, targets: Tensor) -> Tensor:
        """Mean soft cross-entropy of mixed views; a forward pass a view, so that a BatchNorm batch has its size."""
        model, context = self.trainee.model, self.trainee.context
        images, mixed = self.mixing(model, self._views(index), targets.repeat(self.views, 1), context)
        with context.autocast():
            logits = torch.cat([model(part).float() for part in images.split(len(index))])
        return soft_cross_entropy(logits, mixed).mean()

    def _relabelled(self, index: Tensor, victim: Tensor | None) -> Tensor:
        """Mean soft cross-entropy of views with pseudo-labels: the class of the largest mean prediction (Sec. 3.5).

        In train mode a second pass over the same views would predict the same, so one serves labels and gradient.
        """
        with self.trainee.context.autocast():
            logits = torch.stack([self.trainee.model(view).float() for view in self._views(index)])
        targets = one_hot(logits.detach().softmax(2).mean(0).argmax(1), logits.shape[2])
        if victim is not None:
            targets = suppress(targets, victim)
        return soft_cross_entropy(logits.flatten(0, 1), targets.repeat(self.views, 1)).mean()

    def _views(self, index: Tensor) -> list[Tensor]:
        seen = self.trainee.looks([index] * self.views, self.trainee.context.generator("vab/augment"))
        return list(seen.split(len(index)))
