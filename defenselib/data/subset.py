"""Stratified subsets: exact counts in the data set's class proportions, drawn by seed; a few of many,
spread evenly: what lies sorted by class is seen in all its classes."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from defenselib.data.types import Dataset, ImageSet
from defenselib.errors import InvalidValueError
from defenselib.seeds import generator

TEST_SHARE = 0.2


def quotas(counts: list[int], size: int) -> list[int]:
    """How many of `size` samples each class gets: proportional by largest remainder, at least 1 where there is any.

    The sum is exactly `size` and no class gets more than it has; ties go to the lower label. Classes whose share is
    below one are given 1 and taken out, the rest is shared among the others.
    Errors: InvalidValueError if `size` is not between the number of classes and that of samples.
    """
    given = [0] * len(counts)
    open_classes = [label for label, count in enumerate(counts) if count]
    if not len(open_classes) <= size <= sum(counts):
        raise InvalidValueError(
            f"{size} samples were asked for; it must be at least {len(open_classes)} (one a class) "
            f"and at most {sum(counts)} (what there is)"
        )
    left, total = size, sum(counts)
    while small := [label for label in open_classes if left * counts[label] < total]:
        for label in small:
            given[label] = 1
        open_classes = [label for label in open_classes if label not in small]
        left -= len(small)
        total -= sum(counts[label] for label in small)
    for label in open_classes:  # integers throughout: no rounding error may move a sample
        given[label] = left * counts[label] // total
    by_remainder = sorted(open_classes, key=lambda label: (-(left * counts[label] % total), label))
    for label in by_remainder[: size - sum(given)]:
        given[label] += 1
    return given


def stratified_index(labels: Tensor, size: int, seed: int, stream: str) -> Tensor:
    """Sorted positions, int64 (size,), of a stratified draw from `labels` (N,) by the stream `stream` of `seed`."""
    labels = labels.cpu()
    source = generator(seed, stream)
    picked = []
    for label, quota in enumerate(quotas(torch.bincount(labels).tolist(), size)):
        members = torch.nonzero(labels == label).flatten()
        picked.append(members[torch.randperm(len(members), generator=source)[:quota]])
    return torch.cat(picked).sort().values


def split_by_index(images: ImageSet, index: Tensor) -> tuple[ImageSet, ImageSet]:
    """The samples at `index` (int64, on the CPU) and all others, both in their old order."""
    chosen = torch.zeros(len(images), dtype=torch.bool)
    chosen[index] = True
    return images.select(chosen.to(images.images.device)), images.select(~chosen.to(images.images.device))


def split_tree(images: ImageSet, seed: int) -> tuple[ImageSet, ImageSet]:
    """Training and test images (80/20, stratified, by seed) of a data set that has no split of its own."""
    keep = len(images) - round(TEST_SHARE * len(images))
    return split_by_index(images, stratified_index(images.labels, keep, seed, "split"))


def take(dataset: Dataset, limit: int | None, holdout: int, seed: int) -> Dataset:
    """The data set cut to `limit` training images, after `holdout` of them have replaced the test images.

    Both are drawn in class proportions, every class keeps at least one training image; the digest stays that of the
    full set. Errors: InvalidValueError for a size that the data set does not have.
    """
    counts = torch.bincount(dataset.train.labels.cpu())
    total, classes = len(dataset.train), int((counts > 0).sum())
    if holdout < 0 or holdout > total - classes:
        raise InvalidValueError(f"holdout is {holdout}, it must lie in [0, {total - classes}] for {dataset.name!r}")
    if limit is not None and not classes <= limit <= total - holdout:
        rest = f" with a holdout of {holdout}" if holdout else ""
        raise InvalidValueError(
            f"limit is {limit}, it must lie in [{classes}, {total - holdout}] for {dataset.name!r}{rest}"
        )
    if holdout:
        kept = stratified_index(dataset.train.labels, total - holdout, seed, "holdout")
        train, test = split_by_index(dataset.train, kept)
        dataset = replace(dataset, train=train, test=test)
    if limit is not None and limit < len(dataset.train):
        index = stratified_index(dataset.train.labels, limit, seed, "limit")
        dataset = replace(dataset, train=dataset.train.select(index.to(dataset.train.images.device)))
    return dataset


def spread(index: Tensor, most: int) -> Tensor:
    """At most so many of the positions, int64 (n,)."""
    if len(index) <= most:
        return index
    return index[torch.arange(most, device=index.device) * len(index) // max(1, most)]


def spread_samples(data: ImageSet, most: int) -> ImageSet:
    """At most so many of the samples."""
    if len(data) <= most:
        return data
    return data.select(spread(torch.arange(len(data), device=data.labels.device), most))
