"""Folders of pictures to try a scan and a defense on: a data set, poisoned or not, written as PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from defenselib import folders
from defenselib.attacks import create, poison
from defenselib.attacks.base import Attack
from defenselib.data import load_dataset
from defenselib.data.types import Dataset, ImageSet, PoisonedDataset
from defenselib.errors import check_choice
from defenselib.experiments import profile as profiles
from defenselib.learning.evaluation import accuracy
from defenselib.models import Classifier


@dataclass(frozen=True)
class Example:
    """A folder that was written, and what whoever scans it does not know.

    folder: PNG files, a folder a class. files: their paths in it, in the order of the images. is_poisoned: bool (N,) in
    that order. attack, target: None where nothing was poisoned. test, triggered: images that the folder does not hold,
    plain ones and with the trigger, these labelled as the attacker wants, both in the order of `classes`.
    """

    folder: Path
    files: tuple[str, ...]
    is_poisoned: Tensor
    attack: Attack | None
    target: int | None
    test: ImageSet
    triggered: ImageSet | None
    classes: tuple[str, ...]

    def poisoned_among(self, files: Sequence[str]) -> Tensor:
        """bool (N,) for these paths, in whatever order they were read."""
        known = dict(zip(self.files, self.is_poisoned.tolist(), strict=True))
        return torch.tensor([known[name] for name in files], dtype=torch.bool)

    def accuracy(self, model: Classifier, classes: Sequence[str]) -> tuple[float, float | None]:
        """Of a model with these `classes`: accuracy on the plain images, and how often the trigger gets what the
        attacker wants, in percent. None where nothing was poisoned."""
        place = torch.tensor([list(classes).index(name) for name in self.classes], dtype=torch.int64)

        def share(images: ImageSet) -> float:
            return accuracy(model, ImageSet(images.images, place[images.labels]))

        return share(self.test), None if self.triggered is None else share(self.triggered)


def drawn_folder(folder: str | Path, images: int = 600, attack: str | None = "badnets", seed: int = 0) -> Example:
    """Drawn shapes as a folder, poisoned by an attack with the settings of the profile `demo`; None poisons nothing.

    Errors: UnknownNameError for an attack that the profile has no settings for, or that trains something first.
    """
    known = {name: dict(section.values) for name, section in profiles.load("demo").attack.items()}
    untrained = [name for name, values in known.items() if "rate" in values or name == "trojan"]
    settings = {} if attack is None else known[check_choice("attack on drawn shapes", attack, untrained)]
    rate = settings.pop("rate", None)
    return poisoned_folder(folder, load_dataset("shapes", limit=images), attack, rate, seed, **settings)


def write_folder(folder: Path, images: ImageSet, classes: Sequence[str]) -> tuple[str, ...]:
    """Write `images` as CLASS/NUMBER.png; their paths below `folder`, in order. Errors: FolderError."""
    names = tuple(f"{classes[label]}/{i:06d}.png" for i, label in enumerate(images.labels.tolist()))
    for name in dict.fromkeys(name.partition("/")[0] for name in names):
        folders.make(folder / name)
    with folders.writing(folder):
        for name, image in zip(names, images.images.cpu(), strict=True):
            Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(folder / name)
    return names


def poisoned_folder(
    folder: str | Path,
    dataset: Dataset,
    attack: str | None = "badnets",
    rate: float | None = None,
    seed: int = 0,
    **hyper: Any,
) -> Example:
    """Write a data set as a folder, poisoned by an attack whose trigger needs no training; None poisons nothing.

    rate: share of the images, as the attack's paper counts them; None takes the paper's.
    """
    made = create(attack or "none", image_size=dataset.train.image_size, seed=seed, **hyper)
    return example_of(folder, poison(dataset, made, rate if made.poisons else 0.0, None, seed), made, dataset.classes)


def example_of(folder: str | Path, found: PoisonedDataset, attack: Attack, classes: tuple[str, ...]) -> Example:
    """Write what an attack made of a data set as a folder."""
    place = Path(folder)
    files = write_folder(place, found.train, classes)
    if not attack.poisons:
        return Example(place, files, found.is_poisoned, None, None, found.test, None, classes)
    return Example(place, files, found.is_poisoned, attack, found.target, found.test, found.triggered_test, classes)
