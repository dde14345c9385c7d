"""D-ST's baselines: settings, a frozen extractor, a stage that is shared with DBD."""

import copy

import pytest
import torch

from defenselib import defenses
from defenselib.data.types import ImageSet
from defenselib.errors import DefenseLibError
from defenselib.learning.context import Context
from defenselib.models import build_model

NAMES = ("simclr-baseline", "supcon-baseline")
SMALL = {"epochs": 2, "batch_size": 30, "warmup": 1, "linear_epochs": 2, "linear_learning_rate": 0.5}


def images(n=60):
    """Three classes of noise: dark, medium, bright."""
    noise = torch.randint(0, 10, (n, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(n) % 3
    level = torch.tensor([10, 90, 240], dtype=torch.uint8)[labels]
    return ImageSet(noise + level[:, None, None, None], labels)


def context(**more):
    return Context(model_factory=lambda: build_model("resnet10", num_classes=3, image_size=8, width=8), **more)


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_those_of_d_sts_stages(name):
    baseline = defenses.create(name)
    first = baseline.contrastive()
    assert (first.epochs, first.batch_size, first.learning_rate, first.warmup) == (200, 512, 0.5, 10)
    assert (first.momentum, first.weight_decay, first.temperature, first.head_norm) == (0.9, 1e-4, 0.1, False)
    assert first.loss_scale == pytest.approx(0.1 / 0.07) and not first.blur
    assert (baseline.linear_epochs, baseline.linear_learning_rate, baseline.linear_batch_size) == (10, 5.0, 512)


@pytest.mark.parametrize("name", NAMES)
def test_classifier_learns_on_an_extractor_that_stands_still(name):
    baseline, ctx = defenses.create(name, **{**SMALL, "linear_epochs": 30}), context()
    model = ctx.build_model()
    before = copy.deepcopy(model.state_dict())
    baseline.classified(model, images(), ctx)
    after = model.state_dict()
    assert {key for key in after if not torch.equal(after[key], before[key])} == {"head.weight", "head.bias"}
    with torch.no_grad():
        hits = model.eval()(images().images / 255).argmax(1) == images().labels
    assert hits.float().mean() > 0.8


def test_dbd_and_the_baseline_share_their_first_stage_where_the_settings_agree():
    keys = []

    def cache(key, make):
        keys.append(key)
        return make()

    agreed = {"base_temperature": 0.0, "temperature": 0.5, "head_norm": True, "final_share": 0.0, "blur": True}
    small = {**SMALL, "warmup": 0, "learning_rate": 0.4}
    dbd = {
        "simclr_epochs": 2, "simclr_batch_size": 30, "linear_epochs": 1, "epochs": 1, "iterations": 1, "batch_size": 4,
    }  # fmt: skip
    for name, settings in (("dbd", dbd), ("simclr-baseline", small | agreed), ("simclr-baseline", small)):
        ctx = context(cache=cache)
        defenses.create(name, **settings).fit(images(), ctx.build_model, ctx)
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize(
    "hyper",
    [{"linear_epochs": 0}, {"linear_learning_rate": -1.0}, {"temperature": 0.0}, {"warmup": 500}, {"warmpu": 5}],
)
@pytest.mark.parametrize("name", NAMES)
def test_bad_hyper_parameters_are_errors_before_any_work(name, hyper):
    with pytest.raises(DefenseLibError, match=next(iter(hyper))):
        defenses.create(name, **hyper)
