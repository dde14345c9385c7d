"""DBD's stages against the authors' numbers and hand-computed cases."""

import copy

import numpy as np
import pytest
import torch

from defenselib import defenses
from defenselib.data.augment.crop_flip import Augment
from defenselib.data.types import ImageSet
from defenselib.defenses.dbd import DBD
from defenselib.errors import DefenseLibError
from defenselib.learning.context import Context
from defenselib.learning.semi_supervised import Trainee
from defenselib.learning.supervised import make_optimizer
from defenselib.models import build_model

SMALL = {
    "simclr_epochs": 1, "simclr_batch_size": 30, "linear_epochs": 2, "linear_batch_size": 30, "epochs": 3, "rampup": 3,
    "iterations": 2, "batch_size": 4, "padding": 1,
}  # fmt: skip


class Recorder:
    def __init__(self):
        self.events = []

    def __call__(self, event, **what):
        self.events.append((event, what))

    def state_dict(self):
        return {}

    def load_state_dict(self, state): ...

    def of(self, event):
        return [what for e, what in self.events if e == event]


def images(n=60):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, 3, 8, 8), dtype=torch.uint8, generator=generator)
    return ImageSet(pixels, torch.arange(n) % 3)


def context(**more):
    return Context(model_factory=lambda: build_model("resnet10", num_classes=3, image_size=8, width=8), **more)


def fit(**more):
    ctx = context(**more)
    return DBD(**SMALL).fit(images(), ctx.build_model, ctx)


def test_defaults_are_the_authors():
    dbd = defenses.create("dbd")
    first = dbd.contrastive()
    assert (first.epochs, first.batch_size, first.learning_rate, first.temperature) == (1000, 512, 0.4, 0.5)
    assert (first.momentum, first.weight_decay, first.head_norm, first.blur) == (0.9, 1e-4, True, True)
    assert [first.rate(step, 1) for step in (0, 500, 1000)] == pytest.approx([1, 0.5, 0])
    assert first.loss_scale == 1
    assert (dbd.linear_epochs, dbd.linear_batch_size, dbd.epochs, dbd.epsilon) == (10, 128, 190, 0.5)
    assert (dbd.learning_rate, dbd.iterations, dbd.batch_size, dbd.lambda_u, dbd.rampup) == (0.002, 1024, 64, 15, 190)


def test_linear_stage_minimises_symmetric_cross_entropy_over_the_head_alone():
    ctx, train = context(flip=False), images()
    model = ctx.build_model()
    before = copy.deepcopy(model)
    dbd = DBD(**{**SMALL, "linear_batch_size": 60})
    optimizer = make_optimizer(list(model.parameters()), "adam", 0.002)
    loss = dbd.linear_epoch(Trainee(model, optimizer, train, ctx, Augment(0, flip=False)))
    with torch.no_grad():
        p = before.train()(train.images / 255).softmax(1).double().numpy()
    expected = []
    for row, label in zip(p, train.labels.tolist(), strict=True):
        one_hot = np.clip(np.eye(3)[label], 1e-4, 1)
        expected.append(-0.1 * np.log(row[label]) - (np.clip(row, 1e-7, 1) * np.log(one_hot)).sum())
    assert loss == pytest.approx(np.mean(expected), rel=1e-4)
    moved = {name for name, value in model.named_parameters() if not torch.equal(value, before.state_dict()[name])}
    assert moved == {"head.weight", "head.bias"}


def test_features_stay_in_the_linear_stage_but_their_statistics_move():
    recorder = Recorder()

    class Keeping(Recorder):
        def __call__(self, event, **what):
            if event == "epoch":
                recorder(event, **{**what, "model": copy.deepcopy(what["model"].state_dict())})

    fit(observer=Keeping())
    first, second = [what["model"] for what in recorder.of("epoch") if what["stage"] == "linear"]
    changed = {name for name in first if not torch.equal(first[name], second[name])}
    assert {"head.weight", "head.bias", "stem.1.running_mean"} <= changed
    assert not any(name.startswith(("stem", "stages")) and name.endswith(("weight", "bias")) for name in changed)


def test_split_takes_the_share_of_least_loss_anew_every_epoch():
    recorder = Recorder()
    fitted = fit(observer=recorder)
    splits = recorder.of("split")
    assert [what["epoch"] for what in splits] == [0, 1, 2]
    for what in splits:
        inside = torch.zeros(60, dtype=torch.bool)
        inside[what["clean"]] = True
        assert inside.sum() == 30
        assert what["scores"][inside].max() <= what["scores"][~inside].min()
    assert sorted([*splits[-1]["clean"].tolist(), *fitted.suspects.tolist()]) == list(range(60))
    weights = [what["lambda_u"] for what in recorder.of("epoch") if what["stage"] == "dbd"]
    assert weights == pytest.approx([2.5, 7.5, 12.5])  # after the last but one of two steps, ramp of 3


@pytest.mark.slow
@pytest.mark.parametrize("death", [("simclr", 0), ("linear", 1), ("dbd", 2)])
def test_a_killed_run_ends_with_the_same_numbers(tmp_path, death):
    class Killed(Exception):
        pass

    class Dying(Context):
        def epochs(self, stage, n, **state):
            for epoch in super().epochs(stage, n, **state):
                if (stage, epoch) == death:
                    raise Killed
                yield epoch

    more = {"checkpoints": tmp_path, "checkpoint_every": 0}
    ctx = Dying(model_factory=lambda: build_model("resnet10", num_classes=3, image_size=8, width=8), **more)
    with pytest.raises(Killed):
        DBD(**SMALL).fit(images(), ctx.build_model, ctx)
    expected, resumed = fit(), fit(**more)
    state = resumed.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in expected.model.state_dict().items())
    assert torch.equal(expected.suspects, resumed.suspects)


@pytest.mark.parametrize(
    "hyper",
    [
        {"epsilon": 1.5},
        {"iterations": 0},
        {"linear_epochs": 0},
        {"simclr_blurr": True},
        {"padding": -1},
    ],
)
def test_bad_hyper_parameters_are_errors_before_any_work(hyper):
    with pytest.raises(DefenseLibError, match=next(iter(hyper))):
        defenses.create("dbd", **hyper)
