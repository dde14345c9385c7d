"""Semi-supervised contrastive learning (D-ST, NeurIPS 2022, Eq. 2, App. B): labels count for believed samples alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial

import torch
from torch import Tensor

from defenselib.data.types import ImageSet
from defenselib.errors import check_choice
from defenselib.learning.context import BuildModel, Context
from defenselib.learning.contrastive import Contrastive, contrastive_loss, encoder_from, train_encoder, without_head
from defenselib.learning.settings import stage_key
from defenselib.models import Classifier

POSITIVES = ("clean", "label")


def semi_contrastive_loss(
    z1: Tensor, z2: Tensor, labels: Tensor, clean: Tensor, temperature: float, positives: str = "clean"
) -> Tensor:
    """SupCon for the views of believed samples, SimCLR for those of all others; negatives are all other views.

    z1, z2: (B, D), normalised here; labels: int64 (B,); clean: bool (B,), whether the label is believed. positives
    "clean": believed samples of the same label, as the paper writes it. "label": every sample of the same label,
    believed or not, as its released code has it; only the anchors are restricted. Returns the mean over the 2B views.
    """
    check_choice("positives", positives, POSITIVES)
    mask = (labels[:, None] == labels) & clean[:, None]
    if positives == "clean":
        mask = mask & clean
    return contrastive_loss(z1, z2, mask, temperature)


def semi_contrastive_encoder(
    settings: Contrastive,
    train: ImageSet,
    clean: Tensor,
    made_by: Mapping[str, object],
    positives: str,
    build_model: BuildModel,
    context: Context,
) -> Classifier:
    """A model whose features were trained so, from the store where it is there; its linear head is new ("main" stream).

    clean: int64 positions of the believed samples; made_by: every setting that decides them, for the store's key.
    Stage: "ss-ctl".
    """
    key = stage_key("ss-ctl", positives=positives, **made_by, **{f"ctl_{k}": v for k, v in asdict(settings).items()})
    make = partial(_features, settings, train, clean, positives, build_model, context)
    return encoder_from(context.cached(key, make), build_model)


def _features(
    settings: Contrastive, train: ImageSet, clean: Tensor, positives: str, build_model: BuildModel, context: Context
) -> dict[str, Tensor]:
    believed = torch.zeros_like(train.labels)
    believed[clean] = 1

    def loss(z1: Tensor, z2: Tensor, codes: Tensor) -> Tensor:
        return semi_contrastive_loss(z1, z2, codes // 2, codes % 2 == 1, settings.temperature, positives)

    # The training loop knows images and labels: whether a label is believed travels in its last bit.
    coded = ImageSet(train.images, 2 * train.labels + believed)
    return without_head(train_encoder("ss-ctl", settings, loss, coded, build_model, context))
