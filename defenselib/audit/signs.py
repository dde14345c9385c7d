"""What a scan finds: signs side by side, and what they come to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

QUIET = ("calm", "unknown")
COPIES = ("duplicates", "near_duplicates")  # signs that are shown, and neither flag a file nor weigh in the verdict


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
