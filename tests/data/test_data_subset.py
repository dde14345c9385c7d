"""Stratified subsets and holdouts."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from defenselib.data import Dataset, ImageSet, digest_of
from defenselib.data.subset import quotas, stratified_index, take
from defenselib.errors import InvalidValueError


@given(st.data(), st.lists(st.integers(0, 60), min_size=1, max_size=12).filter(any))
def test_quotas_are_exact_proportional_and_leave_no_class_out(data: st.DataObject, counts: list[int]) -> None:
    total, classes = sum(counts), sum(count > 0 for count in counts)
    size = data.draw(st.integers(classes, total))
    given_counts = quotas(counts, size)
    assert sum(given_counts) == size
    for count, quota in zip(counts, given_counts, strict=True):
        assert min(count, 1) <= quota <= count
    if all(size * count >= total for count in counts):  # nobody is lifted to 1: plain largest remainder
        assert all(abs(quota - size * count / total) < 1 for count, quota in zip(counts, given_counts, strict=True))


def test_quotas_by_hand() -> None:
    assert quotas([5000, 3000, 2000], 10) == [5, 3, 2]
    assert quotas([3, 3, 3], 4) == [2, 1, 1]
    assert quotas([1, 1000, 0, 999], 10) == [1, 5, 0, 4]
    for size in (2, 2001):
        with pytest.raises(InvalidValueError, match="must be at least 3"):
            quotas([1, 1000, 0, 999], size)


@given(st.lists(st.integers(0, 4), min_size=5, max_size=80), st.integers(0, 3), st.floats(0, 1))
def test_index_is_sorted_stratified_and_fixed_by_the_seed(labels: list[int], seed: int, share: float) -> None:
    tensor = torch.tensor(labels)
    counts = tensor.bincount().tolist()
    low = sum(count > 0 for count in counts)
    size = low + round(share * (len(labels) - low))
    index = stratified_index(tensor, size, seed, "limit")
    assert index.dtype == torch.int64 and (index.diff() > 0).all()
    assert tensor[index].bincount(minlength=len(counts)).tolist() == quotas(counts, size)
    assert torch.equal(index, stratified_index(tensor, size, seed, "limit"))


def numbered(count: int, classes: int) -> Dataset:
    """Every training image carries its own number in its first two pixels."""
    numbers = torch.arange(count)
    images = torch.zeros(count, 3, 2, 2, dtype=torch.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = (numbers // 256).byte(), (numbers % 256).byte()
    train = ImageSet(images, numbers % classes)
    return Dataset("numbered", train, train.select(torch.arange(7)), tuple("abcde"[:classes]), digest_of(train))


def numbers_of(part: ImageSet) -> list[int]:
    return (part.images[:, 0, 0, 0].long() * 256 + part.images[:, 0, 0, 1].long()).tolist()


def test_holdout_comes_out_of_train_and_does_not_depend_on_the_limit() -> None:
    data = numbered(1000, 5)
    full = take(data, None, 100, seed=1)
    cut = take(data, 300, 100, seed=1)
    held = numbers_of(full.test)
    assert held == numbers_of(cut.test) and len(held) == 100
    assert sorted(held + numbers_of(full.train)) == list(range(1000))
    assert set(numbers_of(cut.train)) < set(numbers_of(full.train)) and len(cut.train) == 300
    for part, size in ((cut.train, 60), (cut.test, 20)):
        assert part.labels.bincount().tolist() == [size] * 5
        assert numbers_of(part) == sorted(numbers_of(part))
    assert numbers_of(take(data, 300, 100, seed=2).test) != held
    assert cut.digest == data.digest and take(data, 300, 0, seed=1).test is data.test


def test_a_smaller_subset_lies_in_a_larger_one() -> None:
    data = numbered(1000, 5)
    small, large = (set(numbers_of(take(data, limit, 0, seed=3).train)) for limit in (50, 500))
    assert small < large
