"""97 images in batches of 32 leave one over, on maps of one pixel: every training-time defense trains all the same."""

from __future__ import annotations

import functools

import pytest
import torch
import torch.nn.functional as F

from defenselib import attacks, data, defenses
from defenselib.data.types import Dataset, ImageSet, PoisonedDataset
from defenselib.learning.context import Context
from defenselib.models import build_model

from .tiny import TINY, granted

# Their pools must hold a batch; the rest of their loops has remainders of its own.
SEMI_SUPERVISED = ("asd", "bsd", "dbd", "dbd-meta-split")


@functools.cache
def poisoned() -> PoisonedDataset:
    full = data.load_dataset("shapes", limit=97)
    small = [
        ImageSet(F.interpolate(part.images.float(), size=8).byte(), part.labels) for part in (full.train, full.test)
    ]
    made = Dataset("small", *small, full.classes, full.digest)
    return attacks.poison(made, attacks.create("badnets", image_size=8), rate=0.2)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in defenses.available() if not defenses.DEFENSES[name].post_training])
def test_every_defense_trains_with_a_remainder_of_one(name: str) -> None:
    sizes = {} if name in SEMI_SUPERVISED else {key: 32 for key in TINY[name] if key.endswith("batch_size")}
    defense = defenses.create(name, **(TINY[name] | sizes))
    context = Context(model_factory=lambda: build_model("resnet18", 10, 8, width=8), **granted(defense, poisoned()))
    fitted = defense.fit(poisoned().train.channels_last(), context.build_model, context)
    assert all(torch.isfinite(value).all() for value in fitted.model.state_dict().values())
