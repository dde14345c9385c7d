"""BSD's open-set scores on the way: at the right epochs, of the model as it is, against distances by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from defenselib import attacks, data
from defenselib.experiments import Experiment, Resolved
from defenselib.experiments.measure.figures import watch_of
from defenselib.experiments.measure.observer import Observer
from defenselib.models import build_model

POISONED = attacks.poison(data.load_dataset("shapes", limit=60), attacks.create("badnets"), rate=0.2)


def asked(**hyper: object) -> Resolved:
    args = {"stage1_end": 8, "pool_epochs": 1, "stage2_end": 9, "epochs": 9, **hyper}
    return Experiment(dataset="shapes", defense="bsd", profile="smoke", defense_args=args).resolve()


def test_a_quarter_and_a_half_of_the_warm_up_are_kept_and_the_model_is_left_alone() -> None:
    model = build_model("resnet10", width=8).train()
    watch = Observer(POISONED, 0, watch=watch_of(POISONED, replace(asked(), precision="fp32")))
    watch("target", guess=3)
    for stage in ("warmup", "bsd"):
        for epoch in range(9):
            watch("epoch", stage=stage, epoch=epoch, model=model)
    arrays = {name: value for name, value in watch.arrays().items() if name.startswith("scores/")}
    assert set(arrays) == {f"scores/distance_{rule}/{epoch}" for rule in ("min", "mean", "max") for epoch in (2, 4)}
    assert model.training
    labels = POISONED.train.labels.numpy()
    with torch.no_grad():
        found = model.eval().features(POISONED.train.images.float() / 255).double().numpy()
    means = [found[labels == label].mean(0) for label in np.unique(labels) if label != 3]
    apart = np.array([[np.sqrt(((x - mean) ** 2).sum()) for mean in means] for x in found])
    for rule, reduced in (("min", apart.min(1)), ("mean", apart.mean(1)), ("max", apart.max(1))):
        expected = np.where(labels == 3, reduced, np.nan)
        np.testing.assert_allclose(arrays[f"scores/distance_{rule}/2"], expected, rtol=2e-3)


@pytest.mark.parametrize("hyper", [{"initial_pool": "random"}, {"all_to_all": True}])
def test_runs_whose_main_model_has_no_warm_up_keep_nothing(hyper: dict[str, object]) -> None:
    assert watch_of(POISONED, asked(**hyper)) is None
    assert watch_of(POISONED, Experiment(dataset="shapes", profile="smoke").resolve()) is None
