"""What A-ABL's figures ask of a model, against plain loops."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from defenselib import attacks, data
from defenselib.defenses.base import Fitted
from defenselib.experiments import Experiment, Store, run
from defenselib.experiments.measure import perturbed
from defenselib.experiments.measure.observer import Observer
from defenselib.models import build_model


@pytest.fixture(scope="module")
def poisoned() -> Any:
    dataset = data.load_dataset("shapes", limit=60)
    made = attacks.poison(dataset, attacks.create("badnets"), rate=0.3, seed=1)
    return replace(made, test=made.test.select(torch.arange(20)))


def tiny() -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_model("resnet10", width=8)


def asked(*names: str) -> Any:
    return SimpleNamespace(measure=names, precision="fp32", seed=0)


def moved(model: Any, images: torch.Tensor, labels: torch.Tensor, eps: float, steps: int) -> torch.Tensor:
    start = images.float() / 255
    current = start
    for _ in range(steps):
        current = current.detach().requires_grad_()
        (slope,) = torch.autograd.grad(F.cross_entropy(model(current), labels, reduction="sum"), current)
        current = (current + 2 / 255 * slope.sign()).detach().clamp(start - eps / 255, start + eps / 255).clamp(0, 1)
    return current


def test_resistance_is_the_share_that_keeps_its_label(poisoned: Any) -> None:
    model = tiny().train()
    found = perturbed.metrics_of(Fitted(model), poisoned, asked("resistance"))
    assert model.training
    train = poisoned.train.select(poisoned.is_poisoned)
    for name, eps, steps in (("eps=0", 0, 5), ("eps=8", 8, 5), ("steps=1", 2, 1), ("steps=10", 2, 10)):
        changed = moved(model.eval(), train.images, train.labels, eps, steps)
        expected = 100 * (model(changed).argmax(1) == train.labels).float().mean().item()
        assert found[f"resists/{name}"] == pytest.approx(expected, abs=100 / len(train) + 1e-6)
    assert len(found) == len(perturbed.EPS_GRID) + len(perturbed.STEPS_GRID)
    assert found["resists/eps=2"] == found["resists/steps=5"]


@pytest.mark.slow
def test_losses_of_both_groups(poisoned: Any) -> None:
    probe = perturbed.history_of(poisoned, asked("losses"))
    assert probe is not None
    model = tiny().train()
    row = probe(model)
    assert model.training and all(parameter.grad is None for parameter in model.parameters())
    model.eval()
    for name, part in (("clean", ~poisoned.is_poisoned), ("poisoned", poisoned.is_poisoned)):
        train = poisoned.train.select(part)
        plain = F.cross_entropy(model(train.images.float() / 255), train.labels).item()
        attacked = F.cross_entropy(model(moved(model, train.images, train.labels, 2, 5)), train.labels).item()
        assert row[f"{name}_loss"] == pytest.approx(plain, rel=1e-3)
        assert row[f"{name}_loss_ifgsm"] == pytest.approx(attacked, rel=1e-2)
        assert row[f"{name}_loss_pgd"] > row[f"{name}_loss"]
    assert 0 <= row["ra"] <= 100
    watch = Observer(poisoned, 0, probe=probe)
    watch("epoch", stage="s", epoch=0, model=model)
    assert watch.history[0]["clean_loss"] == row["clean_loss"]


def test_nothing_is_computed_that_nobody_asks_for(poisoned: Any) -> None:
    fitted: Any = None
    assert perturbed.history_of(poisoned, asked("acc")) is None
    assert perturbed.metrics_of(fitted, poisoned, asked("acc")) == {}
    assert perturbed.arrays_of(fitted, poisoned, asked("acc")) == {}


def test_the_kept_part_is_compared_with_the_truth(poisoned: Any) -> None:
    bad, good = poisoned.is_poisoned.nonzero().flatten(), (~poisoned.is_poisoned).nonzero().flatten()
    watch = Observer(poisoned, 0)
    watch("kept", index=torch.cat([good[:21], bad[:9]]), cut=1.5)
    expected = {"gamma": 50.0, "rho_vul": 30.0, "benign_kept": 2100 / len(good), "poison_kept": 900 / len(bad)}
    assert watch.metrics == pytest.approx(expected | {"cut": 1.5})


@pytest.mark.slow
def test_a_cell_that_stops_after_the_split_has_all_of_it(tmp_path: Any) -> None:
    """The naive model that it leaves is the one that was split with, and the full cell takes it from the store."""
    store = Store(tmp_path)
    cell = Experiment(attack="badnets", defense="aabl", stop_after="split", measure=("acc", "asr", "resistance", "sce"))
    result = run(cell, store, device="cpu", progress=False)
    assert {"gamma", "rho_vul", "otsu_gamma", "resists/eps=8"} <= set(result.metrics)
    assert [row["stage"] for row in result.history] == ["naive"] * 3 + ["split"]
    stored = result.arrays
    assert np.abs(stored["perturbed/plain"]).shape == stored["scores/vulnerability/0"].shape == (600,)
    kept = np.unpackbits(stored["in_pool/0"], count=600)
    assert 100 * kept.mean() == pytest.approx(result.metrics["gamma"])
    full = run(cell.replace(stop_after=None, measure=("acc", "asr", "ra")), store, device="cpu", progress=False)
    assert full.metrics["gamma"] == result.metrics["gamma"] and full.ra is not None
    # A history does not depend on which cell made the stage.
    assert full.history[: len(result.history)] == result.history and "naive (shared)" in full.stages
    assert full.suspects_count == 600 - kept.sum()


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
    found = perturbed.recovered(Fitted(Constant(answer)), poisoned, resolved)  # type: ignore[arg-type]
    assert found["recovered"] == pytest.approx(100 * sum(label == answer for label in counted.tolist()) / len(counted))


def test_it_is_measured_only_where_it_is_asked_for() -> None:
    poisoned = attacks.poison(data.load_dataset("shapes", limit=100), attacks.create("badnets"), rate=0.1, seed=0)
    assert perturbed.recovered(Fitted(Constant(1)), poisoned, Experiment(dataset="shapes").resolve()) == {}  # type: ignore[arg-type]
