import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from defenselib.data.types import ImageSet, PoisonedDataset
from defenselib.learning.evaluation import der, evaluate
from tests.learning.test_semi_supervised import Table


def dataset(test, labels, triggered, wanted, target=0):
    def images(first):
        return torch.tensor(first, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 2, 2).contiguous()

    test_set = ImageSet(images(test), torch.tensor(labels))
    flags = torch.zeros(len(test_set), dtype=torch.bool)
    hit = ImageSet(images(triggered), torch.tensor(wanted, dtype=torch.int64))
    return PoisonedDataset(test_set, flags, flags, test_set.labels, test_set, hit, target)


def test_accuracy_success_rate_and_per_class_by_hand():
    model = Table([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]).train()
    data = dataset([0, 1, 2, 0], [0, 1, 1, 2], [0, 1, 0], [0, 0, 0])
    result = evaluate(model, data)
    assert result.acc == 50.0
    assert result.asr == pytest.approx(200 / 3)
    assert result.per_class == (100.0, 50.0, 0.0)
    assert result.ra is None and model.training
    # Rows are labels: of the two images of class 1 one is called 2, the one of class 2 is called 0.
    assert result.confusion is not None and result.triggered_confusion is not None
    assert result.confusion.tolist() == [[1, 0, 0], [0, 1, 1], [1, 0, 0]]
    assert result.triggered_confusion.tolist() == [[2, 1], [0, 0]]
    assert result.false_target(0) == pytest.approx(100 / 3) and result.false_target(1) == 0.0


def test_empty_triggered_set_gives_nan_and_robust_accuracy_uses_the_given_attack():
    model = Table([[1.0, 0], [0, 1.0]])
    data = dataset([0, 1], [0, 1], [], [])
    result = evaluate(model, data, robust=lambda model, images, labels: torch.zeros_like(images))
    assert np.isnan(result.asr)
    assert result.ra == 50.0


percent = st.floats(0, 100)


@given(percent, percent, percent, percent)
def test_der_lies_between_0_and_100_and_is_50_without_effect(a, b, c, d):
    assert 0 <= der(a, b, c, d) <= 100
    assert der(a, b, a, b) == 50


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [((94.9, 100, 93.4, 1.2), 98.65), ((90, 100, 95, 0), 100), ((90, 0, 0, 100), 5), ((90, 50, 90, 60), 50)],
)
def test_der_by_hand(numbers, expected):
    assert der(*numbers) == pytest.approx(expected)
