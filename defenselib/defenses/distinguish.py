"""Telling poisoned from clean samples by how transformations move their features (D-ST/D-BR, NeurIPS 2022, Sec. 3.2).

Symbols of the paper: tau = transforms, alpha_c = clean_share, alpha_p = poison_share, e_t = sd_epochs,
e_ft = sd_tuning_epochs (5 in App. A.1, 10 in App. C.5), D_c, D_p, D_u = the clean, poisoned and uncertain samples.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from defenselib.data.augment.crop_flip import Augment
from defenselib.data.augment.transforms import named
from defenselib.data.tensors import to_float
from defenselib.data.types import ImageSet
from defenselib.defenses import scores
from defenselib.defenses.base import BuildModel, Defense
from defenselib.errors import (
    InvalidValueError,
    check_batch_sizes,
    check_choice,
    check_counts,
    check_fields,
    check_positive,
    check_range,
)
from defenselib.learning.batches import shuffled
from defenselib.learning.context import Context
from defenselib.learning.losses import one_hot
from defenselib.learning.settings import part_of, stage_key
from defenselib.learning.supervised import make_optimizer, one_pass, supervised_epoch
from defenselib.models import Classifier

TIES = ("shuffle", "threshold")
# Fig. 4 compares the first with the others.
METRICS = ("fct", "spectral", "sce", "loss-ascent")


@dataclass(frozen=True)
class Split:
    """The three parts of a training set, sorted int64 positions, and the scores (N,) that made it: high is poison."""

    clean: Tensor
    poison: Tensor
    uncertain: Tensor
    scores: Tensor

    def metrics(self, labels: Tensor, classes: int) -> dict[str, float]:
        """The scores between which the parts lie, and how many labels have no sample in the clean part."""
        counts = torch.bincount(labels[self.clean], minlength=classes)
        found = {"classes_not_in_clean": float((counts == 0).sum())}
        if len(self.clean):
            found["gamma_c"] = self.scores[self.clean].max().item()
        if len(self.poison):
            found["gamma_p"] = self.scores[self.poison].min().item()
        return found


def split_by_rank(
    values: Tensor, clean_share: float, poison_share: float, ties: str, generator: torch.Generator
) -> Split:
    """The lowest share is clean, the highest poisoned, the rest uncertain (Alg. 1, lines 7 to 17).

    ties "shuffle": exactly floor(share * N) samples each, equal values in random order. "threshold": as the algorithm
    is printed, all values up to the one at rank clean_share * N, and of the others all from the one at rank
    (1 - poison_share) * N on: with many equal values far more than the shares. Raises InvalidValueError for NaN.
    """
    n, device = len(values), values.device
    if values.isnan().any():
        raise InvalidValueError("a score is NaN; lower sd_learning_rate or use fp32")
    # The small number undoes what binary fractions lose: 0.29 * 100 is 28.999...
    few, many = (int(share * n + 1e-9) for share in (clean_share, poison_share))
    part = torch.zeros(n, dtype=torch.int64, device=device)
    if ties == "shuffle":
        mixed = torch.randperm(n, generator=generator, device=device)
        order = mixed[values[mixed].argsort(stable=True)]
        part[order[:few]], part[order[n - many :]] = 1, 2
    else:
        ranked = values.sort().values
        if many:
            part[values >= ranked[n - many]] = 2
        if few:
            part[values <= ranked[min(few, n - 1)]] = 1
    clean, poison, uncertain = (torch.nonzero(part == which).squeeze(1) for which in (1, 2, 0))
    return Split(clean, poison, uncertain, values)


@dataclass(frozen=True)
class BriefTraining:
    """How the scoring model is made (Alg. 2, lines 1 to 5): cross-entropy, then the intra-class loss, both with SGD at
    a rate that falls by a cosine over `horizon` epochs, so hardly at all, and without any augmentation."""

    epochs: int = 2
    tuning_epochs: int = 10
    batch_size: int = 128
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    horizon: int = 100

    def models(self, train: ImageSet, build_model: BuildModel, context: Context) -> tuple[Classifier, Classifier]:
        """The model after the brief training, and after the intra-class fine-tuning; from the store where a method
        with the same settings made them before. Stages: "implant", "spread"."""
        key = stage_key("distinguish", **asdict(self))
        states = context.cached(key, partial(_train, self, train, build_model, context))
        found = []
        for part in ("implanted", "tuned"):
            model = build_model("distinguish")
            state = {name.removeprefix(f"{part}/"): v for name, v in states.items() if name.startswith(f"{part}/")}
            model.load_state_dict(state)
            found.append(model)
        return found[0], found[1]


def _train(settings: BriefTraining, train: ImageSet, build_model: BuildModel, context: Context) -> dict[str, Tensor]:
    model = build_model("distinguish")
    optimizer = make_optimizer(
        list(model.parameters()), "sgd", settings.learning_rate, settings.momentum, settings.weight_decay
    )

    def cosine(epoch: int) -> float:
        return 0.5 * (1 + math.cos(math.pi * epoch / settings.horizon))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, cosine)
    # One optimizer for both steps: the authors' code hands its state on.
    state = {"model": model, "optimizer": optimizer, "schedule": schedule}
    plain = Augment(0, flip=False)
    for _ in context.epochs("implant", settings.epochs, **state):
        supervised_epoch(model, optimizer, train, context, plain, settings.batch_size, stream="implant")
        schedule.step()
    kept = {f"implanted/{name}": value.clone() for name, value in model.state_dict().items()}
    for _ in context.epochs("spread", settings.tuning_epochs, kept=kept, **state):
        intra_class_epoch(model, optimizer, train, settings.batch_size, context)
        schedule.step()
    return kept | {f"tuned/{name}": value for name, value in model.state_dict().items()}


def intra_class_loss(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Eq. 8 over a batch: (1 / K^2) sum over i != j of cos(c_i, c_j), c_i the mean feature of label i.

    features: float (B, D); labels: int64 (B,). K counts the labels that occur in the batch.
    """
    member = one_hot(labels, classes).to(features.dtype)
    counts = member.sum(0)
    # A label that does not occur has a zero centre, which adds nothing to either sum.
    unit = F.normalize(member.T @ features / counts.clamp(min=1)[:, None], dim=1, eps=1e-8)
    total = unit.sum(0).square().sum() - unit.square().sum()
    return total / (counts > 0).sum().square()


def intra_class_epoch(
    model: Classifier, optimizer: torch.optim.Optimizer, train: ImageSet, batch_size: int, context: Context
) -> float:
    """One pass that pushes the labels' centres apart (Alg. 2, line 5); returns the mean loss. No augmentation."""
    model.train()
    order = context.generator("spread/order")

    def loss(index: Tensor) -> Tensor:
        with context.autocast():
            found = model.features(to_float(train.images[index]))
        return intra_class_loss(found.float(), train.labels[index], model.head.out_features)

    return one_pass(loss, shuffled(len(train), batch_size, order), optimizer, None, "spread", (context, train))


@dataclass(frozen=True, kw_only=True)
class Distinguishing(Defense):
    """What D-ST and D-BR have in common: the sample-distinguishment module.

    A model trained briefly without augmentation takes in the trigger; the intra-class loss spreads its features; the
    feature consistency towards transformations (FCT, Eq. 1) of every sample ranks the training set. One draw of tau a
    sample, or the mean of `draws`, serves both thresholds and split. The lowest clean_share and the highest
    poison_share are believed to be clean and poisoned.

    metric: other scores in the place of FCT (Fig. 4), taken before the fine-tuning, which serves FCT alone: spectral
    signatures, symmetric cross-entropy, or the loss of a model trained by local gradient ascent (for sd_tuning_epochs;
    low is poison there). Defaults: App. C.5, and the authors' code for the optimizer.
    """

    clean_share: float = 0.2
    poison_share: float = 0.05
    transforms: tuple[str, ...] = ("rotate", "affine")
    draws: int = 1
    metric: str = "fct"
    ties: str = "shuffle"
    sd_epochs: int = 2
    sd_tuning_epochs: int = 10
    sd_batch_size: int = 128
    sd_learning_rate: float = 0.01
    sd_momentum: float = 0.9
    sd_weight_decay: float = 5e-4
    sd_horizon: int = 100

    def __post_init__(self) -> None:
        check_fields(self, 0.0, 1.0, "clean_share", "poison_share")
        if self.clean_share + self.poison_share > 1:
            raise InvalidValueError(
                f"clean_share {self.clean_share} and poison_share {self.poison_share} are more than all samples"
            )
        check_batch_sizes(self, "sd_batch_size")
        named(self.transforms)
        check_choice("metric", self.metric, METRICS)
        check_choice("ties", self.ties, TIES)
        check_counts(self, "draws", "sd_epochs", "sd_horizon")
        check_range("sd_tuning_epochs", self.sd_tuning_epochs, 0, math.inf)
        check_fields(self, 0.0, 1.0, "sd_momentum", "sd_weight_decay")
        check_positive(self, "sd_learning_rate")

    def brief_training(self) -> BriefTraining:
        """How the scoring model is trained."""
        return part_of(self, BriefTraining, "sd_")

    def split_settings(self) -> dict[str, object]:
        """Everything that decides the split."""
        return {item.name: getattr(self, item.name) for item in fields(Distinguishing)}

    def distinguish(self, train: ImageSet, build_model: BuildModel, context: Context) -> Split:
        """The three parts of the training set; scores and split are reported."""
        implanted, tuned = self.brief_training().models(train, build_model, context)
        if self.metric == "fct":
            seeds = self.draw_seeds(context)
            before = mean_fct(implanted, train, self.transforms, seeds)
            context.observe("scores", name="fct_before", epoch=self.sd_epochs, values=before)
            values = mean_fct(tuned, train, self.transforms, seeds)
        elif self.metric == "spectral":
            values = scores.spectral_signatures(scores.features(implanted, train.images), train.labels)
        elif self.metric == "sce":
            values = scores.sce(implanted, train.images, train.labels)
        else:
            model = build_model("loss-ascent")
            epochs = max(1, self.sd_tuning_epochs)
            values = -scores.loss_under_ascent(model, scores.nesterov(model), train, context, epochs=epochs)
        split = split_by_rank(
            values, self.clean_share, self.poison_share, self.ties, context.generator("distinguish/ties")
        )
        context.observe("scores", name=self.metric, epoch=self.sd_epochs + self.sd_tuning_epochs, values=values)
        context.observe("split", stage="distinguish", epoch=0, clean=split.clean, poison=split.poison)
        return split

    def draw_seeds(self, context: Context) -> tuple[int, ...]:
        """Seeds of the draws of tau: whoever scores with them sees the same transformed images."""
        stream = context.generator("distinguish/tau")
        found = torch.randint(2**62, (self.draws,), generator=stream, device=stream.device)
        return tuple(int(seed) for seed in found)


def mean_fct(model: Classifier, train: ImageSet, transforms: tuple[str, ...], seeds: tuple[int, ...]) -> Tensor:
    """FCT (Eq. 1) of every sample, (N,), mean over the draws. In full precision: only the ranking counts."""
    found = [scores.fct(model, train.images, transforms, seed) for seed in seeds]
    return torch.stack(found).mean(0)
