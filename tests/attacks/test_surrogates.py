"""Surrogates: trained once for all who ask for the same, on streams of their own, with the schedule of the paper."""

import pytest
import torch

from defenselib import attacks
from defenselib.attacks.surrogates import Training, _schedule, surrogate
from defenselib.errors import DefenseLibError
from defenselib.learning.context import Context
from defenselib.models import build_model

from .conftest import random_dataset

QUICK = dict(surrogate_epochs=1, surrogate_images=40, surrogate_batch_size=20)


def context(seed=0, **more):
    return Context(model_factory=lambda: build_model("resnet10", 10, 32, width=8), seed=seed, **more)


class Store:
    """Keeps what it has made, and counts."""

    def __init__(self):
        self.kept, self.made = {}, []

    def __call__(self, key, make):
        if key not in self.kept:
            self.made.append(key.split()[0])
            self.kept[key] = {name: value.clone() for name, value in make().items()}
        return self.kept[key]


def test_attacks_that_ask_for_the_same_surrogate_share_it():
    store, train = Store(), random_dataset(80).train
    tool = context(cache=store)
    for preset in ("asd", "cl-32", "aabl"):  # the same robust surrogate, other perturbations
        attacks.create("clb", preset=preset, iterations=1, surrogate_steps=1, **QUICK).prepare(train, 3, tool)
    assert store.made.count("surrogate") == 1 and store.made.count("clb") == 3
    same = dict(surrogate_learning_rate=0.1, surrogate_schedule="onecycle", **QUICK)
    attacks.create("clb", preset="dst_dbr", iterations=1, **same).prepare(train, 3, tool)
    for preset in ("asd", "bsd"):
        attacks.create("adaptive", preset=preset, images=9, **same | {"iterations": 1}).prepare(train, 3, tool)
    assert store.made.count("surrogate") == 2


def test_kept_and_fresh_surrogates_are_the_same_model():
    store, train = Store(), random_dataset(40).train
    how = Training("robust", 2, 16, 0.1, "triangle", eps=8, step=4, steps=1)
    fresh = surrogate(train, how, context())
    again = [surrogate(train, how, context(cache=store)) for _ in range(2)]
    other = surrogate(train, how, context(seed=1))
    for model in again:
        assert not model.training
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), fresh.parameters(), strict=True))
    assert not torch.equal(other.head.weight, fresh.head.weight)


def test_a_killed_training_goes_on_with_the_same_numbers(tmp_path):
    train = random_dataset(40).train
    how = Training("standard", 3, 16, 0.1, "triangle")

    class Killed(Exception):
        pass

    def killing(key, make):
        tool = context(checkpoints=tmp_path, checkpoint_every=0)
        epochs = tool.epochs

        def stop_early(stage, n, **state):
            for epoch in epochs(stage, n, **state):
                if epoch == 2:
                    raise Killed
                yield epoch

        tool.epochs = stop_early
        return surrogate(train, how, tool).state_dict()

    with pytest.raises(Killed):
        killing("", None)
    resumed = surrogate(train, how, context(checkpoints=tmp_path, checkpoint_every=0))
    whole = surrogate(train, how, context())
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), whole.parameters(), strict=True))


def test_triangle_rises_and_falls():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.2)
    schedule = _schedule(Training(epochs=2, schedule="triangle"), optimizer, 4)
    rates = []
    for _ in range(8):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.2 * share / 8 for share in (1, 3, 5, 7, 7, 5, 3, 1)])


def test_a_head_of_other_size():
    train = random_dataset(40).train
    model = surrogate(train, Training(epochs=1, batch_size=20), context(), outputs=17, pood="x")
    assert model.head.out_features == 17
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, 17)


@pytest.mark.parametrize(
    "bad",
    [{"kind": "robst"}, {"schedule": "tri"}, {"epochs": 0}, {"images": -1}, {"learning_rate": 0.0}, {"kind": "robust"}],
)
def test_bad_values(bad):
    with pytest.raises(DefenseLibError):
        Training(**bad)
