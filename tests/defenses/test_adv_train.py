"""Adversarial training as a baseline: A-ABL's settings, and a killed run that goes on."""

import pytest
import torch

from defenselib import defenses
from defenselib.data.types import ImageSet
from defenselib.errors import DefenseLibError
from defenselib.learning.context import Context
from defenselib.models import build_model

SMALL = dict(epochs=3, batch_size=8, milestones=(2,), steps=2, padding=1)


def images():
    stream = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (30, 3, 8, 8), dtype=torch.uint8, generator=stream)
    return ImageSet(pixels, torch.arange(30) % 3)


def fit(**more):
    tool = Context(model_factory=lambda: build_model("resnet10", 3, 8, width=8), **more)
    return defenses.create("adv-train", **SMALL).fit(images(), tool.build_model, tool)


def test_defaults_are_the_papers():
    made = defenses.create("adv-train")
    assert (made.eps, made.step, made.steps) == (8, 2, 10)
    assert (made.epochs, made.learning_rate, made.schedule, made.milestones) == (100, 0.1, "step", (50, 75, 90))
    assert (made.momentum, made.weight_decay, made.batch_size) == (0.9, 5e-4, 128)


class Killed(Exception):
    pass


class Observer:
    """Records the learning rate and loss of each epoch; stops the run where asked, as a kill would."""

    def __init__(self, kill=None):
        self.seen, self.kill = [], kill

    def __call__(self, event, **what):
        assert event == "epoch"
        self.seen.append((what["stage"], what["epoch"], what["loss"]))
        if what["epoch"] == self.kill:
            raise Killed

    def state_dict(self):
        return {"seen": self.seen}

    def load_state_dict(self, state):
        self.seen = list(state["seen"])


def test_a_killed_run_goes_on_with_the_same_numbers(tmp_path):
    whole, first, second = Observer(), Observer(kill=1), Observer()
    expected = fit(observer=whole).model.state_dict()
    with pytest.raises(Killed):
        fit(observer=first, checkpoints=tmp_path, checkpoint_every=0)
    resumed = fit(observer=second, checkpoints=tmp_path, checkpoint_every=0).model.state_dict()
    assert [(stage, epoch) for stage, epoch, _ in whole.seen] == [("adversarial", epoch) for epoch in range(3)]
    assert second.seen == whole.seen
    assert all(torch.equal(value, resumed[name]) for name, value in expected.items())


@pytest.mark.parametrize(
    "bad", [{"epochs": 0}, {"batch_size": 0}, {"eps": -1.0}, {"steps": 0}, {"schedule": "stp"}, {"padding": -1}]
)
def test_bad_values(bad):
    with pytest.raises(DefenseLibError):
        defenses.create("adv-train", **bad)
