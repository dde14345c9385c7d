"""Contrastive learning: SimCLR (Chen et al. 2020) and SupCon (Khosla et al. 2020), losses and training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from defenselib.data.augment.views import Views
from defenselib.data.types import ImageSet
from defenselib.errors import check_batch_sizes, check_counts, check_positive, check_range, check_shares
from defenselib.learning.batches import shuffled
from defenselib.learning.context import BuildModel, Context
from defenselib.learning.settings import stage_key
from defenselib.learning.supervised import make_optimizer, one_pass
from defenselib.models import Classifier
from defenselib.seeds import initialised

ContrastiveLoss = Callable[[Tensor, Tensor, Tensor], Tensor]


def simclr_loss(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """NT-Xent (SimCLR, Eq. 1): the other view of the same image is the only positive, all other views are negatives.

    z1, z2: (B, D), row i of both from image i; they are normalised here. Returns the mean over the 2B views.

    >>> simclr_loss(torch.eye(2), torch.eye(2), 1.0)  # log(1 + 2 exp(-1))
    tensor(0.5514)
    """
    return contrastive_loss(z1, z2, torch.eye(len(z1), dtype=torch.bool, device=z1.device), temperature)


def supcon_loss(z1: Tensor, z2: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """SupCon (Eq. 2, sum outside the logarithm): all other views with the same label are positives.

    z1, z2: (B, D), normalised here; labels: int64 (B,). Returns the mean over the 2B views.
    """
    return contrastive_loss(z1, z2, labels[:, None] == labels, temperature)


def contrastive_loss(z1: Tensor, z2: Tensor, positives: Tensor, temperature: float) -> Tensor:
    """Mean over the 2B views of the mean over their positives of -log softmax(similarity / temperature).

    z1, z2: (B, D), normalised here; positives: bool (B, B), whether the views of image j are positives for those of
    image i. An image is always positive for itself (by its other view). The softmax runs over all other views.
    """
    features = F.normalize(torch.cat([z1, z2]).float(), dim=1)
    similarity = features @ features.T / temperature
    similarity.fill_diagonal_(-torch.inf)
    log_p = F.log_softmax(similarity, dim=1)
    mask = positives | torch.eye(len(z1), dtype=torch.bool, device=positives.device)
    mask = mask.repeat(2, 2).fill_diagonal_(False)
    return -(log_p.masked_fill(~mask, 0.0).sum(1) / mask.sum(1)).mean()


class ProjectionHead(nn.Sequential):
    """Linear, BatchNorm if asked for, ReLU, Linear, from `width` features to `out`."""

    def __init__(self, width: int, out: int = 128, norm: bool = True) -> None:
        hidden: list[nn.Module] = [nn.Linear(width, width), *([nn.BatchNorm1d(width)] if norm else []), nn.ReLU()]
        super().__init__(*hidden, nn.Linear(width, out))


@dataclass(frozen=True)
class Contrastive:
    """Settings of contrastive training; the defaults are DBD's SimCLR.

    The rate falls by a cosine, epoch by epoch, from learning_rate to final_share of it. In the first warmup epochs it
    rises instead, batch by batch, from a fiftieth to where the cosine then is. A positive base_temperature scales the
    loss by temperature / base_temperature, as SupCon's authors do. blur: whether half of the views are blurred.
    """

    epochs: int = 1000
    batch_size: int = 512
    learning_rate: float = 0.4
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warmup: int = 0
    final_share: float = 0.0
    temperature: float = 0.5
    base_temperature: float = 0.0
    head_norm: bool = True
    blur: bool = True

    def __post_init__(self) -> None:
        check_counts(self, "epochs")
        check_batch_sizes(self, "batch_size")
        check_shares(self, "momentum", "weight_decay")
        check_range("warmup", self.warmup, 0, self.epochs)
        check_positive(self, "temperature", "learning_rate")
        check_range("base_temperature", self.base_temperature, 0.0, math.inf)
        check_range("final_share", self.final_share, 0.0, 1.0)

    @property
    def loss_scale(self) -> float:
        return self.temperature / self.base_temperature if self.base_temperature else 1.0

    def rate(self, step: int, steps_per_epoch: int) -> float:
        """The learning rate at a step, as a factor of `learning_rate`."""

        def cosine(epoch: int) -> float:
            return self.final_share + (1 - self.final_share) * 0.5 * (1 + math.cos(math.pi * epoch / self.epochs))

        if step < self.warmup * steps_per_epoch:
            return 0.02 + (cosine(self.warmup) - 0.02) * step / (self.warmup * steps_per_epoch)
        return cosine(step // steps_per_epoch)


def train_encoder(
    stage: str,
    settings: Contrastive,
    loss: ContrastiveLoss,
    train: ImageSet,
    build_model: BuildModel,
    context: Context,
) -> Classifier:
    """A model whose features were trained from scratch by a loss (z1, z2, labels) -> scalar; its linear head is new.

    Stage of epochs and random streams: `stage`. Nothing is observed: the model cannot classify yet, and a stage that
    comes from the store leaves no trace either.
    """
    model = build_model(stage)
    make_head = partial(ProjectionHead, model.head.in_features, norm=settings.head_norm)
    head = initialised(make_head, context.generator(f"{stage}/head")).to(context.device)
    parameters = [p for name, p in model.named_parameters() if not name.startswith("head.")]
    optimizer = make_optimizer(
        [*parameters, *head.parameters()], "sgd", settings.learning_rate, settings.momentum, settings.weight_decay
    )
    steps = -(-len(train) // settings.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: settings.rate(step, steps))
    state = {"model": model, "head": head, "optimizer": optimizer, "schedule": schedule}
    for _ in context.epochs(stage, settings.epochs, **state):
        encoder_epoch(stage, settings, loss, train, model, head, optimizer, schedule, context)
    return model


def encoder_epoch(
    stage: str,
    settings: Contrastive,
    loss: ContrastiveLoss,
    train: ImageSet,
    model: Classifier,
    head: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    context: Context,
) -> float:
    """One pass over two views of every image; returns the mean loss. Random streams: see `train_encoder`."""
    views = contrastive_views(settings.blur, context)
    order, draws = context.generator(f"{stage}/order"), context.generator(f"{stage}/views")

    def step_loss(index: Tensor) -> Tensor:
        inputs = torch.cat([views(train.images, index, draws), views(train.images, index, draws)])
        with context.autocast():
            z1, z2 = head(model.features(inputs)).float().chunk(2)
        return settings.loss_scale * loss(z1, z2, train.labels[index])

    model.train()
    head.train()
    batches = shuffled(len(train), settings.batch_size, order)
    return one_pass(step_loss, batches, optimizer, schedule, stage, (context, train))


def contrastive_views(blur: bool, context: Context) -> Views:
    """SimCLR's views, with or without blur, flipped where that keeps the label."""
    return Views(flip=context.flip, blur_p=0.5 if blur else 0.0)


def simclr_encoder(settings: Contrastive, train: ImageSet, build_model: BuildModel, context: Context) -> Classifier:
    """A model whose features SimCLR has trained on the images alone, from the store where a method with the same
    settings made it before; its linear head is new ("main" stream). Stage: "simclr"."""

    make = partial(_simclr_features, settings, train, build_model, context)
    return encoder_from(context.cached(stage_key("simclr", **asdict(settings)), make), build_model)


def supcon_encoder(settings: Contrastive, train: ImageSet, build_model: BuildModel, context: Context) -> Classifier:
    """A model whose features SupCon has trained with the labels as given; its linear head is new. Stage: "supcon"."""

    def loss(z1: Tensor, z2: Tensor, labels: Tensor) -> Tensor:
        return supcon_loss(z1, z2, labels, settings.temperature)

    return train_encoder("supcon", settings, loss, train, build_model, context)


def encoder_from(trained: dict[str, Tensor], build_model: BuildModel) -> Classifier:
    """A model with trained features (see `without_head`) and a new linear head ("main" stream)."""
    model = build_model()
    model.load_state_dict({**model.state_dict(), **trained})
    return model


def without_head(model: Classifier) -> dict[str, Tensor]:
    """The state of all but the linear head."""
    return {name: value for name, value in model.state_dict().items() if not name.startswith("head.")}


def _simclr_features(
    settings: Contrastive, train: ImageSet, build_model: BuildModel, context: Context
) -> dict[str, Tensor]:
    def loss(z1: Tensor, z2: Tensor, _: Tensor) -> Tensor:
        return simclr_loss(z1, z2, settings.temperature)

    return without_head(train_encoder("simclr", settings, loss, train, build_model, context))
