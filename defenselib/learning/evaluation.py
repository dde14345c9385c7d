"""Accuracy, attack success rate, defense effectiveness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from defenselib.cpu.devices import autocast
from defenselib.data.tensors import to_float
from defenselib.data.types import ImageSet, PoisonedDataset
from defenselib.models.classifier import evaluating
from defenselib.models.folding import folded

Robust = Callable[[nn.Module, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Evaluation:
    """In percent. asr: NaN where there is no triggered test image; ra: None where it was not asked for.

    confusion, triggered_confusion: how many clean and triggered test images of a label (row; of a triggered one what
    the attacker wants) were given which class (column), int64 (C, C).
    """

    acc: float
    asr: float
    per_class: tuple[float, ...]
    ra: float | None = None
    confusion: Tensor | None = field(default=None, compare=False)
    triggered_confusion: Tensor | None = field(default=None, compare=False)

    def false_target(self, target: int) -> float:
        """Share of clean test images of other classes that are called the target, in percent."""
        assert self.confusion is not None
        others = self.confusion.clone()
        others[target] = 0
        return 100.0 * int(others[:, target].sum()) / max(1, int(others.sum()))


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, batch_size: int = 500, bf16: bool = False) -> Tensor:
    """Predicted classes, int64 (N,), of uint8 images (N, 3, H, W); evaluation mode, the mode is put back."""
    device = next(model.parameters()).device
    parts = []
    with evaluating(model), folded(model, len(images)), autocast(device, bf16):
        for batch in images.split(batch_size):
            parts.append(model(to_float(batch.to(device))).argmax(1))
    return torch.cat(parts) if parts else torch.empty(0, dtype=torch.int64, device=device)


def accuracy(model: nn.Module, data: ImageSet, bf16: bool = False) -> float:
    """Share of samples classified as their label, in percent; NaN for an empty set."""
    if len(data) == 0:
        return float("nan")
    hits = predict(model, data.images, bf16=bf16) == data.labels.to(next(model.parameters()).device)
    return 100.0 * hits.double().mean().item()


def evaluate(
    model: nn.Module, poisoned: PoisonedDataset, robust: Robust | None = None, bf16: bool = False
) -> Evaluation:
    """Accuracy on the clean test set and success rate on the triggered one (true class not the target).

    Success is accuracy on `triggered_test`, whose labels are what the attacker wants: the target, or y + 1.
    robust: makes adversarial examples, (model, images float (B, 3, H, W), labels) -> images; then `ra` is the
    accuracy on adversarial versions of the clean test images.
    """
    seen, triggered = (_confusion(model, data, bf16) for data in (poisoned.test, poisoned.triggered_test))
    classes = 1 + int(poisoned.test.labels.max())
    right, total = seen.diagonal()[:classes], seen.sum(1)[:classes]
    hits, shown = int(triggered.diagonal().sum()), int(triggered.sum())
    return Evaluation(
        acc=100.0 * (int(right.sum()) / int(total.sum())),
        asr=100.0 * (hits / shown) if shown else float("nan"),
        per_class=tuple((100.0 * right.double() / total).tolist()),
        ra=None if robust is None else _robust_accuracy(model, poisoned.test, robust),
        confusion=seen,
        triggered_confusion=triggered,
    )


def _confusion(model: nn.Module, data: ImageSet, bf16: bool) -> Tensor:
    """int64 (C, C) on the CPU, rows by label; C covers all that the model can say and all labels."""
    found = predict(model, data.images, bf16=bf16).cpu()
    labels = data.labels.cpu()
    classes = 1 + max([0, *(int(part.max()) for part in (found, labels) if len(part))])
    return torch.bincount(labels * classes + found, minlength=classes**2).view(classes, classes)


def _robust_accuracy(model: nn.Module, data: ImageSet, robust: Robust, batch_size: int = 500) -> float:
    device = next(model.parameters()).device
    hits = []
    with evaluating(model):
        for images, labels in zip(data.images.split(batch_size), data.labels.split(batch_size), strict=True):
            labels = labels.to(device)
            adversarial = robust(model, to_float(images.to(device)), labels)
            with torch.no_grad():
                hits.append(model(adversarial).argmax(1) == labels)
    return 100.0 * torch.cat(hits).double().mean().item()


def der(acc_before: float, asr_before: float, acc_after: float, asr_after: float) -> float:
    """Defense effectiveness rate in percent, from percent (BSD Eq. 12).

    (max(0, fall of ASR) - max(0, fall of ACC) + 100) / 2: 100 is perfect, 50 no effect.
    """
    return (max(0.0, asr_before - asr_after) - max(0.0, acc_before - acc_after) + 100.0) / 2.0
