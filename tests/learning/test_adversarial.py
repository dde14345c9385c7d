"""PGD adversarial training against naive loops, and what it is for: it drops features that an adversary can flip."""

import numpy as np
import pytest
import torch

from defenselib.data.augment.crop_flip import Augment
from defenselib.data.types import ImageSet
from defenselib.errors import InvalidValueError, TrainingDivergedError
from defenselib.learning.adversarial import Adversary, adversarial_epoch, ifgsm, pgd
from defenselib.learning.context import Context
from defenselib.models import build_model
from defenselib.seeds import generator


def setup():
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 5)).eval()
    return model, torch.rand(30, 3, 4, 4, generator=generator), torch.arange(30) % 5


def loss_of(model, images, labels):
    return torch.nn.functional.cross_entropy(model(images), labels, reduction="none")


def test_pgd_stays_in_the_ball_and_raises_the_loss():
    model, images, labels = setup()
    for stream in (None, torch.Generator().manual_seed(1)):
        out = pgd(model, images, labels, 8 / 255, 2 / 255, 10, stream)
        assert (out - images).abs().max() <= 8 / 255 + 1e-6
        assert out.min() >= 0 and out.max() <= 1
        assert (loss_of(model, out, labels) > loss_of(model, images, labels)).all()
    lowered = pgd(model, images, labels, 8 / 255, 2 / 255, 10, targeted=True)
    assert (loss_of(model, lowered, labels) < loss_of(model, images, labels)).all()


def test_ifgsm_equals_a_naive_loop_on_a_linear_model():
    model, images, labels = setup()
    weight, bias = model[1].weight.detach(), model[1].bias.detach()
    eps, step, steps = 4 / 255, 1 / 255, 6
    expected = []
    for x, y in zip(images, labels, strict=True):
        current = x.flatten().clone()
        for _ in range(steps):
            p = (weight @ current + bias).softmax(0)
            p[y] -= 1
            current = current + step * torch.sign(weight.T @ p)
            current = torch.minimum(torch.maximum(current, x.flatten() - eps), x.flatten() + eps).clamp(0, 1)
        expected.append(current.view_as(x))
    torch.testing.assert_close(ifgsm(model, images, labels, eps, step, steps), torch.stack(expected))


def test_no_gradient_is_left_behind_and_the_input_is_untouched():
    model, images, labels = setup()
    before = images.clone()
    pgd(model, images, labels, 0.1, 0.01, 3)
    assert torch.equal(images, before)
    assert all(p.grad is None for p in model.parameters())


def context(seed=0, **more):
    return Context(model_factory=lambda: build_model("resnet10", 3, 8, width=8), seed=seed, **more)


def images(n=24, classes=3, size=8):
    stream = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=stream)
    return ImageSet(pixels, torch.arange(n) % classes)


def linear(size, classes, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * size * size, classes))


def softmax(logits):
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_one_epoch_equals_a_naive_loop():
    size, classes, batch, rate = 4, 3, 5, 0.1
    eps, step, steps = 8 / 255, 2 / 255, 4
    train, model = images(12, classes, size), linear(size, classes)
    weight, bias = (p.detach().numpy().astype(np.float64).copy() for p in model[1].parameters())
    tool = context(seed=3)
    optimizer = torch.optim.SGD(model.parameters(), rate)
    loss = adversarial_epoch(
        model, optimizer, train, tool, Augment(0, flip=False), Adversary(8, 2, steps), batch, stream="s"
    )

    pixels = train.images.numpy().reshape(12, -1) / 255
    labels = train.labels.numpy()
    order = torch.randperm(12, generator=generator(3, "s/order")).numpy()
    start = generator(3, "s/start")
    losses = []
    for first in range(0, 12, batch):
        index = order[first : first + batch]
        noise = torch.rand(len(index), 3, size, size, generator=start).numpy().reshape(len(index), -1)
        wanted = np.eye(classes)[labels[index]]
        clean = pixels[index]
        moved = np.clip(clean + (2 * noise - 1) * eps, 0, 1)
        for _ in range(steps):
            slope = (softmax(moved @ weight.T + bias) - wanted) @ weight
            moved = np.clip(np.clip(moved + step * np.sign(slope), clean - eps, clean + eps), 0, 1)
        p = softmax(moved @ weight.T + bias)
        losses += list(-np.log(p[np.arange(len(index)), labels[index]]))
        weight -= rate * (p - wanted).T @ moved / len(index)
        bias -= rate * (p - wanted).mean(0)
    np.testing.assert_allclose(loss, np.mean(losses), rtol=1e-5)
    np.testing.assert_allclose(model[1].weight.detach().numpy(), weight, atol=1e-6)
    np.testing.assert_allclose(model[1].bias.detach().numpy(), bias, atol=1e-6)


@pytest.mark.slow
def test_a_feature_below_eps_is_not_learned_and_one_above_is():
    """Of two features that both give the label away, one differs by 12 grey levels, the other by 120."""
    n, stream = 400, torch.Generator().manual_seed(0)
    labels = torch.arange(n) % 2
    pixels = torch.full((n, 3, 8, 8), 128.0)
    pixels[:, ::2] += (labels * 12.0 - 6)[:, None, None, None]  # on many pixels: strong in sum
    pixels[:, 1, 0, 0] += labels * 120.0 - 60
    pixels[:, 1, 0, 0] += 20 * torch.randn(n, generator=stream)
    train = ImageSet(pixels.round().clamp(0, 255).to(torch.uint8), labels)

    def small_feature_share(eps):
        model, tool = linear(8, 2), context()
        with torch.no_grad():
            model[1].weight.zero_()
        optimizer = torch.optim.SGD(model.parameters(), 0.5)
        for _ in range(15):
            adversarial_epoch(
                model, optimizer, train, tool, Augment(0, flip=False), Adversary(eps, max(eps / 2, 1), 4), 50
            )
        w = (model[1].weight[1] - model[1].weight[0]).detach().view(3, 8, 8)
        small, large = 6 * w[::2].abs().sum(), 60 * w[1, 0, 0].abs()
        return float(small / (small + large))

    without, with_adversary = small_feature_share(0.0), small_feature_share(16.0)
    assert without > 0.25 and with_adversary < without / 5, (without, with_adversary)


def test_the_search_leaves_mode_and_running_statistics_alone():
    model, train = context().build_model(), images()
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    inputs = train.images / 255
    moved = Adversary(8, 2, 3)(model, inputs, train.labels, torch.Generator().manual_seed(0))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert (moved - inputs).abs().max() <= 8 / 255 + 1e-6
    assert moved.min() >= 0 and moved.max() <= 1
    assert not torch.equal(moved, inputs)


def test_errors():
    for bad in (dict(eps=-1), dict(eps=300), dict(step=-2), dict(steps=0)):
        with pytest.raises(InvalidValueError, match=next(iter(bad))):
            Adversary(**bad)
    model = linear(8, 3)
    optimizer = torch.optim.SGD(model.parameters(), float("inf"))
    with pytest.raises(TrainingDivergedError):
        for _ in range(2):
            adversarial_epoch(model, optimizer, images(), context(), Augment(0), Adversary(8, 2, 1), 8)
