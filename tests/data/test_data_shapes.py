"""`shapes`: seeded, balanced, of any size, and told apart by shape alone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from defenselib.data import info, load_dataset, source_of
from defenselib.data.sources.shapes import make_shapes
from defenselib.errors import InvalidValueError


def test_seed_fixes_the_data_and_a_larger_set_begins_with_the_smaller() -> None:
    small, again, large, other = make_shapes(60, 20), make_shapes(60, 20), make_shapes(730, 20), make_shapes(60, 20, 1)
    assert small.digest == again.digest and small.digest != other.digest
    assert torch.equal(large.train.images[:60], small.train.images)
    assert torch.equal(large.train.labels[:60], small.train.labels)
    assert not torch.equal(small.train.images[:20], small.test.images)
    assert source_of(small) == info("shapes").source == "shapes"


@pytest.mark.parametrize("size", [1, 10, 57, 501, 1200])
def test_any_size_is_balanced(size: int) -> None:
    counts = make_shapes(size, 1).train.labels.bincount(minlength=10)
    assert counts.sum() == size and counts.max() - counts.min() <= 1


def test_load_dataset_draws_limit_images_and_holds_some_out() -> None:
    data = load_dataset("shapes", limit=200, holdout=50)
    assert (len(data.train), len(data.test), data.train.image_size, data.num_classes) == (200, 50, 32, 10)
    assert data.train.labels.bincount().tolist() == [20] * 10 and data.test.labels.bincount().tolist() == [5] * 10
    whole = load_dataset("shapes")
    assert (len(whole.train), len(whole.test)) == (info("shapes").train_size, 500)
    with pytest.raises(InvalidValueError, match="limit is 9"):
        load_dataset("shapes", limit=9)
    with pytest.raises(InvalidValueError, match="at least 1"):
        make_shapes(0)


@pytest.mark.slow
def test_colour_does_not_tell_the_class_but_a_small_network_does() -> None:
    data = make_shapes(600, 500)
    train, test = (part.images.float() / 255 for part in (data.train, data.test))

    means = [image.mean((2, 3)) for image in (train, test)]
    centres = torch.stack([means[0][data.train.labels == label].mean(0) for label in range(10)])
    by_colour = torch.cdist(means[1], centres).argmin(1) == data.test.labels
    assert by_colour.float().mean() < 0.18  # chance is 0.1

    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers: list[nn.Module] = []
        for old, new in ((3, 16), (16, 32), (32, 64)):
            layers += [nn.Conv2d(old, new, 3, 2, 1), nn.BatchNorm2d(new), nn.ReLU()]
        model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 16, 10))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        for _ in range(10):
            for batch in torch.randperm(600).split(50):
                loss = F.cross_entropy(model(train[batch] - 0.5), data.train.labels[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    with torch.no_grad():
        right = model.eval()(test - 0.5).argmax(1) == data.test.labels
    assert right.float().mean() > 0.7
