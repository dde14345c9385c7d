"""Images of 64 to 224 pixels in files that stay where they are: every attack poisons them, every defense trains on them
exactly as it does on the same images in memory."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from defenselib import attacks, data, defenses
from defenselib.data.host import images as host
from defenselib.data.host.images import HostImages
from defenselib.data.sources import cache as decoded
from defenselib.data.types import Dataset, ImageSet, PoisonedDataset
from defenselib.defenses.base import Fitted
from defenselib.learning.context import Context
from defenselib.learning.evaluation import evaluate
from defenselib.models import build_model
from defenselib.models.classifier import Classifier

from .attacks.test_every_attack import QUICK
from .defenses.tiny import TINY, granted
from .simulated_gpu import _place, simulated_gpu

CLASSES, A_CLASS = 12, 6
# At 224 one defense of every way to look at images (plain batches, views, pools, clean samples); the others nightly.
USUAL = ("none", "dst", "asd", "vab", "ft")
SIZES = [(64, name) for name in defenses.available()] + [
    pytest.param(224, name, marks=() if name in USUAL else pytest.mark.demo) for name in defenses.available()
]
TRAINED = ("iab", "dynamic", "ssba")  # whose networks take a while on large images
OTHER = {"narcissus": {"pood": "folder"}}  # drawn shapes have 32 pixels


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Pictures of twelve classes, a colour each with noise, as folders of PNG, by their side."""
    root, draw = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for side in (64, 224):
        for label in range(CLASSES):
            for split, count in (("train", A_CLASS), ("val", 2)):
                for number in range(count):
                    noise = draw.integers(0, 80, (8, 8, 3)) + 14 * label * np.array([1, (label % 3) / 2, 0.5])
                    place = root / str(side) / split / f"n{label:08}"
                    place.mkdir(parents=True, exist_ok=True)
                    picture = Image.fromarray(noise.clip(0, 255).astype(np.uint8)).resize((side, side))
                    picture.save(place / f"{number}.png", compress_level=1)
    return {side: root / str(side) for side in (64, 224)}


@cache
def loaded(folder: Path) -> tuple[Dataset, Dataset]:
    """The same data set in memory and in a mapped file."""
    small = data.load_dataset(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoded, "LARGE", 0)
        large = data.load_dataset(folder)
    assert isinstance(large.train.images, HostImages) and large.digest == small.digest
    return small, large


def model_at(side: int) -> Classifier:
    # Torch 2.14 crashes in the backward pass of eight filters of 7x7 on a processor.
    return build_model("resnet10", CLASSES, side, width=8 if side <= 64 else 16)


def poisoned_by(name: str, dataset: Dataset, **hyper: Any) -> PoisonedDataset:
    side = dataset.train.image_size
    attack = attacks.create(name, image_size=side, **hyper)
    target = None if attack.all_to_all else 3
    ready = attack.prepare(dataset.train, target, Context(model_factory=lambda: model_at(side)))
    count = "exact-target" if attack.clean_label else None
    rate = 0.0 if not attack.poisons else 0.5 if count else 0.1 if attack.cross_rate else 0.3
    return attacks.poison(dataset, ready, rate=rate, target=target, count=count)


def everything(images: ImageSet) -> torch.Tensor:
    return images.images[torch.arange(len(images))].clone()


@pytest.mark.slow
@pytest.mark.parametrize("side", [64, 224])
@pytest.mark.parametrize("name", attacks.available())
def test_every_attack_poisons_files_as_it_poisons_memory(name: str, side: int, folders: dict[int, Path]) -> None:
    if side > 64 and name in TRAINED:
        pytest.skip("its networks on 224 pixels take minutes; they are fully convolutional and run at 64")
    quick = dict(QUICK.get(name, {}))
    if name == "narcissus":
        quick["pood"] = str(folders[64])
    small, large = loaded(folders[side])
    before = everything(large.train)
    with pytest.MonkeyPatch.context() as patch:
        if name == "narcissus":  # the other data: the same folder, whatever the name
            patch.setattr("defenselib.attacks.narcissus.load_dataset", lambda *_, **how: small)
            quick["pood"] = "cifar100"
        one, two = (poisoned_by(name, dataset, **quick) for dataset in (small, large))
    assert torch.equal(everything(one.train), everything(two.train)) and torch.equal(before, everything(large.train))
    assert torch.equal(one.train.labels, two.train.labels) and torch.equal(one.is_poisoned, two.is_poisoned)
    assert torch.equal(everything(one.triggered_test), everything(two.triggered_test))
    assert bool(one.is_poisoned.any()) == attacks.ATTACKS[name].poisons


def fitted_on(name: str, poisoned: PoisonedDataset, device: str = "cpu") -> Fitted:
    side = poisoned.train.image_size
    upstream = None
    if defenses.DEFENSES[name].post_training:
        upstream = fitted_on("none", poisoned, device)
    given = granted(defenses.create(name, **TINY[name]), poisoned, device)
    context = Context(model_factory=lambda: model_at(side), device=device, upstream=upstream, **given)
    return defenses.create(name, **TINY[name]).fit(poisoned.train.channels_last(), context.build_model, context)


@pytest.mark.slow
@pytest.mark.parametrize(("side", "name"), SIZES)
def test_every_defense_trains_on_files_as_on_memory(
    side: int, name: str, folders: dict[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Parts of the training set stay in files as well, and only batches are copied.
    monkeypatch.setattr(host, "AT_ONCE", 36 * 3 * side**2)
    found = []
    for dataset in loaded(folders[side]):
        poisoned = poisoned_by("badnets", dataset)
        fitted = fitted_on(name, poisoned)
        seen = evaluate(fitted.model, poisoned)
        found.append((fitted, seen.acc, seen.asr))
    (one, *first), (two, *second) = found
    assert first == second and 0 <= first[0] <= 100
    for key, value in one.model.state_dict().items():
        assert torch.equal(value, two.model.state_dict()[key]), key
    assert (one.suspects is None) == (two.suspects is None)
    if one.suspects is not None and two.suspects is not None:
        assert torch.equal(one.suspects, two.suspects)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["none", "asd", "dst", "vab", "abl", "ft"])
def test_batches_come_to_another_device(name: str, folders: dict[int, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """With a GPU that is not there: images on the host, all else on it."""
    monkeypatch.setattr(host, "AT_ONCE", 36 * 3 * 64**2)
    poisoned = poisoned_by("badnets", loaded(folders[64])[1])
    with simulated_gpu():
        moved = poisoned.to("cuda")
        for item in (moved.train, moved.test):
            _place(item.images, "cuda")
            assert isinstance(item.images, HostImages)
        fitted = fitted_on(name, moved, "cuda")
        assert next(fitted.model.parameters()).is_cuda
