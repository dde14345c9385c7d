"""The spectral filter: what it removes, and that the rest is trained on anew."""

import copy

import numpy as np
import pytest
import torch

from defenselib import defenses
from defenselib.data.types import ImageSet
from defenselib.defenses.base import Fitted
from defenselib.defenses.none import Undefended
from defenselib.defenses.spectral import Spectral, highest_of_each
from defenselib.errors import DefenseLibError
from defenselib.learning.context import Context
from defenselib.models import build_model

TRAINING = dict(epochs=2, batch_size=16, milestones=(1,))


def images(n=60):
    """Three labels; the last four samples of label 0 are far from the others, in a direction of their own."""
    pixels = torch.randint(100, 140, (n, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pixels[[48, 51, 54, 57], 0] = 255
    return ImageSet(pixels, torch.arange(n) % 3)


def context(upstream=None, **more):
    return Context(
        model_factory=lambda: build_model("resnet10", num_classes=3, image_size=16, width=8), upstream=upstream, **more
    )


def test_highest_of_each_takes_whole_numbers_of_every_label_and_ties_by_index():
    scores = torch.tensor([5.0, 1, 4, 9, 4, 2, 7])
    labels = torch.tensor([0, 1, 0, 1, 0, 1, 0])
    assert highest_of_each(scores, labels, 0.5).tolist() == [0, 3, 6]
    assert highest_of_each(scores, labels, 0.75).tolist() == [0, 2, 3, 5, 6]
    assert highest_of_each(torch.ones(7), labels, 0.5).tolist() == [0, 1, 2]
    assert highest_of_each(scores, labels, 0.0).tolist() == []


def test_removes_what_stands_out_within_its_label_and_trains_on_the_rest():
    train, tool = images(), context()
    upstream = Fitted(tool.build_model("upstream"))
    upstream.model.features = lambda x: x.mean((2, 3))  # the mean colour, in which the four stand out
    before = copy.deepcopy(upstream.model.state_dict())
    seen = []
    watched = context(upstream)
    watched.observe = lambda event, **what: seen.append((event, what))  # type: ignore[method-assign]
    fitted = Spectral(removed_share=0.2, **TRAINING).fit(train, watched.build_model, watched)
    removed = fitted.suspects.tolist()
    assert {48, 51, 54, 57} <= set(removed)
    assert np.bincount(train.labels[fitted.suspects]).tolist() == [4, 4, 4]
    (scores,) = (what for event, what in seen if event == "scores")
    assert scores["values"].shape == (60,)
    (split,) = (what for event, what in seen if event == "split")
    kept = split["clean"]
    assert sorted([*kept.tolist(), *removed]) == list(range(60))
    alone = context()
    wanted = Undefended(**TRAINING).fit(train.select(kept), alone.build_model, alone).model.state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in fitted.model.state_dict().items())
    assert all(torch.equal(value, before[name]) for name, value in upstream.model.state_dict().items())


def test_needs_an_upstream_model_and_names_bad_shares():
    tool = context()
    with pytest.raises(DefenseLibError, match="undefended model"):
        Spectral(**TRAINING).fit(images(), tool.build_model, tool)
    for hyper in ({"removed_share": 0.95}, {"epochs": 0}, {"padding": -1}):
        with pytest.raises(DefenseLibError, match=next(iter(hyper))):
            defenses.create("spectral", **hyper)
    assert defenses.create("spectral").removed_share == 0.15
