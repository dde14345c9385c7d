"""Scores against NumPy and loops written from the papers' formulas, and what they must not depend on."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from defenselib.data.augment.transforms import TRANSFORMS, draw, named
from defenselib.data.types import ImageSet
from defenselib.defenses import scores
from defenselib.errors import DefenseLibError
from defenselib.learning.context import Context
from defenselib.models import build_model
from defenselib.seeds import generator


def make(seed=0, n=24):
    source = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, 3, 16, 16), dtype=torch.uint8, generator=source)
    labels = torch.randint(0, 4, (n,), generator=source)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build_model("resnet10", num_classes=4, image_size=16, width=8)
        with torch.no_grad():  # running statistics as after some training, so that modes differ
            model.train()(images / 255)
            model.head.weight.mul_(20)
    return model.train(), images, labels


def logits_of(model, images):
    training = model.training
    with torch.no_grad():
        out = model.eval()(images / 255).double().numpy()
    model.train(training)
    return out


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def test_cross_entropy_sce_and_entropy_are_the_formulas_of_the_papers():
    model, images, labels = make()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    p = softmax(logits_of(model, images))
    truth = p[np.arange(24), labels]
    onehot = np.eye(4)[labels]
    reverse = -(np.clip(p, 1e-7, 1) * np.log(np.clip(onehot, 1e-4, 1))).sum(1)
    close = dict(rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(scores.cross_entropy(model, images, labels), -np.log(truth), **close)
    np.testing.assert_allclose(scores.sce(model, images, labels), -0.1 * np.log(truth) + reverse, **close)
    np.testing.assert_allclose(scores.sce(model, images, labels, None, 2.0, 0.0), -2 * np.log(truth), **close)
    np.testing.assert_allclose(scores.entropy(model, images), -(p * np.log(p)).sum(1), **close)
    assert model.training and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_entropy_lies_between_certainty_and_chance():
    model, images, _ = make()
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.zero_()
        torch.testing.assert_close(scores.entropy(model, images), torch.full((24,), np.log(4.0).astype("float32")))
        model.head.bias.copy_(torch.tensor([500.0, 0, 0, 0]))
    assert torch.equal(scores.entropy(model, images), torch.zeros(24))  # and not NaN from 0 log 0


def test_adversarial_sce_is_sce_of_ifgsm_examples_made_one_by_one():
    model, images, labels = make(n=6)
    found = scores.adversarial_sce(model, images, labels, eps=0.02, step=0.01, steps=3, batch_size=4)
    assert model.training and all(p.grad is None for p in model.parameters())
    model.eval()
    for i in range(6):
        start = images[i : i + 1] / 255
        x = start.clone()
        for _ in range(3):
            x.requires_grad_(True)
            (slope,) = torch.autograd.grad(F.cross_entropy(model(x), labels[i : i + 1]), x)
            x = (x.detach() + 0.01 * slope.sign()).clamp(start - 0.02, start + 0.02).clamp(0, 1)
        with torch.no_grad():
            p = model(x).double().softmax(1)[0]
        y = int(labels[i])
        wanted = -0.1 * p[y].log() - (p.sum() - p[y]) * np.log(1e-4)
        assert found[i].item() == pytest.approx(wanted.item(), rel=1e-3, abs=1e-3)
    still = scores.adversarial_sce(model, images, labels, steps=0)
    torch.testing.assert_close(still, scores.sce(model, images, labels))


@pytest.mark.parametrize("transform", ["blur", ("rotate", "affine"), named(("erase", "crop"))])
def test_fct_is_a_loop_over_images_with_the_same_draws(transform):
    model, images, _ = make()
    found = scores.fct(model, images, transform, seed=7)
    chosen = named(transform) if isinstance(transform, str | tuple) else transform
    draws = draw(chosen, 24, generator(7, "fct"))
    assert model.training
    model.eval()
    for i in range(24):
        one = chosen(images[i : i + 1], draws[i : i + 1])
        with torch.no_grad():
            gap = model.features(images[i : i + 1] / 255) - model.features(one / 255)
        assert found[i].item() == pytest.approx((gap.double() ** 2).sum().item(), rel=1e-3)
    assert torch.equal(found, scores.fct(model, images, transform, seed=7))
    assert not torch.equal(found, scores.fct(model, images, transform, seed=8))


def test_fct_of_what_changes_nothing_is_zero():
    model, images, _ = make()
    assert scores.fct(model, images, ("flip", "flip"), seed=0).max() < 1e-6
    assert scores.fct(model, images, "flip", seed=0).min() > 1e-4
    with pytest.raises(DefenseLibError, match="did you mean 'flip'"):
        scores.fct(model, images, "flp", seed=0)
    assert set(TRANSFORMS) == {"rotate", "affine", "flip", "crop", "blur", "erase"}


def features_and_labels(seed=0):
    source = np.random.default_rng(seed)
    return source.normal(size=(40, 5)) * [3, 1, 1, 2, 1], np.arange(40) % 3


@pytest.mark.parametrize("balanced", [False, True])
def test_spectral_signatures_are_numpys_svd_of_each_label(balanced):
    r, labels = features_and_labels()
    found = scores.spectral_signatures(torch.tensor(r), torch.tensor(labels), balanced).numpy()
    for label in range(3):
        centred = r[labels == label] - r[labels == label].mean(0)
        wanted = (centred @ np.linalg.svd(centred, full_matrices=False)[2][0]) ** 2
        np.testing.assert_allclose(found[labels == label], wanted / (wanted.mean() if balanced else 1), rtol=1e-4)


def test_spectral_signatures_do_not_see_sign_rotation_or_place():
    r, labels = features_and_labels()
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))[0]
    plain = scores.spectral_signatures(torch.tensor(r), torch.tensor(labels), False)
    for other in (-r, r @ turn, r + 7.0):
        moved = scores.spectral_signatures(torch.tensor(other), torch.tensor(labels), False)
        torch.testing.assert_close(moved, plain, rtol=1e-4, atol=1e-5)


def test_spectral_signatures_by_hand_and_of_a_lonely_sample():
    # On a line through (1, 1): distances -2, 0, 2 times sqrt(2) from the centre; label 1 has one sample.
    r = torch.tensor([[0.0, 0.0], [2.0, 2.0], [4.0, 4.0], [9.0, 1.0]])
    labels = torch.tensor([0, 0, 0, 1])
    torch.testing.assert_close(scores.spectral_signatures(r, labels, False), torch.tensor([8.0, 0, 8, 0]))
    torch.testing.assert_close(scores.spectral_signatures(r, labels), torch.tensor([1.5, 0, 1.5, 0]))


@settings(max_examples=25)
@given(st.lists(st.floats(-5, 5, width=32), min_size=2, max_size=60).filter(lambda v: max(v) - min(v) > 1e-2))
def test_otsu_splits_with_the_greatest_variance_between_classes(values):
    array = np.asarray(values, dtype=float)
    cut = scores.otsu_threshold(torch.tensor(values))
    counts, edges = np.histogram(array, 256)
    middles = (edges[1:] + edges[:-1]) / 2

    def between(bins):
        w0, w1 = counts[:bins].sum(), counts[bins:].sum()
        if not w0 or not w1:
            return 0.0
        mu0 = (counts[:bins] * middles[:bins]).sum() / w0
        mu1 = (counts[bins:] * middles[bins:]).sum() / w1
        return w0 * w1 * (mu0 - mu1) ** 2

    best = max(between(bins) for bins in range(1, 256))
    chosen = between(int(np.argmin(np.abs(middles - cut))) + 1)
    assert chosen == pytest.approx(best, rel=1e-6)


def test_otsu_lies_between_two_peaks_and_names_bad_values():
    low, high = torch.linspace(0, 1, 50), torch.linspace(9, 10, 70)
    cut = scores.otsu_threshold(torch.cat([high, low]))
    assert low.max() - 10 / 512 <= cut < high.min()  # within half a bin
    for bad in (torch.tensor([]), torch.tensor([1.0, float("nan")])):
        with pytest.raises(DefenseLibError, match="finite"):
            scores.otsu_threshold(bad)


@pytest.mark.parametrize("gamma", [0.1, 50.0])
def test_local_gradient_ascent_turns_the_batch_mean_at_gamma_as_flooding_does(gamma):
    logits = torch.randn(8, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.arange(8) % 4
    p = softmax(logits.detach().double().numpy())
    mean = -np.log(p[np.arange(8), labels]).mean()
    sign = 1 if mean > gamma else -1
    loss = scores.local_gradient_ascent(logits, labels, gamma)
    assert loss.item() == pytest.approx(sign * mean, rel=1e-5)
    (slope,) = torch.autograd.grad(loss, logits)
    np.testing.assert_allclose(slope, sign * (p - np.eye(4)[labels]) / 8, atol=1e-6)
    flooding = (F.cross_entropy(logits, labels) - gamma).abs() + gamma
    torch.testing.assert_close(torch.autograd.grad(flooding, logits)[0], slope)


def test_loss_under_ascent_keeps_the_loss_at_gamma_and_gives_plain_losses():
    _, images, labels = make(n=40)
    train = ImageSet(images, labels)
    context = Context(model_factory=lambda: build_model("resnet10", num_classes=4, image_size=16, width=8))
    model = context.build_model()
    optimizer = scores.nesterov(model, 0.02, momentum=0.5)
    found = scores.loss_under_ascent(model, optimizer, train, context, gamma=0.7, epochs=25, batch_size=40)
    torch.testing.assert_close(found, scores.cross_entropy(model, images, labels, context))
    model.train()
    with torch.no_grad():
        assert F.cross_entropy(model(images / 255), labels).item() == pytest.approx(0.7, abs=0.35)
