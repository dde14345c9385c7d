"""Eq. 2 of D-ST against loops over its pairs, its limits, and the shared stage."""

import math

import numpy as np
import pytest
import torch

from defenselib.data.types import ImageSet
from defenselib.errors import UnknownNameError
from defenselib.learning.context import Context
from defenselib.learning.contrastive import Contrastive, simclr_loss, supcon_loss
from defenselib.learning.semi_contrastive import semi_contrastive_encoder, semi_contrastive_loss
from defenselib.models import build_model

LABELS = torch.tensor([0, 1, 0, 0, 1, 0])
CLEAN = torch.tensor([True, True, True, False, False, True])


def views(n=6, width=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, width, generator=generator), torch.randn(n, width, generator=generator)


def log_ratio(z, a, p, temperature):
    """log of Eq. 9's fraction: views a and p, all other views than a in the denominator."""
    others = [k for k in range(len(z)) if k != a]
    return z[a] @ z[p] / temperature - math.log(sum(math.exp(z[a] @ z[k] / temperature) for k in others))


def naive(z1, z2, positive_of, temperature):
    """Each view's mean over its positives, averaged over all views; `positive_of(i)` lists the other images."""
    z = np.concatenate([z1.numpy(), z2.numpy()]).astype(np.float64)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    n, total = len(z1), 0.0
    for i in range(n):
        for a in (i, i + n):
            positives = [(a + n) % (2 * n), *(v for j in positive_of(i) for v in (j, j + n))]
            total -= sum(log_ratio(z, a, p, temperature) for p in positives) / len(positives)
    return total / (2 * n)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_it_equals_loops_over_the_pairs(temperature):
    z1, z2 = views()

    def believed(i):
        return [j for j in range(6) if j != i and CLEAN[i] and CLEAN[j] and LABELS[i] == LABELS[j]]

    def labelled(i):
        return [j for j in range(6) if j != i and CLEAN[i] and LABELS[i] == LABELS[j]]

    for name, rule in (("clean", believed), ("label", labelled)):
        found = semi_contrastive_loss(z1, z2, LABELS, CLEAN, temperature, name).item()
        assert found == pytest.approx(naive(z1, z2, rule, temperature), rel=1e-5)


def test_one_pair_of_one_class_is_equation_10():
    # Two clean images of a class: each of the four views averages over the three others.
    z1, z2 = views(2)
    z = torch.nn.functional.normalize(torch.cat([z1, z2]), dim=1).double().numpy()
    expected = -sum(log_ratio(z, a, p, 0.5) / 3 for a in range(4) for p in range(4) if p != a) / 4
    labels, both = torch.zeros(2, dtype=torch.int64), torch.ones(2, dtype=torch.bool)
    assert semi_contrastive_loss(z1, z2, labels, both, 0.5).item() == pytest.approx(expected, rel=1e-5)


def test_nothing_believed_is_simclr_and_everything_believed_is_supcon():
    z1, z2 = views()
    none, everything = torch.zeros(6, dtype=torch.bool), torch.ones(6, dtype=torch.bool)
    for name in ("clean", "label"):
        assert semi_contrastive_loss(z1, z2, LABELS, none, 0.3, name) == simclr_loss(z1, z2, 0.3)
        assert semi_contrastive_loss(z1, z2, LABELS, everything, 0.3, name) == supcon_loss(z1, z2, LABELS, 0.3)
    with pytest.raises(UnknownNameError, match="did you mean 'label'"):
        semi_contrastive_loss(z1, z2, LABELS, CLEAN, 0.3, "labels")


def test_labels_of_samples_that_are_not_believed_teach_nothing():
    images = torch.randint(0, 256, (24, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(24) % 3
    clean = torch.arange(0, 24, 2)
    other = labels.clone()
    other[1::2] = (other[1::2] + 1) % 3

    def trained(given, positives="clean"):
        tool = Context(model_factory=lambda: build_model("resnet10", 3, 16, width=8))
        settings = Contrastive(epochs=2, batch_size=12, learning_rate=0.1)
        model = semi_contrastive_encoder(
            settings, ImageSet(images, given), clean, {}, positives, tool.build_model, tool
        )
        return model.stem[0].weight

    assert torch.equal(trained(labels), trained(other))
    assert not torch.equal(trained(labels, "label"), trained(other, "label"))
