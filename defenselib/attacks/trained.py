"""Attacks that train or search something first: surrogates, generators, encoders, patterns."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

from torch import Tensor

from defenselib.attacks.base import Attack
from defenselib.data.types import ImageSet
from defenselib.errors import NotPreparedError
from defenselib.learning.context import Context
from defenselib.learning.stages import stage_key

# What says how an attack is used, not what it trains.
_NOT_LEARNED = ("image_size", "plan", "seed", "trained")


@dataclass(frozen=True, kw_only=True)
class TrainedAttack(Attack):
    """Base of attacks with a `learn` step. `trained` is its outcome and no hyper-parameter: tensors by name, which
    `prepare` fills in, through the store, and without which the attack refuses to work.

    Subclasses write `learn`, and read `self.ready()[name]` in `__call__`.
    """

    trained: Mapping[str, Tensor] | None = field(
        default=None, repr=False, compare=False, metadata={"hyper_parameter": False}
    )

    def learn(self, train: ImageSet, target: int | None, context: Context) -> dict[str, Tensor]:
        """Train on `train` (as the attacker has it: clean) and return what the trigger needs."""
        raise NotImplementedError

    def learned_from(self, target: int | None) -> dict[str, Any]:
        """What decides the outcome of `learn` beside data, model and seed; a subclass may leave out what does not
        (the opacity of a trigger, a target class that is not looked at), so that more cells share it."""
        settings = {
            item.name: getattr(self, item.name) for item in dataclasses.fields(self) if item.name not in _NOT_LEARNED
        }
        return settings | {"target": target}

    def prepare(self, train: ImageSet, target: int | None, context: Context) -> Self:
        self.check_images(train.images)
        key = stage_key(self.name, **self.learned_from(target))
        return self.with_trained(context.cached(key, partial(self.learn, train, target, context)))

    def with_trained(self, trained: Mapping[str, Tensor]) -> Self:
        """A copy that works with these tensors."""
        return dataclasses.replace(self, trained=dict(trained))

    def ready(self) -> Mapping[str, Tensor]:
        """The trained tensors. Raises NotPreparedError before `prepare`."""
        if self.trained is None:
            raise NotPreparedError(
                f"attack {self.name!r} must be trained first: attack = attack.prepare(dataset.train, target, context); "
                "`defenselib.run` does it by itself"
            )
        return self.trained
