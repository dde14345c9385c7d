"""What is known of a data set without having it at hand, and the committed digests."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from defenselib.data.sources.names import CIFAR10_CLASSES, CIFAR100_CLASSES, GTSRB_CLASSES, SHAPES_CLASSES
from defenselib.data.sources.parts import Part
from defenselib.data.types import Dataset

Colour = tuple[float, float, float]
LAYOUT = "train.parquet and test.parquet, or train/ and test/ with a folder per class"
_ILSVRC = "train/WNID/*.JPEG and val/WNID/*.JPEG (or val/*.JPEG with LOC_val_solution.csv)"
_IMAGENET_PAGE = "https://image-net.org/download.php"

# No paper says which classes its subset of ImageNet has; how many, and of how many images, is theirs. ASD's, of which
# they say nothing, follows DBD's code, as BSD's does. V&B's counts are a split of the training images.
PARTS: dict[str, Part] = {
    part.name: part
    for part in (
        Part("imagenet-12", "imagenet", classes=12, per_class=1040, test=2860),
        Part("imagenet-30", "imagenet", classes=30, per_class=1300),
        Part("imagenet-200", "imagenet", classes=200, per_class=500),
        Part("imagenet-subset", "imagenet", classes=30, per_class=1300),
        # ASD's appendix; no printed number is at hand, and no count: thirty people, as there are classes of ImageNet.
        Part("vggface2", "vggface2", classes=30, per_class=240, test=1800),
    )
}


@dataclass(frozen=True)
class DatasetInfo:
    """Facts of a data set.

    train_size: training images of the full set. source: which copy of it the committed results were made on (a key
    of `digests`); None where no copy is committed. flip: whether a mirrored image keeps its label.
    mean, std: per channel, of pixels in [0, 1]. image_size, shorter: side in pixels, and the length that the shorter
    side has before the middle is cut out (see `sources.preparation`). part: of which larger data set it is a part, and
    which. page: where its owners give it out and say on which terms. layout: of their files.
    """

    name: str
    classes: tuple[str, ...]
    train_size: int
    source: str | None
    flip: bool
    mean: Colour
    std: Colour
    image_size: int = 32
    shorter: int | None = None
    part: Part | None = None
    page: str = ""
    layout: str = LAYOUT

    @property
    def num_classes(self) -> int:
        return len(self.classes)


# Pixels of ImageNet and of Tiny-ImageNet in [0, 1], as torchvision's models and D-BR's code have them.
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_TINY_MEAN, _TINY_STD = (0.4802, 0.4481, 0.3975), (0.2302, 0.2265, 0.2262)


def _numbers(count: int) -> tuple[str, ...]:
    """Names of classes that only the files name."""
    return tuple(map(str, range(count)))


def _of_imagenet(
    name: str, mean: Colour = _IMAGENET_MEAN, std: Colour = _IMAGENET_STD, shorter: int | None = 256
) -> DatasetInfo:
    """A part of ImageNet at 224 pixels; by default the middle of an image whose shorter side has 256, as in DBD's code,
    from which the papers take their settings there."""
    part = PARTS[name]
    return DatasetInfo(
        name=name,
        classes=_numbers(part.classes),
        train_size=part.classes * part.per_class,
        source=None,
        flip=True,
        mean=mean,
        std=std,
        image_size=224,
        shorter=shorter,
        part=part,
        page=_IMAGENET_PAGE,
        layout=_ILSVRC,
    )


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
            page="https://www.cs.toronto.edu/~kriz/cifar.html",
        ),
        DatasetInfo(
            name="cifar100",
            classes=CIFAR100_CLASSES,
            train_size=50000,
            source=None,
            flip=True,
            mean=(0.5071, 0.4865, 0.4409),
            std=(0.2673, 0.2564, 0.2762),
            page="https://www.cs.toronto.edu/~kriz/cifar.html",
        ),
        DatasetInfo(
            name="gtsrb",
            classes=GTSRB_CLASSES,
            train_size=39209,
            source="gtsrb-39209",
            flip=False,
            mean=(0.3403, 0.3121, 0.3214),
            std=(0.2724, 0.2608, 0.2669),
            page="https://benchmark.ini.rub.de/gtsrb_news.html",
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
        DatasetInfo(
            name="tiny-imagenet",
            classes=_numbers(200),
            train_size=100000,
            source=None,
            flip=True,
            mean=_TINY_MEAN,
            std=_TINY_STD,
            image_size=64,
            page=_IMAGENET_PAGE,
            layout="train/WNID/images/*.JPEG and val/images with val/val_annotations.txt",
        ),
        # D-BR's code: every image as a whole to 224 pixels, normalised as Tiny-ImageNet is.
        _of_imagenet("imagenet-200", mean=_TINY_MEAN, std=_TINY_STD, shorter=None),
        # BSD App. B.3: "resized to 224x224", as a whole.
        _of_imagenet("imagenet-30", shorter=None),
        _of_imagenet("imagenet-12"),
        _of_imagenet("imagenet-subset"),
        DatasetInfo(
            name="vggface2",
            classes=_numbers(PARTS["vggface2"].classes),
            train_size=PARTS["vggface2"].classes * PARTS["vggface2"].per_class,
            source=None,
            flip=True,
            mean=(0.5, 0.5, 0.5),
            std=(0.25, 0.25, 0.25),
            image_size=224,
            shorter=256,
            part=PARTS["vggface2"],
            page="https://www.robots.ox.ac.uk/~vgg/data/vgg_face2/",
            layout="train/n000002/*.jpg and test/n000001/*.jpg",
        ),
    )
}


class _Digests(Mapping[str, str]):
    """Source -> SHA-256 of the full data set (`digest_of(train, test)`), as committed; read when first asked for."""

    @cached_property
    def _table(self) -> dict[str, str]:
        content: dict[str, str] = json.loads(Path(__file__).with_name("digests.json").read_text(encoding="utf-8"))
        return content

    def __getitem__(self, source: object) -> str:
        return self._table[source]  # type: ignore[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)


digests = _Digests()


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
