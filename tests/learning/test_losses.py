import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from defenselib.learning.losses import soft_cross_entropy, symmetric_cross_entropy
from defenselib.learning.semi_supervised import sharpen


def naive_sce(logits, label, alpha=0.1, beta=1.0):
    """The sheet's formula, one sample, one class at a time."""
    exps = [math.exp(v - max(logits)) for v in logits]
    p = [e / sum(exps) for e in exps]
    onehot = [1.0 if k == label else 0.0 for k in range(len(p))]
    ce = -math.log(p[label])
    rce = -sum(min(max(pk, 1e-7), 1.0) * math.log(min(max(ok, 1e-4), 1.0)) for pk, ok in zip(p, onehot, strict=True))
    return alpha * ce + beta * rce


@given(st.lists(st.floats(-8, 8), min_size=2, max_size=7), st.data())
def test_symmetric_cross_entropy_equals_the_naive_formula(logits, data):
    label = data.draw(st.integers(0, len(logits) - 1))
    value = symmetric_cross_entropy(torch.tensor([logits]), torch.tensor([label]))
    assert value.shape == (1,)
    assert value.item() == pytest.approx(naive_sce(logits, label), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(("p", "expected"), [(0.5, 4.6745), (0.1, 8.5196)])
def test_symmetric_cross_entropy_hand_values(p, expected):
    logits = torch.log(torch.tensor([[p, 1 - p]], dtype=torch.float32))
    assert symmetric_cross_entropy(logits, torch.tensor([0])).item() == pytest.approx(expected, abs=2e-4)


def test_symmetric_cross_entropy_of_certainty_is_the_clamps_remainder():
    # The other nine classes are clamped up to 1e-7 each; their sum is what is left when p_y rounds to 1.
    logits = torch.tensor([[100.0] + [0.0] * 9])
    value = symmetric_cross_entropy(logits, torch.tensor([0])).item()
    assert value == pytest.approx(9 * 9.2103e-7, rel=1e-3)


def test_symmetric_cross_entropy_ranks_like_the_label_probability():
    logits = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(200) % 5
    p = logits.softmax(1)[torch.arange(200), labels]
    assert torch.equal(symmetric_cross_entropy(logits, labels).argsort(), (-p).argsort())


def test_soft_cross_entropy_of_one_hot_targets_is_cross_entropy():
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    one_hot = torch.nn.functional.one_hot(labels, 4).float()
    expected = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(soft_cross_entropy(logits, one_hot), expected)


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=6), st.floats(0.2, 2))
def test_sharpen_equals_the_formula(weights, temperature):
    p = np.array(weights) / sum(weights)
    expected = p ** (1 / temperature) / (p ** (1 / temperature)).sum()
    value = sharpen(torch.tensor(p)[None], temperature)[0]
    np.testing.assert_allclose(value.numpy(), expected, rtol=1e-6)


def test_sharpen_hand_value_and_identity():
    torch.testing.assert_close(sharpen(torch.tensor([[0.8, 0.2]]), 0.5), torch.tensor([[0.64 / 0.68, 0.04 / 0.68]]))
    p = torch.tensor([[0.3, 0.7]])
    torch.testing.assert_close(sharpen(p, 1.0), p)
