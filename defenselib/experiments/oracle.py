"""A diagnostic that is no defense: ASD with a split that knows the poison.

The pools have ASD's sizes and schedule, but poisoned samples come last. What remains between this run and the
undefended model is the price of the semi-supervised schedule, not of the split.
"""

from __future__ import annotations

import dataclasses

from torch import Tensor

from defenselib.defenses.asd import ASD


def with_oracle(defense: ASD, is_poisoned: Tensor) -> ASD:
    """The same ASD, ranking every poisoned sample (bool (N,)) behind every clean one."""

    class OracleASD(ASD):
        def admissible(self, scores: Tensor) -> Tensor:
            return scores.masked_fill(is_poisoned.to(scores.device), float("inf"))

    return OracleASD(**{field.name: getattr(defense, field.name) for field in dataclasses.fields(defense)})
