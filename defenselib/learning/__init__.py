"""Training loops, losses, learners and evaluation that the methods are built from."""

from defenselib.learning import (
    adversarial,
    batches,
    contrastive,
    evaluation,
    losses,
    mixing,
    semi_supervised,
    supervised,
)
from defenselib.learning.context import Context

__all__ = [
    "Context",
    "adversarial",
    "batches",
    "contrastive",
    "evaluation",
    "losses",
    "mixing",
    "semi_supervised",
    "supervised",
]
