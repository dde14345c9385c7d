"""Clean samples for the defenses that are granted some."""

from __future__ import annotations

import pytest
import torch

from defenselib import attacks, data
from defenselib.data.types import PoisonedDataset
from defenselib.defenses.base import CleanRequest
from defenselib.errors import InvalidValueError
from defenselib.experiments.clean import serve


@pytest.fixture(scope="module")
def poisoned() -> PoisonedDataset:
    dataset = data.load_dataset("shapes", limit=300)
    return attacks.poison(dataset, attacks.create("badnets"), rate=0.3, target=3, seed=0)


def test_so_many_a_class_inside_the_training_set(poisoned: PoisonedDataset) -> None:
    clean, index = serve(CleanRequest(per_class=4, inside=True), poisoned, seed=0)
    assert index is not None and len(index) == len(clean) == 40 and len(index.unique()) == 40
    assert not poisoned.is_poisoned[index].any()
    assert torch.bincount(clean.labels).tolist() == [4] * 10
    assert torch.equal(clean.images, poisoned.train.images[index])


def test_some_of_the_target_class_can_be_poisoned(poisoned: PoisonedDataset) -> None:
    clean, index = serve(CleanRequest(per_class=4, inside=True, poisoned=3), poisoned, seed=0)
    assert index is not None
    assert int(poisoned.is_poisoned[index].sum()) == 3
    assert torch.bincount(clean.labels).tolist() == [4] * 10
    assert (clean.labels[poisoned.is_poisoned[index]] == 3).all()


def test_a_share_outside(poisoned: PoisonedDataset) -> None:
    clean, index = serve(CleanRequest(share=0.05), poisoned, seed=0)
    assert len(clean) == 15 and index is None


def test_from_another_data_set(poisoned: PoisonedDataset) -> None:
    other = data.load_dataset("shapes", limit=100, seed=7).train
    clean, index = serve(CleanRequest(per_class=2, source="shapes"), poisoned, 0, other)
    assert len(clean) == 20 and index is None


def test_another_data_set_gives_the_classes_that_the_training_set_has(poisoned: PoisonedDataset) -> None:
    many = data.load_dataset("shapes", limit=100, seed=7).train
    many = data.ImageSet(many.images, many.labels * 3)
    clean, _ = serve(CleanRequest(per_class=2, source="shapes"), poisoned, 0, many)
    assert torch.bincount(clean.labels).tolist() == [2, 0, 0, 2, 0, 0, 2, 0, 0, 2]


def test_drawn_by_seed(poisoned: PoisonedDataset) -> None:
    draws = [serve(CleanRequest(per_class=4, inside=True), poisoned, seed)[1] for seed in (0, 0, 1)]
    assert all(draw is not None for draw in draws)
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "request_",
    [
        CleanRequest(),
        CleanRequest(per_class=1000),
        CleanRequest(share=0.99),
        CleanRequest(per_class=2, inside=True, poisoned=3),
    ],
)
def test_what_cannot_be_granted(poisoned: PoisonedDataset, request_: CleanRequest) -> None:
    with pytest.raises(InvalidValueError):
        serve(request_, poisoned, seed=0)
