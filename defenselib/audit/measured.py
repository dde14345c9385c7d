"""What a delivered model is measured on: images that it was not trained on, under whatever name they lie."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from defenselib.audit.delivery import Accuracy
from defenselib.data.subset import stratified_index


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
            return f"not known: of the {self.where}, every picture ({self.copies} images) is trained on too"
        also = f"; {self.copies} more are pixel by pixel those of images that are trained on, and not counted"
        return f"measured on {count} images of the {self.where}{also if self.copies else ''}"


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
    return Accuracy(measured.where, len(mine), _percent(right), per_class, unflagged, measured.copies)


def _percent(right: Tensor) -> float:
    return 100.0 * right.double().mean().item() if len(right) else float("nan")
