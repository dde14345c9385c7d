"""The signs that need a network: one small network, trained twice for a short while, on everything.

A backdoor is learned early and surely, so that under local gradient ascent poison has low losses (ABL), and a plain
network is sure of it (V&B); its features change when the image is turned (D-ST), and stand apart within the class
(spectral signatures). The class that is most often the second most likely one is the target (BSD).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from defenselib.audit.amount import seconds_an_image
from defenselib.data.augment.crop_flip import Augment
from defenselib.data.types import ImageSet
from defenselib.defenses import scores
from defenselib.defenses.bsd_models import most_frequent
from defenselib.defenses.vab_victim import entropy
from defenselib.learning.batches import infer
from defenselib.learning.context import Context
from defenselib.learning.supervised import Schedule, supervised_epoch
from defenselib.models import Classifier, build_model

STEPS = 500  # of each training, about; a backdoor is learned in fewer
LEAST_EPOCHS, MOST_EPOCHS = 4, 30
_BATCH = 64
_GAMMA, _RATE = 0.5, 0.05
_TURNS = ("rotate", "affine")  # D-ST's transformations


@dataclass(frozen=True)
class Seen:
    """loss, entropy, fct, spectral: float (N,), in the methods' own units; votes: the second choice of each epoch,
    model: the plain network."""

    loss: Tensor
    entropy: Tensor
    fct: Tensor
    spectral: Tensor
    votes: tuple[int, ...]
    model: Classifier


def epochs_for(count: int) -> int:
    """Passes over `count` images, so that their steps are about STEPS."""
    steps = -(-count // _BATCH)
    return min(MOST_EPOCHS, max(LEAST_EPOCHS, -(-STEPS // steps)))


def small_network(classes: int, side: int) -> Classifier:
    """The network of a scan: one block a stage, slim."""
    # With 8 channels and a 7x7 stem, oneDNN's channels-last convolution crashes on some processors.
    return build_model("resnet10", classes, side, width=8 if side <= 64 else 16)


def context_for(data: ImageSet, device: torch.device, seed: int, folder: Path | None, progress: bool) -> Context:
    """A context whose stages can be resumed from `folder`."""
    classes = int(data.labels.max()) + 1
    return Context(
        model_factory=lambda: small_network(classes, data.image_size),
        seed=seed,
        device=device,
        precision="bf16" if device.type == "cuda" else "fp32",
        flip=False,
        checkpoints=folder,
        checkpoint_every=20.0,
        progress=progress,
    )


def look(data: ImageSet, context: Context, seed: int) -> Seen:
    """Train both networks and take their scores. Images and labels on the context's device."""
    train, epochs = data.channels_last(), epochs_for(len(data))
    model = context.build_model("isolate")
    loss = scores.loss_under_ascent(model, scores.nesterov(model, _RATE), train, context, _GAMMA, epochs, _BATCH)
    plain, votes = _plain(train, context, epochs)
    logits = infer(plain, train.images, context, lambda found, _: found)
    features = scores.features(plain, train.images, context)
    return Seen(
        loss=loss,
        entropy=entropy(logits),
        fct=scores.fct(plain, train.images, _TURNS, seed, context),
        spectral=scores.spectral_signatures(features, train.labels),
        votes=votes,
        model=plain,
    )


def _plain(train: ImageSet, context: Context, epochs: int) -> tuple[Classifier, tuple[int, ...]]:
    """A network trained with cross-entropy and without augmentation, and the second choice of every epoch."""
    model = context.build_model("victim")
    optimizer = scores.nesterov(model, _RATE)
    schedule = Schedule("onecycle").attach(optimizer, epochs, -(-len(train) // _BATCH))
    votes: list[int] = []
    state = {"model": model, "optimizer": optimizer, "schedule": schedule, "votes": votes}
    for _ in context.epochs("victim", epochs, **state):
        supervised_epoch(model, optimizer, train, context, Augment(0, flip=False), _BATCH, schedule, stream="victim")
        votes.append(most_frequent(infer(model, train.images, context, lambda found, _: found.topk(2).indices[:, 1])))
    return model, tuple(votes)


def seconds_for(data: ImageSet, device: torch.device) -> float:
    """Expected wall time of `look`, from training steps of the same network on this machine, now."""
    context = context_for(data, device, seed=0, folder=None, progress=False)
    one = seconds_an_image(context, data.image_size, _BATCH, patience=0.3)
    # Two trainings; looking at all images after every epoch, and for the scores, costs about a third more.
    return one * len(data) * epochs_for(len(data)) * 2 * 1.35
