"""Do triggered images get their true class back? BSD's Figure 10 calls the share "RA" (App. D.6)."""

from __future__ import annotations

from defenselib.data.types import PoisonedDataset
from defenselib.defenses.base import Fitted
from defenselib.experiments.spec import Resolved
from defenselib.learning.evaluation import predict


def metrics_of(fitted: Fitted, poisoned: PoisonedDataset, resolved: Resolved) -> dict[str, float]:
    """`recovered`: percent of the triggered test images that are classified as their true class, where it is asked
    for. The paper does not define its RA; this is what the sum of RA and ASR suggests, which is at most 100."""
    if "recovered" not in resolved.measure:
        return {}
    labels = poisoned.test.labels
    truth = labels if poisoned.target is None else labels[labels != poisoned.target]
    found = predict(fitted.model, poisoned.triggered_test.images, bf16=resolved.precision == "bf16")
    return {"recovered": 100.0 * (found == truth.to(found.device)).double().mean().item()}
