"""What a defense is: a frozen dataclass of its hyper-parameters with `fit`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from defenselib.data.types import ImageSet
from defenselib.learning.context import BuildModel, Context, Fitted

__all__ = ["BuildModel", "CleanRequest", "Defense", "Fitted", "per_class"]


@dataclass(frozen=True)
class CleanRequest:
    """Clean samples that a paper grants its defense; the runner hands them over as `context.clean`.

    share: of the training set's size, drawn from truly clean training samples; per_class: that many a class.
    inside: the samples stay in the training set, and `context.clean_index` says where.
    poisoned: so many of them are poisoned samples of the target class (ASD, Table 5).
    source: another data set that they come from.
    """

    share: float | None = None
    per_class: int | None = None
    inside: bool = False
    poisoned: int = 0
    source: str | None = None


@dataclass(frozen=True, kw_only=True)
class Defense:
    """Base of all defenses. `fit` sees the training set as stored and nothing that only the attacker knows.

    A field with `metadata={"per_class": True}` is a count that the paper gives per class of the full data set;
    the runner scales its default with the size of a subset.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    post_training: ClassVar[bool] = False

    def clean_request(self) -> CleanRequest | None:
        """The clean samples it needs, if any."""
        return None

    def fit(self, train: ImageSet, build_model: BuildModel, context: Context) -> Fitted:
        raise NotImplementedError


def per_class(default: int) -> Any:
    """A dataclass field for a count that a paper gives per class of the full data set."""
    return field(default=default, metadata={"per_class": True})
