"""V&B: the Victim and the Beneficiary (Zhu et al., ICCV 2023).

Symbols of the paper: F_v = Victim, F_b = Beneficiary, t_f = threshold, t_m = mix_threshold, alpha = alpha (a value for
each equal part of stage 3), D_s and D_c = suspicious and credible samples, e = normalised entropy of the Victim's
prediction.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from defenselib.data.types import ImageSet
from defenselib.defenses.base import BuildModel, Fitted
from defenselib.defenses.settings import Scheduled
from defenselib.defenses.vab_beneficiary import Beneficiary, Mixing
from defenselib.defenses.vab_victim import Victim, fit_mixture
from defenselib.errors import (
    InvalidValueError,
    check_batch_sizes,
    check_choice,
    check_counts,
    check_fields,
    check_not_negative,
    check_positive,
    check_range,
    check_shares,
)
from defenselib.learning.context import Context
from defenselib.learning.semi_supervised import Trainee
from defenselib.learning.supervised import Schedule, make_optimizer

WARMUPS = ("scheduled", "automatic")
SUPPRESSIONS = ("both", "suspicious", "none")


@dataclass(frozen=True, kw_only=True)
class VAB(Scheduled):
    """Three stages (Sec. 3.3 to 3.5) with two networks.

    Stage "warmup": the Victim learns everything for an epoch, then only what it is sure about, below a threshold that
    falls linearly from 1 to t_f. Stage "clean": the Beneficiary learns the credible samples with AttentionMix; every
    `victim_interval` epochs the Victim learns the suspicious ones and splits anew. Stage "suppression": the
    Beneficiary also relabels the suspicious samples, and what the Victim predicts is taken from all labels; the Victim
    goes on every `victim_interval_suppression` epochs. `epochs` are the Beneficiary's in all, its rate changes between
    epochs.

    Ablations: Table 4 is augmentation="none" and semi_supervised=False (F), semi_supervised=False (F + AT), suppression
    "none" (F + AT + SST) and "suspicious"; without stage 3 all epochs are clean training. Table 3: augmentation, with
    mixing_alpha for Mixup and Cutmix, attentive_share for Attentive Cutmix. Table 6: warmup="automatic" (App. A.3): a
    Gaussian mixture tells the suspicious until mu_1 + separation sigma_1 < mu_2, for automatic_epochs at most, then
    t_f = mu_1 + margin sigma_1.

    Where the authors' code and the paper differ the defaults follow the code, from which the printed numbers come; the
    paper's reading is weight_decay=1e-4, suppression_temperature=1.0, attention_resize="bilinear", smoothing=1.0 (the
    weight of the newest of the Victim's entropies in a running mean). Only the code states victim_weight_decay,
    victim_batch_size, victim_interval_suppression and the number of views.
    """

    name = "vab"

    warmup: str = "scheduled"
    warmup_epochs: int = 3
    threshold: float = 0.2
    smoothing: float = 0.75
    automatic_epochs: int = 20
    separation: float = 3.0
    margin: float = 0.5
    victim_learning_rate: float = 0.001
    victim_weight_decay: float = 5e-4
    victim_batch_size: int = 128
    victim_interval: int = 5
    victim_interval_suppression: int = 1
    clean_epochs: int = 100
    semi_supervised: bool = True
    suppression: str = "both"
    suppression_temperature: float = 3.0
    alpha: tuple[float, ...] = (0.1, 0.5)
    augmentation: str = "attentionmix"
    mix_threshold: float = 0.1
    attention_resize: str = "nearest"
    mixing_alpha: float = 1.0
    attentive_share: float = 6 / 49
    views: int = 2
    milestones: tuple[int, ...] = (50, 100, 150)
    padding_mode: str = "zeros"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("warmup", self.warmup, WARMUPS)
        check_choice("suppression", self.suppression, SUPPRESSIONS)
        check_batch_sizes(self, "victim_batch_size")
        check_positive(self, "victim_learning_rate")
        check_shares(self, "victim_weight_decay")
        check_not_negative(self, "margin")
        check_fields(self, 0.0, 1.0, "threshold", "smoothing")
        check_counts(self, "warmup_epochs", "automatic_epochs", "victim_interval")
        check_counts(self, "victim_interval_suppression", "views")
        check_range("separation", self.separation, 0.0, float("inf"))
        if not 1 <= self.clean_epochs <= self.epochs:
            raise InvalidValueError(
                f"clean_epochs {self.clean_epochs}, epochs {self.epochs}: need 1 <= clean_epochs <= epochs"
            )
        if not self.suppression_temperature > 0 or not self.alpha or min(self.alpha) < 0:
            raise InvalidValueError(
                f"suppression_temperature {self.suppression_temperature} must be positive, alpha {self.alpha} hold at "
                "least one value, none of them negative"
            )
        self._mixing()

    def _mixing(self) -> Mixing:
        return Mixing(
            self.augmentation, self.mix_threshold, self.attention_resize, self.mixing_alpha, self.attentive_share
        )

    @property
    def clean_end(self) -> int:
        """Epochs of the Beneficiary before stage 3."""
        return self.clean_epochs if self.semi_supervised else self.epochs

    def fit(self, train: ImageSet, build_model: BuildModel, context: Context) -> Fitted:
        victim_model = build_model("victim")
        adam = make_optimizer(
            list(victim_model.parameters()), "adam", self.victim_learning_rate, weight_decay=self.victim_weight_decay
        )
        victim = Victim(victim_model, adam, self.victim_batch_size, self.smoothing, train, context)
        self.warm_up(victim, context)
        model = build_model("beneficiary")
        trainee = Trainee(model, self.sgd(model), train, context, self.augment(context))
        beneficiary = Beneficiary(trainee, self._mixing(), self.batch_size, self.views)
        self.train_beneficiary(beneficiary, victim, context)
        metrics = {"threshold": victim.threshold, "victim_rounds": float(victim.rounds)}
        return Fitted(model, metrics, suspects=victim.suspicious)

    def warm_up(self, victim: Victim, context: Context) -> None:
        """Stage 1: train, look, split, until the Victim tells poison from clean (Sec. 3.3)."""
        automatic = self.warmup == "automatic"
        epochs = self.automatic_epochs if automatic else self.warmup_epochs
        state = {"model": victim.model, "optimizer": victim.optimizer, "memory": victim.memory}
        for epoch in context.epochs("warmup", epochs, **state):
            if automatic and victim.fixed:
                continue  # the mixture was separated earlier: how many epochs that takes is not known beforehand
            loss = victim.train_epoch()
            seen = victim.judge()
            if automatic:
                self.split_by_mixture(victim, context, last=epoch + 1 == epochs)
            else:
                victim.split(self.threshold_of(epoch + 1))
            context.observe("scores", name="raw_entropy", epoch=victim.rounds, values=seen)
            victim.report("warmup", scores=True)
            context.observe("epoch", stage="warmup", epoch=epoch, model=victim.model, loss=loss)

    def threshold_of(self, epoch: int) -> float:
        """Threshold for the Victim's training epoch, counted from 0: linear from 1 to t_f, which it then keeps."""
        done = min(epoch / (self.warmup_epochs - 1), 1.0) if self.warmup_epochs > 1 else 1.0
        return 1.0 - (1.0 - self.threshold) * done

    def split_by_mixture(self, victim: Victim, context: Context, last: bool) -> None:
        """Split by the mixture, or by the threshold that it gives once it is separated (App. A.3)."""
        seed = torch.randint(2**31, (), generator=context.generator("vab/mixture"), device=context.device)
        found = fit_mixture(victim.normalised(), int(seed))
        if last or found.separated(self.separation):
            victim.split(found.below(self.margin))
        else:
            victim.split_by(found)

    def train_beneficiary(self, beneficiary: Beneficiary, victim: Victim, context: Context) -> None:
        """Stages 2 and 3 (Sec. 3.4, 3.5)."""
        # The number of steps changes with the credible set: the rate follows the epochs.
        model, optimizer = beneficiary.trainee.model, beneficiary.trainee.optimizer
        schedule = Schedule(self.schedule, tuple(self.milestones)).attach(optimizer, self.epochs, 1)
        state = {"model": model, "optimizer": optimizer, "schedule": schedule}
        state |= {"victim": victim.model, "victim_optimizer": victim.optimizer, "memory": victim.memory}
        for epoch in context.epochs("clean", self.clean_end, **state):
            losses = beneficiary.clean_epoch(victim.credible)
            schedule.step()
            if (epoch + 1) % self.victim_interval == 0:
                victim.update()
            victim.report("clean", scores=epoch + 1 == self.clean_end)
            context.observe("epoch", stage="clean", epoch=epoch, model=model, **losses)
        late = self.epochs - self.clean_end
        for epoch in context.epochs("suppression", late, **state):
            alpha = self.alpha[epoch * len(self.alpha) // late]
            shown = victim.probabilities(self.suppression_temperature)
            losses = beneficiary.suppression_epoch(victim.credible, victim.suspicious, shown, alpha, self.suppression)
            schedule.step()
            if (epoch + 1) % self.victim_interval_suppression == 0:
                victim.update()
            victim.report("suppression", scores=epoch + 1 == late)
            context.observe("epoch", stage="suppression", epoch=epoch, model=model, **losses)
