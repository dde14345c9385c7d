"""UDA's losses and signal annealing against hand-computed cases."""

import math

import numpy as np
import pytest
import torch

from defenselib.data.augment.crop_flip import Augment
from defenselib.data.types import ImageSet
from defenselib.errors import DefenseLibError
from defenselib.learning.context import Context
from defenselib.learning.semi_supervised import Trainee
from defenselib.learning.uda import UDA, annealed


def test_consistency_is_the_masked_divergence_from_the_sharpened_target():
    generator = torch.Generator().manual_seed(0)
    guess, logits = 4 * torch.randn(20, 5, generator=generator), torch.randn(20, 5, generator=generator)
    expected, counted = 0.0, 0
    for g, s in zip(guess.double().numpy(), logits.double().numpy(), strict=True):
        p = np.exp(g) / np.exp(g).sum()
        if p.max() <= 0.8:
            continue
        counted += 1
        target = np.exp(g / 0.4) / np.exp(g / 0.4).sum()
        q = np.exp(s) / np.exp(s).sum()
        expected += sum(t * math.log(t / r) for t, r in zip(target, q, strict=True))
    loss, confident = UDA().consistency(guess, logits)
    assert 0 < counted < 20
    assert loss.item() == pytest.approx(expected / 20, rel=1e-5)
    assert confident.item() == pytest.approx(counted / 20)


def test_agreement_costs_nothing_and_doubt_is_left_out():
    sure, unsure = torch.tensor([[6.0, 0.0, 0.0]]), torch.tensor([[0.5, 0.0, 0.0]])
    assert UDA(temperature=1.0).consistency(sure, sure)[0].item() == pytest.approx(0, abs=1e-6)
    assert UDA().consistency(unsure, -sure)[0].item() == 0


@pytest.mark.parametrize(
    ("signal", "expected"),
    [
        ("none", [1, 1, 1]),
        ("linear", [0.1, 0.55, 1]),
        ("log", [0.1, 0.1 + 0.9 * (1 - math.exp(-2.5)), 0.1 + 0.9 * (1 - math.exp(-5))]),
        ("exp", [0.1 + 0.9 * math.exp(-5), 0.1 + 0.9 * math.exp(-2.5), 1]),
    ],
)
def test_ceiling_of_the_training_signal(signal, expected):
    learner = UDA(signal=signal, epochs=120)
    assert [learner.ceiling(epoch, 10) for epoch in (0, 60, 120)] == pytest.approx(expected)


def test_annealed_leaves_out_samples_that_are_learnt_already():
    logits = torch.tensor([[math.log(9.0), 0.0], [0.0, 0.0], [0.0, math.log(3.0)]])  # p of label 0: 0.9, 0.5, 0.25
    labels = torch.zeros(3, dtype=torch.int64)
    assert annealed(logits, labels, 1.0).item() == pytest.approx(-math.log(0.9 * 0.5 * 0.25) / 3)
    assert annealed(logits, labels, 0.6).item() == pytest.approx(-math.log(0.5 * 0.25) / 2)
    assert annealed(logits, labels, 0.1).item() == 0


class Linear(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(192, 3)

    def forward(self, x):
        return self.head(x.flatten(1))


def trained(labels=None, seed=0, **hyper):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8, generator=generator)
    given = torch.arange(40) % 3 if labels is None else labels
    ctx = Context(model_factory=Linear, seed=seed)
    model = ctx.build_model()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    learner = UDA(**{"iterations": 3, "batch_size": 4, "unlabelled_ratio": 2, "threshold": 0.3, "epochs": 2.0, **hyper})
    sets = torch.arange(20), torch.arange(20, 40)
    losses = learner.train_epoch(Trainee(model, optimizer, ImageSet(images, given), ctx, Augment(1)), *sets, 1)
    assert set(losses) == {"loss_x", "loss_u", "confident"} and all(map(math.isfinite, losses.values()))
    return model.head.weight.detach()


def test_labels_of_unlabelled_samples_are_never_read_and_every_setting_counts():
    labels = torch.arange(40) % 3
    changed = torch.cat([labels[:20], (labels[20:] + 1) % 3])
    assert torch.equal(trained(labels), trained(changed)) and not torch.equal(trained(), trained(seed=1))
    for hyper in (
        {"temperature": 0.1}, {"threshold": 0.99}, {"lambda_u": 2.0}, {"signal": "exp"}, {"iterations": 2},
        {"batch_size": 5}, {"unlabelled_ratio": 1},
    ):  # fmt: skip
        assert not torch.equal(trained(), trained(**hyper)), hyper
    assert not torch.equal(trained(signal="exp", epochs=2.0), trained(signal="exp", epochs=9.0))


@pytest.mark.parametrize(
    "hyper", [{"signal": "lin"}, {"threshold": 1.1}, {"temperature": 0.0}, {"unlabelled_ratio": 0}]
)
def test_bad_settings_are_named(hyper):
    with pytest.raises(DefenseLibError, match=next(iter(hyper))):
        UDA(**hyper)
