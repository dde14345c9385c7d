"""Contrastive losses against naive loops, the rate against D-ST's numbers, the shared SimCLR stage."""

import math

import numpy as np
import pytest
import torch

from defenselib.data.types import ImageSet
from defenselib.errors import DefenseLibError
from defenselib.learning.context import Context
from defenselib.learning.contrastive import (
    Contrastive,
    contrastive_loss,
    simclr_encoder,
    simclr_loss,
    supcon_encoder,
    supcon_loss,
)
from defenselib.models import build_model

SMALL = Contrastive(epochs=3, batch_size=16, learning_rate=0.1)


def views(n=6, width=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, width, generator=generator), torch.randn(n, width, generator=generator)


def naive(z1, z2, same, temperature):
    """SupCon, Eq. 2, by loops; `same(i, j)` says whether images i and j are positives."""
    z = np.concatenate([z1.numpy(), z2.numpy()]).astype(np.float64)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    n, losses = len(z1), []
    for a in range(2 * n):
        others = [k for k in range(2 * n) if k != a]
        denominator = sum(math.exp(z[a] @ z[k] / temperature) for k in others)
        positives = [p for p in others if same(a % n, p % n)]
        terms = [-math.log(math.exp(z[a] @ z[p] / temperature) / denominator) for p in positives]
        losses.append(sum(terms) / len(terms))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0])
def test_losses_equal_naive_loops(temperature):
    z1, z2 = views()
    labels = torch.tensor([0, 1, 0, 2, 0, 1])
    expected = naive(z1, z2, lambda i, j: i == j, temperature)
    assert simclr_loss(z1, z2, temperature).item() == pytest.approx(expected, rel=1e-5)
    expected = naive(z1, z2, lambda i, j: labels[i] == labels[j], temperature)
    assert supcon_loss(z1, z2, labels, temperature).item() == pytest.approx(expected, rel=1e-5)


def test_positives_can_be_any_relation_and_always_hold_the_other_view():
    z1, z2 = views()
    relation = torch.zeros(6, 6, dtype=torch.bool)
    relation[0, 3] = relation[4, 0] = True  # not symmetric
    expected = naive(z1, z2, lambda i, j: i == j or bool(relation[i, j]), 0.5)
    assert contrastive_loss(z1, z2, relation, 0.5).item() == pytest.approx(expected, rel=1e-5)


def test_losses_do_not_depend_on_order_scale_or_the_names_of_labels():
    z1, z2 = views()
    labels, order = torch.tensor([0, 1, 0, 2, 0, 1]), torch.tensor([3, 0, 5, 1, 4, 2])
    simclr, supcon = simclr_loss(z1, z2, 0.2), supcon_loss(z1, z2, labels, 0.2)
    scale = torch.rand(6, 1, generator=torch.Generator().manual_seed(1)) + 0.1
    for a, b, y in ((z1[order], z2[order], labels[order]), (z2, z1, labels), (z1 * scale, 7 * z2, 9 - labels)):
        torch.testing.assert_close(simclr_loss(a, b, 0.2), simclr)
        torch.testing.assert_close(supcon_loss(a, b, y, 0.2), supcon)
    torch.testing.assert_close(supcon_loss(z1, z2, torch.arange(6), 0.2), simclr)  # every image a class of its own


def test_losses_have_finite_gradients_at_identical_views():
    z = torch.ones(4, 3, requires_grad=True)
    simclr_loss(z, z, 0.1).backward()
    assert z.grad.isfinite().all()
    assert simclr_loss(z, z, 0.1).item() == pytest.approx(math.log(7))  # 2 * 4 views, all alike


def test_rate_is_that_of_d_st():
    settings = Contrastive(epochs=200, learning_rate=0.5, warmup=10, final_share=1e-3)
    rate = [0.5 * settings.rate(step, 98) for step in (0, 490, 10 * 98, 199 * 98, 200 * 98)]
    assert rate[0] == pytest.approx(0.01)
    assert rate[1] == pytest.approx((0.01 + 0.4969) / 2, abs=1e-4)
    assert rate[2] == pytest.approx(0.4969, abs=1e-4)
    assert rate[4] == pytest.approx(5e-4)
    # Within an epoch it stands still.
    assert settings.rate(50 * 98, 98) == settings.rate(51 * 98 - 1, 98) > settings.rate(51 * 98, 98)


def images(labels=None):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8, generator=generator)
    return ImageSet(pixels, torch.arange(40) % 3 if labels is None else labels)


def context(**more):
    return Context(model_factory=lambda: build_model("resnet10", 3, 8, width=8), **more)


def state_of(encoder, train=None, settings=SMALL, **more):
    ctx = context(**more)
    return encoder(settings, train or images(), ctx.build_model, ctx).state_dict()


@pytest.mark.slow
def test_simclr_reads_no_label_and_supcon_does():
    other = images(torch.arange(40) % 2)
    one, two = state_of(simclr_encoder), state_of(simclr_encoder, other)
    assert all(torch.equal(one[name], two[name]) for name in one)
    one, two = state_of(supcon_encoder), state_of(supcon_encoder, other)
    assert any(not torch.equal(one[name], two[name]) for name in one)


def test_features_are_trained_and_the_linear_head_is_as_it_was_made():
    ctx = context()
    made = ctx.build_model().state_dict()
    trained = state_of(simclr_encoder)
    assert torch.equal(trained["head.weight"], made["head.weight"])
    assert not torch.equal(trained["stages.3.0.conv1.weight"], made["stages.3.0.conv1.weight"])


def test_methods_with_the_same_settings_share_the_stage():
    kept, made = {}, []

    def cache(key, make):
        if key not in kept:
            made.append(key)
            kept[key] = make()
        return kept[key]

    one = state_of(simclr_encoder, cache=cache)
    two = state_of(simclr_encoder, cache=cache)
    assert len(made) == 1 and all(torch.equal(one[name], two[name]) for name in one)
    state_of(simclr_encoder, settings=Contrastive(epochs=2, batch_size=16), cache=cache)
    assert len(made) == 2 and all(key.startswith("simclr ") for key in made)


def test_a_killed_stage_ends_with_the_same_numbers(tmp_path):
    class Killed(Exception):
        pass

    class Dying(Context):
        def epochs(self, stage, n, **state):
            for epoch in super().epochs(stage, n, **state):
                if epoch == 2:
                    raise Killed
                yield epoch

    more = {"checkpoints": tmp_path, "checkpoint_every": 0}
    ctx = Dying(model_factory=lambda: build_model("resnet10", 3, 8, width=8), **more)
    with pytest.raises(Killed):
        simclr_encoder(SMALL, images(), ctx.build_model, ctx)
    expected, resumed = state_of(simclr_encoder), state_of(simclr_encoder, **more)
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)


@pytest.mark.parametrize(
    "hyper",
    [{"batch_size": 1}, {"warmup": 1001}, {"temperature": 0.0}, {"base_temperature": -1.0}, {"final_share": 1.5}],
)
def test_bad_settings_are_named(hyper):
    with pytest.raises(DefenseLibError, match=next(iter(hyper))):
        Contrastive(**hyper)
