"""Scores of training samples by which defenses tell poison from clean, as functions of their own.

Images are uint8 (N, 3, H, W) on the model's device, labels int64 (N,); a score is float32 (N,), in the order of the
images. The model is looked at in evaluation mode and left as it was. `context` gives the precision (full without).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from defenselib.data.augment.crop_flip import Augment
from defenselib.data.augment.transforms import Transform, draw, named
from defenselib.data.tensors import to_float
from defenselib.data.types import ImageSet
from defenselib.errors import InvalidValueError
from defenselib.learning.adversarial import ifgsm
from defenselib.learning.batches import infer
from defenselib.learning.context import Context
from defenselib.learning.losses import symmetric_cross_entropy
from defenselib.learning.supervised import supervised_stage
from defenselib.models import Classifier
from defenselib.models.classifier import evaluating
from defenselib.seeds import generator


class _Features(nn.Module):
    """Gives `infer` features in the place of logits."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model.features(x)


def _plain(model: Classifier) -> Context:
    """Full precision on the model's device, for callers that have no context."""
    return Context(model_factory=lambda: model, device=next(model.parameters()).device)


def features(model: Classifier, images: Tensor, context: Context | None = None) -> Tensor:
    """Penultimate features, (N, D)."""
    return infer(_Features(model), images, context or _plain(model), lambda found, _: found)


def cross_entropy(model: Classifier, images: Tensor, labels: Tensor, context: Context | None = None) -> Tensor:
    """-log p_y of every sample."""

    def loss(logits: Tensor, index: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels[index], reduction="none")

    return infer(model, images, context or _plain(model), loss)


def sce(
    model: Classifier,
    images: Tensor,
    labels: Tensor,
    context: Context | None = None,
    alpha: float = 0.1,
    beta: float = 1.0,
) -> Tensor:
    """Symmetric cross-entropy of every sample (DBD Sec. 4; ASD Sec. 4.1): high is taken for poison by DBD."""

    def loss(logits: Tensor, index: Tensor) -> Tensor:
        return symmetric_cross_entropy(logits, labels[index], alpha, beta)

    return infer(model, images, context or _plain(model), loss)


def adversarial_sce(
    model: Classifier,
    images: Tensor,
    labels: Tensor,
    context: Context | None = None,
    eps: float = 2 / 255,
    step: float = 2 / 255,
    steps: int = 5,
    alpha: float = 0.1,
    beta: float = 1.0,
    batch_size: int = 250,
) -> Tensor:
    """Symmetric cross-entropy of iFGSM examples (A-ABL Sec. 5.2): low is an easy backdoor, which keeps its label.

    The examples raise the cross-entropy of the given labels; eps and step in [0, 1] units.
    """
    context = context or _plain(model)
    parts = []
    with evaluating(model), context.autocast(), torch.no_grad():
        for batch, wanted in zip(images.split(batch_size), labels.split(batch_size), strict=True):
            logits = model(ifgsm(model, to_float(batch), wanted, eps, step, steps))
            parts.append(symmetric_cross_entropy(logits.float(), wanted, alpha, beta))
    return torch.cat(parts)


def entropy(model: Classifier, images: Tensor, context: Context | None = None) -> Tensor:
    """-sum_k p_k log p_k of every sample's prediction, in nats (V&B Eq. 1, before its scaling to [0, 1])."""

    def value(logits: Tensor, _: Tensor) -> Tensor:
        log_p = F.log_softmax(logits, 1)
        return -(log_p.exp() * log_p).sum(1)

    return infer(model, images, context or _plain(model), value)


def fct(
    model: Classifier,
    images: Tensor,
    transform: str | Sequence[str] | Transform,
    seed: int,
    context: Context | None = None,
) -> Tensor:
    """Feature consistency towards transformations, ||f(x) - f(tau(x))||^2 (D-ST Eq. 1): large is taken for poison.

    transform: one of `defenselib.data.augment.transforms.TRANSFORMS`, several in their order (D-ST: ("rotate",
    "affine")), or a transformation of one's own. Every sample has one draw, made from `seed` for all samples at once.
    """
    chosen = named(transform) if isinstance(transform, str | Sequence) else transform
    draws = draw(chosen, len(images), generator(seed, "fct", device=images.device))

    def pairs(index: Tensor) -> Tensor:
        batch = images[index]
        return torch.cat([batch, chosen(batch, draws[index])])

    def distance(found: Tensor, _: Tensor) -> Tensor:
        plain, transformed = found.chunk(2)
        return (plain - transformed).square().sum(1)

    return infer(_Features(model), images, context or _plain(model), distance, pairs)


def spectral_signatures(features: Tensor, labels: Tensor, balanced: bool = True) -> Tensor:
    """<r_i - mean, v>^2 with v the first right singular vector of the centred features of its label (Tran et al. 2018,
    Alg. 1): large is taken for poison.

    features: (N, D). balanced: divided by the mean score of the label, so that labels can be ranked together.
    """
    scores = torch.zeros(len(labels), device=features.device)
    for label in labels.unique():
        members = torch.nonzero(labels == label).squeeze(1)
        centred = features[members].double()
        centred = centred - centred.mean(0)
        # The singular vectors are eigenvectors of R^T R: D is at most a few thousand, a label may have more samples.
        first = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -1]
        found = (centred @ first).square()
        if balanced:
            found = found / found.mean().clamp_min(1e-12)
        scores[members] = found.float()
    return scores


def otsu_threshold(values: Tensor, bins: int = 256) -> float:
    """The cut of greatest between-class variance w0 w1 (mu0 - mu1)^2 over equal bins (Otsu 1979).

    It is the middle of the last bin of the lower class, as scikit-image gives it: exact to half a bin.
    Raises InvalidValueError for values that are not finite, or none.
    """
    array = values.detach().double().cpu().numpy()
    if array.size == 0 or not np.isfinite(array).all():
        raise InvalidValueError(f"Otsu's threshold needs finite values, these are {array.size}, not all of them finite")
    from skimage.filters import threshold_otsu

    return float(threshold_otsu(array, nbins=bins))


def local_gradient_ascent(logits: Tensor, labels: Tensor, gamma: float) -> Tensor:
    """sign(CE - gamma) * CE of the batch mean CE (ABL Eq. 3): descent above gamma, ascent below.

    Flooding, |CE - gamma| + gamma, which ABL compares with, has the same gradient: training with it is the same.
    """
    loss = F.cross_entropy(logits, labels)
    return (loss - gamma).sign() * loss


def loss_under_ascent(
    model: Classifier,
    optimizer: torch.optim.Optimizer,
    train: ImageSet,
    context: Context,
    gamma: float = 0.5,
    epochs: int = 10,
    batch_size: int = 128,
) -> Tensor:
    """Train `model` under local gradient ascent, then the plain CE of every sample (ABL Sec. 3.2): low is
    taken for poison. Stage "isolate"; no augmentation."""

    def loss_function(logits: Tensor, labels: Tensor) -> Tensor:
        return local_gradient_ascent(logits, labels, gamma)

    plain = Augment(0, flip=False)
    supervised_stage(
        "isolate", epochs, model, optimizer, train, context, plain, batch_size, loss_function=loss_function
    )
    return cross_entropy(model, train.images, train.labels, context)


def nesterov(
    model: nn.Module, learning_rate: float = 0.1, momentum: float = 0.9, weight_decay: float = 1e-4
) -> torch.optim.SGD:
    """SGD with Nesterov momentum, as ABL and CBD train; the defaults are ABL's."""
    return torch.optim.SGD(
        model.parameters(), learning_rate, momentum, weight_decay=weight_decay, nesterov=True, fused=True
    )
