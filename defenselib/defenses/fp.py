"""FP: fine-pruning (Liu, Dolan-Gavitt, Garg 2018): prune what sleeps on clean samples, then fine-tune."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from defenselib.data.augment.crop_flip import Augment
from defenselib.data.tensors import to_float
from defenselib.data.types import ImageSet
from defenselib.defenses.base import BuildModel, Fitted
from defenselib.defenses.removal import FineTuned
from defenselib.errors import InvalidValueError, check_choice, check_fields
from defenselib.learning.context import Context
from defenselib.learning.evaluation import accuracy
from defenselib.learning.fine_tuning import hold_out
from defenselib.models import Classifier

LAYERS = ("linear", "convolution")
STOPS = ("accuracy", "ratio")


@dataclass(frozen=True, kw_only=True)
class FP(FineTuned):
    """Channels are ranked by their mean activation in the last feature maps over the clean samples, the least active
    are pruned, and the rest is fine-tuned on the clean samples (stage "fp"); what is pruned stays so.

    layer: "linear" cuts the channel's column of the linear layer (BackdoorBench); "convolution" the filter of the
    last convolution (ASD, BSD App. B.4), whose skip connection stays.
    stop: "ratio" prunes the share `ratio` (a grid of 0.2 to 0.9 in ASD and BSD); "accuracy" goes on in steps of
    `step_ratio` of the channels until the accuracy has fallen by more than `acc_drop` of what it was. BackdoorBench
    reads that accuracy on test images; here it is that of a share `holdout` of the clean samples, which the ranking
    does not see and the fine-tuning does.
    """

    name = "fp"

    epochs: int = 100
    layer: str = "linear"
    stop: str = "accuracy"
    ratio: float = 0.5
    step_ratio: float = 0.01
    acc_drop: float = 0.1
    holdout: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        self.tuning(self.epochs, Augment())
        check_choice("layer", self.layer, LAYERS)
        check_choice("stop", self.stop, STOPS)
        check_fields(self, 0.0, 1.0, "ratio", "acc_drop", "holdout")
        if not 0.0 < self.step_ratio <= 1.0:
            raise InvalidValueError(f"step_ratio is {self.step_ratio}, it must lie in (0, 1]")

    def fit(self, train: ImageSet, build_model: BuildModel, context: Context) -> Fitted:
        model, clean, augment = self.begin(context)
        metrics: dict[str, float] = {}
        if self.stop == "accuracy":
            ranked, held_out = hold_out(clean, self.holdout, context.generator("fp/holdout"))
            activity = self.activity(model, ranked.images, context)
            count, metrics["holdout_acc"] = self.search(model, activity, held_out, context)
        else:
            activity = self.activity(model, clean.images, context)
            count = min(round(self.ratio * len(activity)), len(activity) - 1)
        keep = least_active_cut(activity, count)
        prune(model, self.layer, keep)
        with held_at_zero(model, self.layer, keep):
            loss = self.tuning(self.epochs, augment).run(model, clean, context, "fp")
        metrics |= {"clean_loss": loss, "pruned": float(count), "channels": float(len(activity))}
        return Fitted(model, metrics=metrics, arrays={"activity": activity, "pruned": ~keep})

    @torch.no_grad()
    def activity(self, model: Classifier, images: Tensor, context: Context) -> Tensor:
        """Mean activation, float32 (C,), of every channel that `layer` could lose, over uint8 images (N, 3, H, W)."""
        model.eval()
        total = torch.zeros(model.head.in_features, device=images.device)
        for batch in images.split(500):
            with context.autocast():
                features = model.features(to_float(batch))
            total += features.float().sum(0)
        mean = total / len(images)
        # Where maps are joined (DenseNet) the last convolution makes the last of them.
        return mean if self.layer == "linear" else mean[-last_convolution(model).out_channels :]

    def search(self, model: Classifier, activity: Tensor, held_out: ImageSet, context: Context) -> tuple[int, float]:
        """Channels to prune: the first number of steps at which the held-out accuracy has fallen by more than
        `acc_drop` of what it was (at most all channels but one), and that accuracy in percent."""
        bf16 = context.precision == "bf16"
        limit = (1 - self.acc_drop) * accuracy(model, held_out, bf16=bf16)
        step, most = math.ceil(self.step_ratio * len(activity)), len(activity) - 1
        trial = copy.deepcopy(model)
        count, left = 0, math.inf
        while count < most and left >= limit:
            count = min(count + step, most)
            prune(trial, self.layer, least_active_cut(activity, count))
            left = accuracy(trial, held_out, bf16=bf16)
        return count, left


def least_active_cut(activity: Tensor, count: int) -> Tensor:
    """Which channels stay, bool (C,), when the `count` least active ones go; ties go by position."""
    keep = torch.ones_like(activity, dtype=torch.bool)
    keep[activity.argsort(stable=True)[:count]] = False
    return keep


def last_convolution(model: Classifier) -> nn.Conv2d:
    """The last convolution on the main path: one that projects a skip connection does not count."""
    layers = model.stages.named_modules()
    return [layer for name, layer in layers if isinstance(layer, nn.Conv2d) and "downsample" not in name][-1]


def channel_masks(model: Classifier, layer: str, keep: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The parameters that make or read the channels, each with a mask of its shape (broadcast) from keep (C,)."""
    if layer == "linear":
        return [(model.head.weight, keep[None, :])]
    convolution = last_convolution(model)
    masks = [(convolution.weight, keep[:, None, None, None])]
    return masks if convolution.bias is None else [*masks, (convolution.bias, keep)]


@torch.no_grad()
def prune(model: Classifier, layer: str, keep: Tensor) -> None:
    """Set the weights of the channels that go, `~keep` (C,), to zero."""
    for parameter, mask in channel_masks(model, layer, keep):
        parameter.mul_(mask)


@contextmanager
def held_at_zero(model: Classifier, layer: str, keep: Tensor) -> Iterator[None]:
    """Pruned weights get no gradient; being zero, weight decay and momentum leave them so."""
    masks = channel_masks(model, layer, keep)
    handles = [parameter.register_hook(partial(torch.mul, mask)) for parameter, mask in masks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
