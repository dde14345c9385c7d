"""What a defense delivers on data of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from defenselib.audit.folder import UserData
from defenselib.audit.signs import ScanReport
from defenselib.models import Classifier


@dataclass(frozen=True)
class Accuracy:
    """Of the delivered model, in percent, on images that it was not trained on, nor on a copy of them.

    where: "held-out part" or "test folder". per_class: by label, NaN for one without an image. unflagged: without the
    files that the scan flags; None where it flags none of them, and on a test folder. copies: how many images were left
    out, because the model was trained on the same pixels.
    """

    where: str
    images: int
    percent: float
    per_class: tuple[float, ...]
    unflagged: float | None = None
    copies: int = 0


@dataclass(frozen=True)
class Delivery:
    """A defended model and what it says of the data.

    defense: its name. scan: what was found before. suspects: bool (N,), the method's own set. score: float (N,), higher
    is more suspicious, NaN where a file was held out; None for a method without one. target: the class that the method
    takes for the attacker's. predicted: int64 (N,), what the model takes each file for. held_out: bool (N,), not
    trained on. removed: bool (N,), what the cleaned list leaves out. accuracy: None where there was nothing to measure
    on; measured: on how many, or why on none, in words. settings: what was asked for, in words.
    beside: the other folders that were read,
    by name. files: what was written, with a line on each.
    """

    defense: str
    scan: ScanReport
    model: Classifier
    suspects: Tensor
    score: Tensor | None
    target: int | None
    predicted: Tensor
    held_out: Tensor
    removed: Tensor
    accuracy: Accuracy | None
    settings: Mapping[str, str]
    measured: str = ""
    beside: Mapping[str, UserData] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
