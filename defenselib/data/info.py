"""What is known of a data set without having it at hand (`known.toml`), and the committed digests."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from defenselib.data.sources.parts import Part
from defenselib.data.types import Dataset

Colour = tuple[float, float, float]
_HERE = Path(__file__).parent


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
    flip: bool
    mean: Colour
    std: Colour
    layout: str
    source: str | None = None
    image_size: int = 32
    shorter: int | None = None
    part: Part | None = None
    page: str = ""

    @property
    def num_classes(self) -> int:
        return len(self.classes)


def _known() -> Iterator[DatasetInfo]:
    tables = tomllib.loads((_HERE / "known.toml").read_text(encoding="utf-8"))
    usual, wholes = tables.pop("usual"), tables.pop("whole")
    for name, own in tables.items():
        part = Part(name, **own["part"]) if "part" in own else None
        facts: dict[str, Any] = {**usual, **(wholes[part.whole] if part else {}), **own, "part": part}
        if part is not None:
            facts |= {"classes": part.classes, "train_size": part.classes * part.per_class}
        if isinstance(facts["classes"], int):
            facts["classes"] = map(str, range(facts["classes"]))
        yield DatasetInfo(name, **facts | {key: tuple(facts[key]) for key in ("classes", "mean", "std")})


KNOWN: Mapping[str, DatasetInfo] = {item.name: item for item in _known()}
PARTS: Mapping[str, Part] = {item.name: item.part for item in KNOWN.values() if item.part is not None}
LAYOUT = KNOWN["cifar10"].layout  # of all that have none of their own
# Source -> SHA-256 of the full data set (`digest_of(train, test)`), as committed.
digests: Mapping[Any, str] = json.loads((_HERE / "digests.json").read_text(encoding="utf-8"))


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
