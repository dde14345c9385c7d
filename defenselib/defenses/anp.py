"""ANP: adversarial neuron pruning (Wu, Wang, NeurIPS 2021, Sec. 3, Algorithm 1).

Symbols of the paper: m = mask, delta and xi = noise on the weights and biases of BatchNorm, T = iterations.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from defenselib.data.augment.crop_flip import Augment
from defenselib.data.tensors import to_float
from defenselib.data.types import ImageSet
from defenselib.defenses.base import BuildModel, Fitted
from defenselib.defenses.removal import Removal
from defenselib.errors import InvalidValueError, check_choice, check_counts, check_fields, check_positive, check_range
from defenselib.learning.context import Context
from defenselib.learning.evaluation import accuracy
from defenselib.learning.fine_tuning import hold_out
from defenselib.learning.supervised import check_finite, make_optimizer
from defenselib.models import Classifier

STOPS = ("accuracy", "threshold")
# Iterations between two reports and savings.
ROUND = 100


class Neurons:
    """All BatchNorm channels of a network as flat vectors, in the order of its modules.

    weight, bias: float32 (n,), as found; `parameters` gives what `functional_call` puts in their place.
    """

    def __init__(self, model: nn.Module) -> None:
        norms = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.BatchNorm2d)}
        if not norms:
            raise InvalidValueError("ANP masks BatchNorm channels and the model has none")
        self.names = list(norms)
        self.sizes = [layer.num_features for layer in norms.values()]
        self.weight = torch.cat([layer.weight.detach() for layer in norms.values()])
        self.bias = torch.cat([layer.bias.detach() for layer in norms.values()])

    def __len__(self) -> int:
        return sum(self.sizes)

    def parameters(self, mask: Tensor, noise: Tensor | None = None) -> dict[str, Tensor]:
        """(m + delta) * w and (1 + xi) * b by parameter name; mask (n,), noise (2, n): delta and xi."""
        scale, shift = (mask, torch.ones_like(mask)) if noise is None else (mask + noise[0], 1 + noise[1])
        weights, biases = (scale * self.weight).split(self.sizes), (shift * self.bias).split(self.sizes)
        return {
            **{f"{name}.weight": value for name, value in zip(self.names, weights, strict=True)},
            **{f"{name}.bias": value for name, value in zip(self.names, biases, strict=True)},
        }

    @torch.no_grad()
    def write(self, model: nn.Module, mask: Tensor) -> None:
        """Multiply the weights as found by the mask, in the model itself."""
        for name, value in zip(self.names, (mask * self.weight).split(self.sizes), strict=True):
            model.get_submodule(name).weight.copy_(value)  # type: ignore[operator, union-attr]


@dataclass(frozen=True, kw_only=True)
class ANP(Removal):
    """Every BatchNorm channel has a mask m in [0, 1] on its weight and noise delta, xi on weight and bias:

        min_m alpha L(m w, b) + (1 - alpha) max_{|delta|, |xi| <= eps} L((m + delta) w, (1 + xi) b)

    Inner problem: from a uniform start, `steps` sign steps of eps / steps, kept within eps. Outer: SGD on m, clamped;
    batches are drawn with replacement, BatchNorm uses their statistics (stage "anp"). Then the channels with
    m <= threshold get weight 0, the statistics stay the backdoored model's.

    Defaults: BackdoorBench's (the ANP paper has batches of 128, rate 0.2 and the fixed threshold 0.2).
    stop: "threshold" prunes at `threshold`; "accuracy" takes 0, threshold_step, ..., up to `threshold_max` as long as
    the accuracy falls by at most `acc_drop` of what it was. BackdoorBench reads accuracy and attack success on test
    images; here it is the accuracy on a share `holdout` of the clean samples, on which no mask was trained.
    """

    name = "anp"

    iterations: int = 2000
    eps: float = 0.4
    steps: int = 1
    alpha: float = 0.2
    stop: str = "accuracy"
    threshold: float = 0.2
    threshold_step: float = 0.05
    threshold_max: float = 0.9
    acc_drop: float = 0.1
    holdout: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("stop", self.stop, STOPS)
        check_fields(self, 0.0, 1.0, "alpha", "threshold", "threshold_max", "acc_drop", "holdout")
        check_range("eps", self.eps, 0.0, float("inf"))
        check_counts(self, "iterations", "steps")
        check_positive(self, "threshold_step")

    def fit(self, train: ImageSet, build_model: BuildModel, context: Context) -> Fitted:
        model, clean, augment = self.begin(context)
        held_out = None
        if self.stop == "accuracy":
            clean, held_out = hold_out(clean.channels_last(), self.holdout, context.generator("anp/holdout"))
        neurons = Neurons(model)
        mask = self.train_mask(model, neurons, clean.channels_last(), augment, context)
        metrics = {}
        threshold = self.threshold
        if held_out is not None:
            threshold, metrics["holdout_acc"] = self.search(model, neurons, mask, held_out, context)
        kept = mask > threshold
        neurons.write(model, kept.float())
        metrics |= {"threshold": threshold, "pruned": float((~kept).sum()), "channels": float(len(neurons))}
        return Fitted(model.eval(), metrics=metrics, arrays={"mask": mask})

    def train_mask(
        self, model: Classifier, neurons: Neurons, clean: ImageSet, augment: Augment, context: Context
    ) -> Tensor:
        """The mask, float32 (n,), after all iterations."""
        # Its statistics move with every pass and are never read; the model's own stay.
        frozen = copy.deepcopy(model).train().requires_grad_(False)
        mask = nn.Parameter(torch.ones_like(neurons.weight))
        optimizer = make_optimizer([mask], "sgd", self.learning_rate, self.momentum)
        order, views, noise = (context.generator(f"anp/{name}") for name in ("order", "augment", "noise"))
        rounds = -(-self.iterations // ROUND)
        for turn in context.epochs("anp", rounds, mask=mask.data, optimizer=optimizer):
            steps = min(ROUND, self.iterations - turn * ROUND)
            shape = (steps, self.batch_size)
            total = torch.zeros((), device=context.device)
            for index in torch.randint(len(clean), shape, generator=order, device=order.device):
                inputs = to_float(augment(clean.images, index, views))
                total += self.step(frozen, neurons, mask, optimizer, inputs, clean.labels[index], noise, context)
            neurons.write(model, mask.detach())
            loss = check_finite(total.item() / steps, "anp")
            context.observe("epoch", stage="anp", epoch=turn, model=model, loss=loss)
        return mask.detach()

    def step(
        self,
        frozen: nn.Module,
        neurons: Neurons,
        mask: nn.Parameter,
        optimizer: torch.optim.Optimizer,
        inputs: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        context: Context,
    ) -> Tensor:
        """One update of the mask on a batch (Algorithm 1); returns the objective before it, without gradient."""

        def loss(scale: Tensor, noise: Tensor | None = None) -> Tensor:
            with context.autocast():
                logits = functional_call(frozen, neurons.parameters(scale, noise), (inputs,))
            return F.cross_entropy(logits.float(), labels)

        noise = (2 * torch.rand(2, len(neurons), generator=generator, device=generator.device) - 1) * self.eps
        for _ in range(self.steps):
            noise.requires_grad_(True)
            (gradient,) = torch.autograd.grad(loss(mask.detach(), noise), noise)
            moved = noise.detach() + self.eps / self.steps * gradient.sign()
            noise = moved.clamp(-self.eps, self.eps)
        objective = self.alpha * loss(mask) + (1 - self.alpha) * loss(mask, noise)
        (mask.grad,) = torch.autograd.grad(objective, mask)
        optimizer.step()
        with torch.no_grad():
            mask.clamp_(0.0, 1.0)
        return objective.detach()

    def search(
        self, model: Classifier, neurons: Neurons, mask: Tensor, held_out: ImageSet, context: Context
    ) -> tuple[float, float]:
        """The last threshold of the grid before the held-out accuracy falls by more than `acc_drop` of what it was, and
        the accuracy there in percent. -1, which prunes nothing, where the first one is too much."""
        bf16 = context.precision == "bf16"
        neurons.write(model, torch.ones_like(mask))
        chosen, left = -1.0, accuracy(model, held_out, bf16=bf16)
        limit = (1 - self.acc_drop) * left
        for number in range(int(self.threshold_max / self.threshold_step + 1e-9) + 1):
            threshold = number * self.threshold_step
            neurons.write(model, (mask > threshold).float())
            found = accuracy(model, held_out, bf16=bf16)
            if found < limit:
                break
            chosen, left = threshold, found
        return chosen, left
