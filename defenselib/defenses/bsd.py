"""BSD: bi-perspective splitting (Shen et al., ICML 2025).

Symbols of the paper: f = main model, g = altruistic model, T1 = stage1_end, T2 = stage2_end, T3 = epochs, D = training
set, S = score of open-set splitting (OSS, Eq. 6), I = loss of g minus loss of f (Eq. 9), y_t = target label.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from defenselib.data.types import ImageSet
from defenselib.defenses import bsd_split as split
from defenselib.defenses.base import BuildModel, Fitted
from defenselib.defenses.bsd_models import Altruist, Run, open_set_scores, oss_of_every_class
from defenselib.defenses.settings import MixMatched
from defenselib.errors import (
    InvalidValueError,
    check_batch_sizes,
    check_choice,
    check_counts,
    check_not_negative,
    check_positive,
    check_range,
)
from defenselib.learning.batches import infer
from defenselib.learning.context import Context
from defenselib.learning.semi_supervised import Trainee
from defenselib.learning.supervised import make_optimizer
from defenselib.models import Classifier

# How the pools of OSS and ALS make the first one (Eq. 3; Alg. 1).
COMBINED = {"intersection": split.intersection, "union": split.union}
CHOICES = {
    "altruistic_update": ("supervised", "mixmatch"),
    "target_vote": ("second-choice", "isolation"),
    "distance": split.DISTANCES,
    "als_ratio": ("alpha", "beta"),
    "als_time": ("stage1", "warmup"),
    "initial_pool": (*COMBINED, "random", "random-late"),
    "completion_count": ("labels", "predictions"),
}


@dataclass(frozen=True, kw_only=True)
class BSD(MixMatched):
    """Pools from two perspectives, semantics (OSS) and loss statistics (ALS), then from two models' losses (Alg. 1).

    Stage "warmup": the altruistic model g is trained on everything and so backdoored; its epochs vote on y_t.
    Stage "bsd", epochs T from 0: the main model f is trained by MixMatch, and g goes on until T2. T < T1: labels of
    all classes but y_t. The next `pool_epochs`: the intersection of OSS and ALS. T < T2: the growing share of largest
    I, the rarest class completed. T < T3: the share alpha, without what both models take for y_t. Losses, features
    and predictions are those of evaluation mode without augmentation at the start of the epoch.

    Ablations: initial_pool "random" (Table 6, "w/o Init": a share beta from T = 0 on; "random-late" keeps f's
    warm-up), completion, dropping (Table 6), distance (Fig. 8), target_vote "isolation" (Table 8), pseudo_target >= 0
    (y_t by force, Fig. 10), all_to_all (App. D.8: OSS with every class as target in stages "oss/CLASS", then a new f;
    no stage 3). Readings: altruistic_update ("mixmatch" on GTSRB, App. B.4, with all labels: g on f's pools would
    lose the backdoor), als_ratio (whether Eq. 7 takes alpha or what alpha grows from), als_time (g's losses at T1 or
    after its warm-up), initial_pool "union" (printed in Alg. 1, against Eq. 3), completion_count (the rarest class of
    Eq. 8 by given label or by f's prediction). The coefficients of the symmetric cross-entropy are ASD's.
    """

    name = "bsd"

    warmup_epochs: int = 25
    altruistic_learning_rate: float = 0.001
    altruistic_batch_size: int = 128
    altruistic_update: str = "supervised"
    target_vote: str = "second-choice"
    lga_gamma: float = 0.5
    isolation: float = 0.01
    pseudo_target: int = -1
    all_to_all: bool = False
    stage1_end: int = 20
    pool_epochs: int = 10
    stage2_end: int = 90
    epochs: int = 120
    alpha: float = 0.6
    beta: float = 0.2
    distance: str = "min"
    als_ratio: str = "alpha"
    als_time: str = "stage1"
    initial_pool: str = "intersection"
    completion: bool = True
    completion_count: str = "labels"
    dropping: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for what, allowed in CHOICES.items():
            check_choice(what, getattr(self, what), allowed)
        if self.pool_epochs < 1 or not 0 <= self.stage1_end <= self.pool_end <= self.stage2_end <= self.epochs:
            raise InvalidValueError(
                f"stage1_end {self.stage1_end}, pool_epochs {self.pool_epochs}, stage2_end {self.stage2_end}, epochs "
                f"{self.epochs}: need pool_epochs >= 1 and 0 <= stage1_end + pool_epochs <= stage2_end <= epochs"
            )
        if not 0.0 < self.beta <= self.alpha < 1.0:
            raise InvalidValueError(f"beta is {self.beta}, alpha is {self.alpha}; need 0 < beta <= alpha < 1")
        check_batch_sizes(self, "altruistic_batch_size")
        check_positive(self, "altruistic_learning_rate")
        check_not_negative(self, "lga_gamma")
        check_range("isolation", self.isolation, 0.0, 1.0)
        check_range("pseudo_target", self.pseudo_target, -1, float("inf"))
        check_counts(self, "warmup_epochs")

    @property
    def pool_end(self) -> int:
        """Epoch from which the pools follow the losses."""
        return self.stage1_end + self.pool_epochs

    @property
    def first_epoch(self) -> int:
        """Under all-to-all f starts at T1, on pools of models that are no longer needed."""
        return self.stage1_end if self.all_to_all and self.initial_pool in COMBINED else 0

    @property
    def end(self) -> int:
        """Epochs of f: all-to-all attacks have no target to drop, so training stops at T2 (App. D.8)."""
        return self.stage2_end if self.all_to_all else self.epochs

    def fit(self, train: ImageSet, build_model: BuildModel, context: Context) -> Fitted:
        run = self.start(train, build_model("altruistic"), context)
        run.memory["warmup_loss"], _ = self.judge(run, run.altruist.model)
        run.report(0, altruistic_loss=run.memory["warmup_loss"])
        if self.all_to_all and self.initial_pool in COMBINED:
            run.memory["oss"] = oss_of_every_class(run, build_model, self.stage1_end, self.learning_rate, self.distance)
        model = build_model()
        self.train_main(run, model)
        run.report(self.end, loss=self.judge(run, model)[0], altruistic_loss=self.judge_altruist(run, self.end)[0])
        return Fitted(model, suspects=run.complement(run.memory["clean"]))

    def start(self, train: ImageSet, model: Classifier, context: Context) -> Run:
        """Warm g up and find y_t."""
        check_range("pseudo_target", self.pseudo_target, -1, model.head.out_features - 1)
        augment = self.augment(context)
        adam = make_optimizer(list(model.parameters()), "adam", self.altruistic_learning_rate)
        altruist = Altruist(Trainee(model, adam, train, context, augment), self.altruistic_batch_size)
        run = Run(train, context, augment, self.mixmatch(), altruist)
        if self.target_vote == "isolation":
            run.target = altruist.warm_up_by_ascent(
                self.warmup_epochs, self.lga_gamma, self.isolation, self.pseudo_target
            )
        else:
            run.target = altruist.warm_up(self.warmup_epochs, self.pseudo_target)
        return run

    def train_main(self, run: Run, model: Classifier) -> None:
        """The main loop: rebuild the pools, update f, update g (Alg. 1, lines 15 to 42)."""
        trainee = run.trainee(model, self.adam(model))
        if self.altruistic_update == "mixmatch":
            # "The same loss and optimizer as the main model" (App. B.4).
            run.altruist.trainee = run.trainee(run.altruist.model, self.adam(run.altruist.model))
        state = {"model": model, "optimizer": trainee.optimizer, "memory": run.memory}
        state |= {"altruist": run.altruist.model, "altruist_optimizer": run.altruist.trainee.optimizer}
        for epoch in run.context.epochs("bsd", self.end, **state):
            numbers: dict[str, float] = {}
            if epoch >= self.first_epoch:
                clean, loss = self.clean_pool(run, model, epoch)
                run.memory["clean"] = clean
                run.context.observe("split", stage="bsd", epoch=epoch, clean=clean, scores=loss)
                numbers = run.learner.train_epoch(trainee, clean, run.complement(clean), epoch)
                numbers["rarest_class"] = split.rarest(clean, run.train.labels)
            if epoch < self.stage2_end:
                self.train_altruist(run, epoch)
            if epoch >= self.first_epoch:
                run.context.observe("epoch", stage="bsd", epoch=epoch, model=model, **numbers)

    def train_altruist(self, run: Run, epoch: int) -> None:
        """One epoch of g on everything, with all the given labels (Alg. 1, line 40; App. B.4)."""
        if self.altruistic_update == "supervised":
            run.altruist.epoch()
        else:
            everything = torch.arange(len(run.train), device=run.train.labels.device)
            run.learner.train_epoch(run.altruist.trainee, everything, everything, epoch)

    def clean_pool(self, run: Run, model: Classifier, epoch: int) -> tuple[Tensor, Tensor | None]:
        """The clean pool of this epoch, and f's losses where they decide it (Alg. 1, lines 16 to 35)."""
        start = 0 if self.initial_pool == "random" else self.stage1_end
        if epoch >= self.pool_end:
            return self.updated_pool(run, model, epoch)
        if epoch == start:
            return self.first_pool(run, model), None
        if epoch > start:
            return run.memory["clean"], None
        return (run.train.labels != run.target).nonzero().squeeze(1), None

    def first_pool(self, run: Run, model: Classifier) -> Tensor:
        """D_c at T1 (Eq. 3), or a random one."""
        labels, context = run.train.labels, run.context
        if self.initial_pool in ("random", "random-late"):
            draws = torch.rand(len(labels), generator=context.generator("bsd/random_pool"), device=labels.device)
            return split.top(draws, self.beta)
        scores = run.memory["oss"] if self.all_to_all else self.oss(run, model)
        loss = self.judge(run, run.altruist.model)[0]
        run.report(self.stage1_end, altruistic_loss=loss)
        if self.als_time == "warmup":
            loss = run.memory["warmup_loss"]
        by_meaning = split.oss_pool(scores, labels, self.beta)
        by_loss = split.top(loss, self.alpha if self.als_ratio == "alpha" else self.beta)  # ALS, Eq. 7
        return COMBINED[self.initial_pool](by_meaning, by_loss)

    def oss(self, run: Run, model: Classifier) -> Tensor:
        """The OSS scores of the samples labelled y_t (Eq. 6); all three distances are reported."""
        scores = open_set_scores(model, run.train, run.target, run.context)
        run.report(self.stage1_end, **{f"distance_{rule}": values for rule, values in scores.items()})
        return scores[self.distance]

    def updated_pool(self, run: Run, model: Classifier, epoch: int) -> tuple[Tensor, Tensor]:
        """Loss-guided pool: largest I, rarest class completed, from T2 on what looks like y_t to both dropped."""
        loss, predicted = self.judge(run, model)
        altruistic_loss, altruistic_predicted = self.judge_altruist(run, epoch)
        if epoch in (self.pool_end, self.stage2_end):
            run.report(epoch, loss=loss, altruistic_loss=altruistic_loss)
        ratio = split.clean_ratio(epoch, self.pool_end, self.stage2_end, self.beta, self.alpha)
        indicator = altruistic_loss - loss
        if self.completion:
            counted = predicted if self.completion_count == "predictions" else run.train.labels
            pool = split.completed(indicator, run.train.labels, ratio, counted)
        else:
            pool = split.top(indicator, ratio)
        if self.dropping and epoch >= self.stage2_end:
            pool = split.dropped(pool, predicted, altruistic_predicted, run.target)
        return pool, loss

    def judge(self, run: Run, model: Classifier) -> tuple[Tensor, Tensor]:
        """Symmetric cross-entropy with the given label, float (N,), and predicted class, int64 (N,), of every sample.

        Evaluation mode, no augmentation, one pass.
        """

        def both(logits: Tensor, index: Tensor) -> Tensor:
            return torch.stack([self.sce(logits, run.train.labels[index]), logits.argmax(1).float()], dim=1)

        found = infer(model, run.train.images, run.context, both)
        return found[:, 0].contiguous(), found[:, 1].long()

    def judge_altruist(self, run: Run, epoch: int) -> tuple[Tensor, Tensor]:
        """g's losses and predictions; they are kept once g stands still (T >= T2)."""
        if epoch < self.stage2_end:
            return self.judge(run, run.altruist.model)
        if "altruistic_loss" not in run.memory:
            loss, predicted = self.judge(run, run.altruist.model)
            run.memory |= {"altruistic_loss": loss, "altruistic_predicted": predicted}
        return run.memory["altruistic_loss"], run.memory["altruistic_predicted"]
