"""How many triggered images get their true class back, against a count by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from defenselib import attacks, data
from defenselib.defenses.base import Fitted
from defenselib.experiments import Experiment
from defenselib.experiments.measure import recovery


class Constant(nn.Module):
    """Says the same class about every image."""

    def __init__(self, answer: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.eye(10)[answer])

    def forward(self, images: Tensor) -> Tensor:
        return self.logits.expand(len(images), -1)


@pytest.mark.parametrize(("attack", "answer"), [("badnets", 5), ("badnets", 3), ("badnets-all2all", 5)])
def test_it_counts_true_classes_of_triggered_images(attack: str, answer: int) -> None:
    poisoned = attacks.poison(data.load_dataset("shapes", limit=100), attacks.create(attack), rate=0.1, seed=0)
    resolved = Experiment(dataset="shapes", attack=attack, measure=("acc", "recovered")).resolve()
    labels = poisoned.test.labels
    counted = labels if attack == "badnets-all2all" else labels[labels != 3]
    found = recovery.metrics_of(Fitted(Constant(answer)), poisoned, resolved)  # type: ignore[arg-type]
    assert found["recovered"] == pytest.approx(100 * sum(label == answer for label in counted.tolist()) / len(counted))


def test_it_is_measured_only_where_it_is_asked_for() -> None:
    poisoned = attacks.poison(data.load_dataset("shapes", limit=100), attacks.create("badnets"), rate=0.1, seed=0)
    assert recovery.metrics_of(Fitted(Constant(1)), poisoned, Experiment(dataset="shapes").resolve()) == {}  # type: ignore[arg-type]
