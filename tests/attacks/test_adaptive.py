"""The adaptive attacks: objectives against closed forms and naive loops, and what the search must achieve."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from defenselib import attacks
from defenselib.attacks.surrogates import surrogate
from defenselib.data.types import ImageSet
from defenselib.errors import DefenseLibError, InvalidValueError
from defenselib.learning.context import Context
from defenselib.models import build_model

SIZE, CLASSES, TARGET = 8, 4, 1
QUICK = dict(surrogate_epochs=3, surrogate_batch_size=16, surrogate_schedule="onecycle", batch_size=16, images=32)


def images(n=48, seed=0):
    """Classes that differ in the mean of their colours."""
    stream = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % CLASSES
    pixels = 60 + 40 * labels[:, None, None, None] + torch.randint(-40, 40, (n, 3, SIZE, SIZE), generator=stream)
    return ImageSet(pixels.clamp(0, 255).to(torch.uint8), labels)


def context(seed=0, **more):
    return Context(model_factory=lambda: build_model("resnet10", CLASSES, SIZE, width=8), seed=seed, **more)


def attack_of(preset="asd", **more):
    return attacks.create("adaptive", SIZE, preset=preset, **{**QUICK, **more})


def surrogate_like():
    return context().build_model("surrogate").eval()


def test_presets_are_the_papers():
    asd, bsd = (attacks.create("adaptive", preset=preset) for preset in ("asd", "bsd"))
    assert (asd.objective, asd.eps, asd.step, asd.iterations) == ("gradient", 32, pytest.approx(0.001 * 255), 200)
    assert (bsd.objective, bsd.eps, bsd.step, bsd.iterations) == ("distance", 8, 1.5, 15)
    assert (asd.plan.rate, bsd.plan.rate, asd.plan.target, bsd.plan.target) == (0.05, 0.01, 3, 3)
    for made in (asd, bsd):
        assert made.plan.count == "bernoulli-nontarget"
        how = made.training()
        assert (how.kind, how.epochs, how.learning_rate, how.milestones) == ("standard", 200, 0.1, (100, 150))


def test_gradient_norm_of_the_head_has_a_closed_form():
    """||p - t||^2 (||h||^2 + 1) of one sample; of a batch the squared norm of the mean of (p - t) [h, 1]^T."""
    model, train = surrogate_like(), images()
    loss = attack_of(layers=1).loss(model, train, TARGET, context())
    inputs = train.images[:6] / 255
    with torch.no_grad():
        h = model.features(inputs).double().numpy()
        error = model(inputs).double().softmax(1).numpy() - np.eye(CLASSES)[TARGET]
    for i in range(6):
        expected = (error[i] ** 2).sum() * ((h[i] ** 2).sum() + 1)
        assert float(loss(inputs[i : i + 1]).detach()) == pytest.approx(expected, rel=1e-4)
    mean = np.mean([np.outer(error[i], np.append(h[i], 1)) for i in range(6)], 0)
    assert float(loss(inputs).detach()) == pytest.approx((mean**2).sum(), rel=1e-4)


@pytest.mark.parametrize("layers", [2, 3])
def test_gradient_norm_counts_the_last_layers(layers):
    model, train = surrogate_like(), images()
    inputs = train.images[:5] / 255
    model.zero_grad()
    F.cross_entropy(model(inputs), torch.full((5,), TARGET)).backward()
    names = {1: "head.", 2: "stages.3.", 3: "stages.2."}
    counted = tuple(names[layer] for layer in range(1, layers + 1))
    expected = sum(float(p.grad.square().sum()) for name, p in model.named_parameters() if name.startswith(counted))
    found = attack_of(layers=layers).loss(model, train, TARGET, context())(inputs)
    assert float(found.detach()) == pytest.approx(expected, rel=1e-4)


def test_distance_is_that_to_the_mean_of_the_target_class():
    model, train = surrogate_like(), images()
    loss = attack_of("bsd").loss(model, train, TARGET, context())
    with torch.no_grad():
        features = [model.features(train.images[i : i + 1] / 255)[0].double().numpy() for i in range(len(train))]
    own = [h for h, label in zip(features, train.labels, strict=True) if label == TARGET]
    expected = np.mean([((h - np.mean(own, 0)) ** 2).sum() for h in features[:7]])
    assert float(loss(train.images[:7] / 255)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("objective", ["gradient", "distance", "cross-entropy"])
def test_slope_equals_finite_differences(objective):
    model, train = surrogate_like(), images()
    attack = attack_of(objective=objective)
    loss = attack.loss(model, train, TARGET, context())
    batch = train.images[:4].clamp(20, 230)
    trigger = torch.zeros(3, SIZE, SIZE)
    slope = attack.slope(loss, batch, trigger, context())[1]
    stream = torch.Generator().manual_seed(0)
    for direction in (slope.sign(), torch.randn(trigger.shape, generator=stream) + slope.sign()):
        up, down = (float(attack.slope(loss, batch, change * direction, context())[0]) for change in (0.02, -0.02))
        assert (up - down) / 0.04 == pytest.approx(float((slope * direction).sum()), rel=0.02)


@pytest.mark.parametrize("objective", ["gradient", "distance", "cross-entropy"])
def test_the_search_lowers_its_objective_within_the_bound(objective):
    train = images()
    attack = attack_of(objective=objective, eps=20.0, step=1.0, iterations=25).prepare(train, TARGET, context())
    trigger = attack.ready()["trigger"]
    assert 19 <= float(trigger.abs().max()) <= 20
    tool = context()
    loss = attack.loss(surrogate(train, attack.training(), tool), train, TARGET, tool)
    others = train.images[train.labels != TARGET]
    before, after = (float(attack.slope(loss, others, d, tool)[0]) for d in (torch.zeros_like(trigger), trigger))
    assert after < 0.9 * before
    middle = torch.full((3, 3, SIZE, SIZE), 128, dtype=torch.uint8)
    added = attack(middle).int() - 128
    assert torch.equal(added, added[:1].expand_as(added)), "the same for all images"
    np.testing.assert_array_equal(added[0].numpy(), np.floor(trigger.numpy() + 1e-3))
    assert torch.equal(attack(middle), attack.trigger(middle))
    assert int(attack(torch.full_like(middle, 250)).max()) == 255


def test_each_step_is_a_sign_step_over_all_drawn_images():
    train = images(24)
    attack = attack_of(objective="cross-entropy", eps=8.0, step=1.5, iterations=7, images=100, batch_size=5)
    found = attack.prepare(train, TARGET, context()).ready()["trigger"]
    model = surrogate(train, attack.training(), context()).requires_grad_(False)
    d = torch.zeros_like(found)
    others = train.images[train.labels != TARGET].float()
    for _ in range(7):
        total = torch.zeros_like(d)
        for x in others:
            e = d.clone().requires_grad_(True)
            F.cross_entropy(model((x + e).clamp(0, 255)[None] / 255), torch.tensor([TARGET])).backward()
            total += e.grad
        d = (d - 1.5 * total.sign()).clamp(-8, 8)
    # a pixel whose mean gradient is all but 0 may go the other way
    assert float((found != d).float().mean()) < 0.02


def test_a_killed_search_goes_on_with_the_same_trigger(tmp_path):
    train, attack = images(), attack_of(iterations=6)

    class Killed(Exception):
        pass

    tool = context(checkpoints=tmp_path, checkpoint_every=0)
    epochs = tool.epochs

    def stop_early(stage, n, **state):
        for epoch in epochs(stage, n, **state):
            if stage == "adaptive/trigger" and epoch == 3:
                raise Killed
            yield epoch

    tool.epochs = stop_early
    with pytest.raises(Killed):
        attack.prepare(train, TARGET, tool)
    resumed = attack.prepare(train, TARGET, context(checkpoints=tmp_path, checkpoint_every=0))
    whole = attack.prepare(train, TARGET, context())
    assert torch.equal(resumed.ready()["trigger"], whole.ready()["trigger"])


def test_errors():
    for bad in ({"objective": "norm"}, {"layers": 0}, {"eps": -1.0}, {"images": 0}, {"surrogate_schedule": "stp"}):
        with pytest.raises(DefenseLibError, match=next(iter(bad))):
            attack_of(**bad)
    only = ImageSet(images().images, torch.full((48,), TARGET))
    with pytest.raises(InvalidValueError, match="target class"):
        attack_of().prepare(only, TARGET, context())
    with pytest.raises(InvalidValueError, match="no image of the target class"):
        attack_of("bsd").prepare(ImageSet(images().images, torch.zeros(48, dtype=torch.int64)), TARGET, context())
