"""What a scan finds, and what a defense delivers, with the accuracy of its model."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from defenselib.audit.folder import UserData
from defenselib.data.subset import stratified_index
from defenselib.models import Classifier
from defenselib.plots.words import plural

QUIET = ("calm", "unknown")
# Signs that are shown and flag no file; of the verdict, the first weighs where many are copies under different labels.
COPIES = ("duplicates", "near_duplicates")


@dataclass(frozen=True)
class Sign:
    """One way of looking for poison.

    scores: float (N,), higher is more suspicious; NaN where it says nothing of an image. per_class: a number by class
    name. words: one sentence, what it found.
    """

    key: str
    title: str
    scores: Tensor
    per_class: dict[str, float]
    words: str


@dataclass(frozen=True)
class Verdict:
    """What the signs come to together.

    rank: int64 (N,), positions from the most to the least suspicious; score: float (N,) in [0, 1]; flagged: bool (N,).
    target: the class that the signs point to, None where they point to none; target_votes: class name by sign.
    alarm: "calm", "look" or "alarm", or "unknown" where the images are too few to be searched; words: how sure that is,
    and measured against what.
    null: what clean data score, and what this data's other classes score.
    """

    rank: Tensor
    score: Tensor
    flagged: Tensor
    target: int | None
    target_votes: dict[str, str]
    alarm: str
    words: str
    null: dict[str, Any]

    @property
    def quiet(self) -> bool:
        """Whether nothing stands out: there is nothing, or too little to find something in."""
        return self.alarm in QUIET


@dataclass(frozen=True)
class ScanReport(Verdict):
    """What `scan` returns.

    pattern: float (3, S, S), mean difference of the suspects in grey levels; mask: float (S, S) in [0, 1], where they
    are alike. None where no pattern was found. seconds: by stage.
    """

    signs: tuple[Sign, ...]
    pattern: Tensor | None
    mask: Tensor | None
    seconds: dict[str, float]


@dataclass(frozen=True)
class Accuracy:
    """Of the delivered model, in percent, on images that it was not trained on, nor on a copy of them.

    where: "held-out part" or "test folder". per_class: by label, NaN for one without an image. unflagged: without the
    files that the scan flags; None where it flags none of them, and on a test folder. copies: how many images were left
    out, because the model was trained on the same pixels. guess: percent of the images that are of the largest class.
    """

    where: str
    images: int
    percent: float
    per_class: tuple[float, ...]
    unflagged: float | None = None
    copies: int = 0
    guess: float | None = None


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


@dataclass(frozen=True)
class Measured:
    """The images for the accuracy. where: "held-out part" or "test folder"; index: bool over the images of the data, or
    of the test folder; copies: how many more there would be, were they not trained on too."""

    where: str
    index: Tensor
    copies: int

    @property
    def words(self) -> str:
        """After "accuracy is": on how many it is measured, or why on none."""
        count = int(self.index.sum())
        if not count and not self.copies:
            return "not known: nothing is held out and there is no test folder"
        if not count:
            return f"not known: of the {self.where}, every picture ({plural(self.copies, 'image')}) is trained on too"
        be = "is pixel by pixel an image that is" if self.copies == 1 else "are pixel by pixel those of images that are"
        also = f"; {self.copies} more {be} trained on, and not counted"
        return f"measured on {plural(count, 'image')} of the {self.where}{also if self.copies else ''}"


def held_out(labels: Tensor, pictures: Sequence[bytes], share: float, seed: int) -> Tensor:
    """Which images are held out, bool (N,): that share of the pictures, drawn by seed in class proportions.

    All copies of a picture (equal `pictures`) are on one side, and every class keeps an image to train on.
    """
    first: dict[bytes, int] = {}
    one = torch.tensor([first.setdefault(key, place) for place, key in enumerate(pictures)])
    alone = one.unique()
    few = labels[alone]
    keep = max(len(few.unique()), len(few) - round(share * len(few)))
    held = torch.ones(len(labels), dtype=torch.bool)
    held[alone[stratified_index(few, keep, seed, "held-out")]] = False
    held = held[one]
    for label in labels.unique().tolist():  # a class may have copies alone, of pictures that stand in another
        mine = labels == label
        if bool(held[mine].all()):
            held[one == one[mine.nonzero()[0]]] = False
    return held


def unseen(pictures: Sequence[bytes], trained: Collection[bytes]) -> Tensor:
    """Which pictures are not among those that are trained on, bool (N,)."""
    known = set(trained)
    return torch.tensor([key not in known for key in pictures], dtype=torch.bool)


def accuracy(
    measured: Measured, said: Tensor, labels: Tensor, classes: int, flagged: Tensor | None = None
) -> Accuracy | None:
    """Of what the model said of all images (N,), on those that are measured; None where there are none. flagged: what
    the scan flags of them."""
    index = measured.index
    if not bool(index.any()):
        return None
    right, mine = (said == labels)[index], labels[index]
    unflagged = None
    if flagged is not None and bool(flagged[index].any()) and not bool(flagged[index].all()):
        unflagged = _percent(right[~flagged[index]])
    per_class = tuple(_percent(right[mine == label]) for label in range(classes))
    guess = 100.0 * int(torch.bincount(mine).max()) / len(mine)
    return Accuracy(measured.where, len(mine), _percent(right), per_class, unflagged, measured.copies, guess)


def _percent(right: Tensor) -> float:
    return 100.0 * right.double().mean().item() if len(right) else float("nan")
