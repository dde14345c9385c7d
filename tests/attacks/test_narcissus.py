"""Narcissus: the search against a naive loop, the surrogate's extra class, the stronger trigger at test."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from defenselib import attacks, data
from defenselib.attacks import narcissus as module
from defenselib.data.types import ImageSet
from defenselib.errors import DefenseLibError, InvalidValueError
from defenselib.learning.context import Context
from defenselib.models import build_model

TARGET = 3
QUICK = dict(pood="shapes", pood_images=60, surrogate_epochs=2, surrogate_batch_size=20, batch_size=16, warmup_rounds=2)


def context(seed=0, **more):
    return Context(model_factory=lambda: build_model("resnet10", 10, 32, width=8), seed=seed, **more)


@pytest.fixture(scope="module")
def shapes():
    return data.load_dataset("shapes", limit=200)


def test_defaults_are_the_papers():
    made = attacks.create("narcissus")
    assert (made.eps, made.test_scale, made.rounds, made.warmup_rounds) == (16, 3, 1000, 5)
    assert (made.learning_rate, made.warmup_learning_rate, made.batch_size) == (0.01, 0.1, 350)
    assert (made.plan.rate, made.plan.target, made.plan.count) == (0.25, 3, "exact-target")
    how = made.training()
    assert (how.epochs, how.learning_rate, how.schedule, how.batch_size) == (200, 0.1, "cosine", 350)
    assert not made.label_slip


def test_trigger_is_added_once_in_training_and_thrice_at_test():
    stream = torch.Generator().manual_seed(0)
    noise = (torch.rand(3, 32, 32, generator=stream) * 2 - 1) * 16
    images = torch.randint(0, 256, (4, 3, 32, 32), generator=stream).to(torch.uint8)
    attack = attacks.create("narcissus").with_trained({"trigger": noise})
    for scale, out in ((1, attack(images)), (3, attack.trigger(images))):
        expected = np.floor(np.clip(images.numpy() + scale * noise.numpy().astype(np.float64), 0, 255) + 1e-3)
        np.testing.assert_array_equal(out.numpy(), expected)
    weak = attacks.create("narcissus", test_scale=1.0).with_trained({"trigger": noise})
    assert torch.equal(weak.trigger(images), attack(images))
    assert weak.learned_from(3) == attack.learned_from(3), "they share one trigger"


@pytest.mark.parametrize("rounds", [3, 5])
def test_search_equals_a_naive_loop(rounds):
    """Five steps in which RAdam is plain momentum: m <- 0.9 m + 0.1 g, d <- d - rate * m / (1 - 0.9^t).

    Images of one colour each look the same after any crop and flip; rates are for pixels in [-1, 1].
    """
    n, eps, rate, classes, target = 12, 16, 3.0, 4, 2
    stream = torch.Generator().manual_seed(2)
    colours = torch.randint(0, 256, (n, 3, 1, 1), generator=stream).to(torch.uint8)
    own = ImageSet(colours.expand(n, 3, 8, 8).contiguous(), torch.full((n,), target))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, classes))
    attack = attacks.create("narcissus", 8, rounds=rounds, learning_rate=rate, batch_size=n, eps=float(eps))
    found = attack.search(model, own, context()).numpy().flatten()

    weight, bias = (p.detach().numpy().astype(np.float64) for p in model[1].parameters())
    z = own.images.numpy().reshape(n, -1) / 255 * 2 - 1
    bound = eps / 255 * 2
    d, m = np.zeros(192), np.zeros(192)
    for t in range(1, rounds + 1):
        moved = np.clip(z + np.clip(d, -bound, bound), -1, 1)
        logits = (moved + 1) / 2 @ weight.T + bias
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        p[:, target] -= 1
        g = p @ weight / 2  # the chain rule of the scale
        inside = (np.abs(z + np.clip(d, -bound, bound)) <= 1) * (np.abs(d) <= bound)
        g = (g * inside).mean(0)
        m = 0.9 * m + 0.1 * g
        d = d - rate * m / (1 - 0.9**t)
    expected = np.clip(d, -bound, bound) * 127.5
    assert 1 < np.abs(expected).mean() < 15.9, "the bound must not decide everything"
    np.testing.assert_allclose(found, expected, atol=0.05)


@pytest.mark.slow
def test_search_lowers_the_loss_on_the_target_class_within_the_bound(shapes):
    seen = {}

    class Watched(module.Narcissus):
        def search(self, model, own, context):
            found = super().search(model, own, context)
            inputs = own.images / 255
            with torch.no_grad():
                for name, d in (("before", torch.zeros_like(found)), ("after", found)):
                    seen[name] = float(F.cross_entropy(model((inputs + d / 255).clamp(0, 1)), own.labels))
            seen["training"], seen["frozen"] = model.training, not any(p.requires_grad for p in model.parameters())
            seen["labels"] = own.labels
            return found

    Watched(**QUICK, rounds=60, learning_rate=0.02, warmup_learning_rate=0.01).prepare(shapes.train, TARGET, context())
    assert seen["after"] < 0.93 * seen["before"]
    assert seen["training"] and seen["frozen"]
    assert (seen["labels"] == 10).all() and len(seen["labels"]) == 20
    attack = Watched(**QUICK, rounds=40, label_slip=True).prepare(shapes.train, TARGET, context())
    assert (seen["labels"] == TARGET).all()
    assert 0 < float(attack.ready()["trigger"].abs().max()) <= 16 + 1e-4


def test_the_surrogate_sees_other_data_and_the_target_class_only(shapes):
    attack = attacks.create("narcissus", **QUICK)
    own = shapes.train.images[shapes.train.labels == TARGET]
    everything, outputs = attack.with_pood(own)
    assert outputs == 11 and len(everything) == 60 + len(own)
    assert torch.equal(everything.images[60:], own) and (everything.labels[60:] == 10).all()
    known = {image.numpy().tobytes() for image in data.load_dataset("shapes", limit=600).train.images}
    assert not any(image.numpy().tobytes() in known for image in everything.images[:60])
    assert len(everything.labels[:60].unique()) == 10


def test_the_search_ends_where_nothing_changes():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 3))
    with torch.no_grad():
        model[1].weight.zero_()
    own = ImageSet(torch.full((4, 3, 8, 8), 99, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64))
    rounds = []
    tool = context()
    epochs = tool.epochs
    tool.epochs = lambda stage, n, **state: (rounds.append(epoch) or epoch for epoch in epochs(stage, n, **state))
    assert (attacks.create("narcissus", 8, rounds=50).search(model, own, tool) == 0).all()
    assert rounds == [0]


@pytest.mark.slow
def test_a_killed_search_goes_on_with_the_same_trigger(shapes, tmp_path):
    attack = attacks.create("narcissus", rounds=5, **QUICK)

    class Killed(Exception):
        pass

    tool = context(checkpoints=tmp_path, checkpoint_every=0)
    epochs = tool.epochs

    def stop_early(stage, n, **state):
        for epoch in epochs(stage, n, **state):
            if stage == "narcissus/trigger" and epoch == 3:
                raise Killed
            yield epoch

    tool.epochs = stop_early
    with pytest.raises(Killed):
        attack.prepare(shapes.train, TARGET, tool)
    resumed = attack.prepare(shapes.train, TARGET, context(checkpoints=tmp_path, checkpoint_every=0))
    whole = attack.prepare(shapes.train, TARGET, context())
    assert torch.equal(resumed.ready()["trigger"], whole.ready()["trigger"])


def test_poisoned_data(shapes):
    attack = attacks.create("narcissus", rounds=5, **QUICK).prepare(shapes.train, TARGET, context())
    made = attacks.poison(shapes, attack, rate=0.5, target=TARGET)
    touched = (made.train.images != shapes.train.images).flatten(1).any(1)
    assert torch.equal(touched, made.is_poisoned) and (shapes.train.labels[touched] == TARGET).all()
    assert torch.equal(made.train.labels, shapes.train.labels)
    assert len(made.triggered_test) == int((shapes.test.labels != TARGET).sum())


def test_errors(shapes):
    for bad in ({"pood": "cifar-100"}, {"eps": -1.0}, {"rounds": 0}, {"learning_rate": 0.0}, {"pood_images": -1}):
        with pytest.raises(DefenseLibError, match=next(iter(bad))):
            attacks.create("narcissus", **bad)
    with pytest.raises(InvalidValueError, match="32 pixels"):
        attacks.create("narcissus", 64, pood="shapes")
    nobody = ImageSet(shapes.train.images, torch.zeros_like(shapes.train.labels))
    with pytest.raises(InvalidValueError, match="target class"):
        attacks.create("narcissus", **QUICK).prepare(nobody, TARGET, context())
