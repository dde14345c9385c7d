"""What is known of a data set without having it at hand, and the committed digests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from defenselib.data.sources.names import CIFAR10_CLASSES, CIFAR100_CLASSES, GTSRB_CLASSES, SHAPES_CLASSES
from defenselib.data.types import Dataset

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class DatasetInfo:
    """Facts of a data set.

    train_size: training images of the full set. source: which copy of it the committed results were made on (a key
    of `digests`); None where no copy is committed. flip: whether a mirrored image keeps its label.
    mean, std: per channel, of pixels in [0, 1].
    """

    name: str
    classes: tuple[str, ...]
    train_size: int
    source: str | None
    flip: bool
    mean: Colour
    std: Colour

    @property
    def num_classes(self) -> int:
        return len(self.classes)


# The CIFAR-10 constants are those of the papers' code; std is the mean over images of the per-image std.
KNOWN: dict[str, DatasetInfo] = {
    item.name: item
    for item in (
        DatasetInfo(
            name="cifar10",
            classes=CIFAR10_CLASSES,
            train_size=50000,
            source="cifar10-jpeg",
            flip=True,
            mean=(0.4914, 0.4822, 0.4465),
            std=(0.2023, 0.1994, 0.2010),
        ),
        DatasetInfo(
            name="cifar100",
            classes=CIFAR100_CLASSES,
            train_size=50000,
            source=None,
            flip=True,
            mean=(0.5071, 0.4865, 0.4409),
            std=(0.2673, 0.2564, 0.2762),
        ),
        DatasetInfo(
            name="gtsrb",
            classes=GTSRB_CLASSES,
            train_size=39209,
            source="gtsrb-39209",
            flip=False,
            mean=(0.3403, 0.3121, 0.3214),
            std=(0.2724, 0.2608, 0.2669),
        ),
        DatasetInfo(
            name="shapes",
            classes=SHAPES_CLASSES,
            train_size=2000,
            source="shapes",
            flip=True,
            mean=(0.5, 0.5, 0.5),
            std=(0.25, 0.25, 0.25),
        ),
    )
}

# Source -> SHA-256 of the full data set (`digest_of(train, test)`).
digests: dict[str, str] = json.loads(Path(__file__).with_name("digests.json").read_text(encoding="utf-8"))


def available() -> tuple[str, ...]:
    """Names of the data sets that `load_dataset` knows by name."""
    return tuple(KNOWN)


def source_of(dataset: Dataset) -> str:
    """Which copy of a data set this is: a key of `digests`, "shapes", or "name:first 12 digits of the digest"."""
    if dataset.name == "shapes":
        return "shapes"  # its bytes follow from seed and size, which an experiment states by itself
    for source, digest in digests.items():
        if digest == dataset.digest:
            return source
    return f"{dataset.name}:{dataset.digest[:12]}"
