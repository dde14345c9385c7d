"""What small perturbations do to a model, seen with the ground truth: what the figures of A-ABL show; and whether
triggered images get their true class back, as BSD's Figure 10 does.

Four answers that an Experiment's `measure` can ask for: "losses" (after every epoch), "resistance" and "recovered"
(numbers of the final model), "sce" (arrays of the final model). None of them is part of a defense.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from defenselib.cpu.devices import autocast
from defenselib.data.subset import spread, spread_samples
from defenselib.data.tensors import to_float
from defenselib.data.types import ImageSet, PoisonedDataset
from defenselib.defenses.base import Fitted
from defenselib.defenses.scores import adversarial_sce, sce
from defenselib.experiments.measure.observer import Probe
from defenselib.experiments.spec import Resolved
from defenselib.learning.adversarial import ifgsm, pgd
from defenselib.learning.context import Context
from defenselib.learning.evaluation import predict
from defenselib.models.classifier import evaluating
from defenselib.seeds import generator

STEP = 2 / 255  # A-ABL Sec. 4.1 and 6, in all of its perturbations
IFGSM_EPS, IFGSM_STEPS = 2 / 255, 5
EPS_GRID = (0, 1, 2, 4, 8)  # Fig. 3, grey levels of 255: what five steps can reach
STEPS_GRID = (1, 2, 5, 10, 20)  # Fig. 5
GROUP = 250  # samples of a kind, spread over the training set, whose losses are followed
MEASURED = 500  # poisoned training samples, or test images


def pgd10(seed: int, device: torch.device) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    """PGD of ten steps with random start, eps 8/255, step 2/255 (A-ABL Sec. 6)."""
    return partial(pgd, eps=8 / 255, step=STEP, steps=10, generator=generator(seed, "robust", device=device))


def history_of(poisoned: PoisonedDataset, resolved: Resolved) -> Probe | None:
    """What "losses" adds to every row of the history (A-ABL Figs. 8 and 10); None where nobody asks.

    clean_loss, poisoned_loss: mean cross-entropy of training samples as they are; ..._loss_ifgsm and ..._loss_pgd:
    under iFGSM (2/255, 5 steps) and PGD (8/255, 10 steps); ra: accuracy on test images under PGD, percent.
    """
    if "losses" not in resolved.measure:
        return None
    flags, train = poisoned.is_poisoned, poisoned.train
    parts = {"clean": ~flags, "poisoned": flags}
    groups = {name: train.select(spread(part.nonzero().flatten(), GROUP)) for name, part in parts.items()}
    test = spread_samples(poisoned.test, MEASURED)
    bf16 = resolved.precision == "bf16"

    def probe(model: nn.Module) -> dict[str, float]:
        found = {}
        for name, data in groups.items():
            if len(data) == 0:
                continue
            found[f"{name}_loss"] = _loss(model, data, None, bf16)
            found[f"{name}_loss_ifgsm"] = _loss(model, data, _ifgsm(), bf16)
            found[f"{name}_loss_pgd"] = _loss(model, data, pgd10(resolved.seed, data.labels.device), bf16)
        hits = _logits(model, test, pgd10(resolved.seed, test.labels.device), bf16).argmax(1) == test.labels
        return found | {"ra": 100.0 * hits.double().mean().item()}

    return probe


def metrics_of(fitted: Fitted, poisoned: PoisonedDataset, resolved: Resolved) -> dict[str, float]:
    """Percent of poisoned training samples that keep their label under iFGSM, where "resistance" is asked for:
    `resists/eps=E` (5 steps) and `resists/steps=S` (eps 2/255) (A-ABL Figs. 3 and 5)."""
    if "resistance" not in resolved.measure or not poisoned.is_poisoned.any():
        return {}
    data = poisoned.train.select(spread(poisoned.is_poisoned.nonzero().flatten(), MEASURED))
    kinds = {f"eps={eps}": _ifgsm(eps / 255) for eps in EPS_GRID}
    kinds |= {f"steps={steps}": _ifgsm(steps=steps) for steps in STEPS_GRID}
    bf16, found = resolved.precision == "bf16", {}
    for name, change in kinds.items():
        hits = _logits(fitted.model, data, change, bf16).argmax(1) == data.labels
        found[f"resists/{name}"] = 100.0 * hits.double().mean().item()
    return found


def arrays_of(fitted: Fitted, poisoned: PoisonedDataset, resolved: Resolved) -> dict[str, NDArray[Any]]:
    """`perturbed/plain` and `perturbed/ifgsm`, float16 (N,), where "sce" is asked for: symmetric cross-entropy of every
    training sample as it is and under iFGSM (A-ABL Fig. 11)."""
    if "sce" not in resolved.measure:
        return {}
    model: Any = fitted.model
    train = poisoned.train.channels_last()
    context = Context(model_factory=lambda: model, device=train.images.device, precision=resolved.precision)
    with evaluating(model):
        values = {
            "plain": sce(model, train.images, train.labels, context),
            "ifgsm": adversarial_sce(model, train.images, train.labels, context, IFGSM_EPS, STEP, IFGSM_STEPS),
        }
    return {f"perturbed/{name}": value.half().cpu().numpy() for name, value in values.items()}


Change = Callable[[nn.Module, Tensor, Tensor], Tensor]


def _ifgsm(eps: float = IFGSM_EPS, steps: int = IFGSM_STEPS) -> Change:
    return partial(ifgsm, eps=eps, step=STEP, steps=steps)


def _loss(model: nn.Module, data: ImageSet, change: Change | None, bf16: bool) -> float:
    return F.cross_entropy(_logits(model, data, change, bf16), data.labels).item()


def _logits(model: nn.Module, data: ImageSet, change: Change | None, bf16: bool) -> Tensor:
    """float32 (N, C); of samples moved by `change` where it is given."""
    parts = []
    with evaluating(model), autocast(data.images.device, bf16):
        for images, labels in zip(data.images.split(250), data.labels.split(250), strict=True):
            inputs = to_float(images)
            if change is not None:
                inputs = change(model, inputs, labels)
            with torch.no_grad():
                parts.append(model(inputs).float())
    return torch.cat(parts)


def recovered(fitted: Fitted, poisoned: PoisonedDataset, resolved: Resolved) -> dict[str, float]:
    """`recovered`: percent of the triggered test images that are classified as their true class, where it is asked
    for. The paper does not define its RA; this is what the sum of RA and ASR suggests, which is at most 100."""
    if "recovered" not in resolved.measure:
        return {}
    labels = poisoned.test.labels
    truth = labels if poisoned.target is None else labels[labels != poisoned.target]
    found = predict(fitted.model, poisoned.triggered_test.images, bf16=resolved.precision == "bf16")
    return {"recovered": 100.0 * (found == truth.to(found.device)).double().mean().item()}
