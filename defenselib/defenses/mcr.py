"""MCR: mode connectivity repair (Zhao et al., ICLR 2020), on the curves of Garipov et al. (2018)."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from defenselib.data.augment.crop_flip import Augment
from defenselib.data.tensors import to_float
from defenselib.data.types import ImageSet, digest_of
from defenselib.defenses.base import BuildModel, Fitted
from defenselib.defenses.removal import FineTuned
from defenselib.errors import check_range
from defenselib.learning.batches import shuffled
from defenselib.learning.context import Context
from defenselib.learning.evaluation import accuracy
from defenselib.learning.fine_tuning import FineTuning, weights_digest
from defenselib.learning.settings import stage_key
from defenselib.learning.supervised import check_finite
from defenselib.models import Classifier


@dataclass(frozen=True, kw_only=True)
class MCR(FineTuned):
    """A quadratic Bezier curve joins the backdoored model w1 (t = 0) to w2 (t = 1), the same fine-tuned on the clean
    samples:

        phi(t) = (1 - t)^2 w1 + 2 t (1 - t) theta + t^2 w2

    theta, at first the mid point, minimises E_{t ~ U(0, 1)} CE(phi(t)) on the clean samples. The repaired model is
    phi(t) with BatchNorm statistics taken anew from them. Curve and end point are a shared stage: a grid over t trains
    them once. Defaults: BackdoorBench's; `epochs` and the rates without a prefix are those of the end point.
    """

    name = "mcr"

    t: float = 0.1
    epochs: int = 100
    curve_epochs: int = 100
    curve_learning_rate: float = 3e-5
    curve_batch_size: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("t", self.t, 0.0, 1.0)
        self.tuning(self.epochs, Augment())
        self.curve_tuning(Augment())

    def curve_tuning(self, augment: Augment) -> FineTuning:
        """How theta is trained: as the end point but for its own epochs, rate and batches."""
        return dataclasses.replace(
            self.tuning(self.curve_epochs, augment),
            learning_rate=self.curve_learning_rate,
            batch_size=self.curve_batch_size,
        )

    def fit(self, train: ImageSet, build_model: BuildModel, context: Context) -> Fitted:
        model, clean, augment = self.begin(context)
        settings = {item.name: getattr(self, item.name) for item in dataclasses.fields(self) if item.name != "t"}
        key = stage_key("mcr-curve", start=weights_digest(model), clean=digest_of(clean), **settings)
        found = context.cached(key, partial(self.curve, model, clean, augment, context))
        start = [parameter.detach().clone() for parameter in model.parameters()]
        names = [name for name, _ in model.named_parameters()]
        bend, end = ([found[f"{role}/{name}"] for name in names] for role in ("bend", "end"))
        place(model.parameters(), start, bend, end, torch.tensor(self.t, device=context.device))
        refresh_statistics(model, clean, augment, context, self.curve_batch_size)
        clean_acc = accuracy(model, clean, bf16=context.precision == "bf16")
        return Fitted(model, metrics={"clean_acc": clean_acc})

    def curve(self, model: Classifier, clean: ImageSet, augment: Augment, context: Context) -> dict[str, Tensor]:
        """theta and w2, as `bend/NAME` and `end/NAME`."""
        end = copy.deepcopy(model)
        self.tuning(self.epochs, augment).run(end, clean, context, "mcr-end", observe=False)
        bend = copy.deepcopy(model)
        with torch.no_grad():
            for theta, w2 in zip(bend.parameters(), end.parameters(), strict=True):
                theta.lerp_(w2, 0.5)
        # A fourth network holds phi(t); its BatchNorm statistics move and are never read.
        point = copy.deepcopy(model)
        tuning = self.curve_tuning(augment)
        optimizer, schedule = tuning.optimizer(bend, len(clean))
        ends = list(model.parameters()), list(end.parameters())
        for _ in context.epochs("mcr-curve", tuning.epochs, model=bend, optimizer=optimizer, schedule=schedule):
            curve_epoch(point, bend, *ends, optimizer, schedule, clean, tuning, context)
        roles = {"bend": bend, "end": end}
        return {f"{role}/{name}": p.detach() for role, net in roles.items() for name, p in net.named_parameters()}


def curve_epoch(
    point: nn.Module,
    bend: nn.Module,
    start: list[nn.Parameter],
    end: list[nn.Parameter],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    clean: ImageSet,
    tuning: FineTuning,
    context: Context,
) -> float:
    """One pass over the clean samples, a new t ~ U(0, 1) each batch; trains `bend`. Returns the mean loss."""
    point.train()
    order, views, draw = (context.generator(f"mcr-curve/{name}") for name in ("order", "augment", "t"))
    theta = list(bend.parameters())
    total = torch.zeros((), device=context.device)
    for index in shuffled(len(clean), tuning.batch_size, order):
        t = torch.rand((), generator=draw, device=context.device)
        place(point.parameters(), start, theta, end, t)
        inputs = to_float(tuning.augment(clean.images, index, views))
        with context.autocast():
            logits = point(inputs)
        loss = F.cross_entropy(logits.float(), clean.labels[index])
        gradients = torch.autograd.grad(loss, list(point.parameters()))
        for parameter, gradient in zip(theta, gradients, strict=True):
            parameter.grad = 2 * t * (1 - t) * gradient  # the chain rule through phi(t)
        optimizer.step()
        schedule.step()
        total += loss.detach() * len(index)
    return check_finite(total.item() / len(clean), "mcr-curve")


@torch.no_grad()
def place(
    parameters: Iterable[Tensor], start: Iterable[Tensor], bend: Iterable[Tensor], end: Iterable[Tensor], t: Tensor
) -> None:
    """Write phi(t) into `parameters`; t: a scalar in [0, 1]."""
    for target, w1, theta, w2 in zip(parameters, start, bend, end, strict=True):
        target.copy_((1 - t) ** 2 * w1 + 2 * t * (1 - t) * theta + t**2 * w2)


@torch.no_grad()
def refresh_statistics(model: nn.Module, clean: ImageSet, augment: Augment, context: Context, batch_size: int) -> None:
    """BatchNorm's running statistics anew: the mean of those of the batches of one augmented pass. Leaves the model in
    evaluation mode."""
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean over the batches
    model.train()
    order, views = context.generator("mcr-refresh/order"), context.generator("mcr-refresh/augment")
    # A small last batch would count as much as a full one.
    for index in shuffled(len(clean), batch_size, order, drop_last=True):
        with context.autocast():
            model(to_float(augment(clean.images, index, views)))
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
    model.eval()
