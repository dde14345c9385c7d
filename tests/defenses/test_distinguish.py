"""The sample-distinguishment module against loops, hand-made ranks, and the rate of the authors' code."""

import math

import numpy as np
import pytest
import torch

from defenselib import attacks, data, defenses
from defenselib.defenses import distinguish, scores
from defenselib.defenses.distinguish import TIES, BriefTraining, intra_class_loss, mean_fct, split_by_rank
from defenselib.errors import DefenseLibError
from defenselib.learning.context import Context
from defenselib.models import build_model

BRIEF = BriefTraining(epochs=1, tuning_epochs=2, batch_size=16)


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def poisoned(n=64):
    return attacks.poison(data.load_dataset("shapes", limit=n), attacks.create("badnets"), rate=0.2)


def context(**more):
    return Context(model_factory=lambda: build_model("resnet10", width=8), **more)


def test_the_intra_class_loss_equals_the_double_sum():
    features, labels = torch.randn(20, 6, generator=stream()), torch.tensor([0, 1, 1, 3, 4] * 4)
    f, y = features.double().numpy(), labels.numpy()
    centres = [f[y == k].mean(0) for k in sorted(set(y))]
    total = 0.0
    for i, a in enumerate(centres):
        for j, b in enumerate(centres):
            if i != j:
                total += a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
    assert intra_class_loss(features, labels, 10).item() == pytest.approx(total / len(centres) ** 2, abs=1e-6)


def test_the_intra_class_loss_by_hand():
    # Centres (1, 0), (0, 2) and (1, 1): cosines 0, 1/sqrt 2, 1/sqrt 2, each pair counted twice.
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 3.0], [1.0, 1.0]])
    assert intra_class_loss(features, torch.tensor([0, 1, 1, 2]), 3).item() == pytest.approx(4 / math.sqrt(2) / 9)
    zero = torch.zeros(4, 2, requires_grad=True)
    loss = intra_class_loss(zero, torch.tensor([0, 1, 1, 2]), 3)
    loss.backward()
    assert loss.item() == 0 and zero.grad is not None and zero.grad.isfinite().all()


def test_the_split_takes_exact_counts_and_partitions():
    values = torch.rand(100, generator=stream())
    split = split_by_rank(values, 0.29, 0.05, "shuffle", stream())
    assert (len(split.clean), len(split.poison), len(split.uncertain)) == (29, 5, 66)
    assert torch.equal(torch.cat([split.clean, split.poison, split.uncertain]).sort().values, torch.arange(100))
    assert values[split.clean].max() <= values[split.uncertain].min()
    assert values[split.poison].min() >= values[split.uncertain].max()
    assert set(split.clean.tolist()) == set(np.argsort(values.numpy())[:29].tolist())


def test_equal_scores_are_cut_by_chance_or_all_taken():
    values = torch.cat([torch.zeros(50), torch.arange(1.0, 51.0)])
    one, two = (split_by_rank(values, 0.2, 0.05, "shuffle", stream(seed)) for seed in (0, 1))
    assert len(one.clean) == len(two.clean) == 20 and not torch.equal(one.clean, two.clean)
    assert torch.equal(one.poison, two.poison)
    all_of_them = split_by_rank(values, 0.2, 0.05, "threshold", stream())
    assert len(all_of_them.clean) == 50 and len(all_of_them.poison) == 5
    # One value for all: what is below the lower threshold is clean, whatever the upper says (Alg. 1, line 12).
    same = split_by_rank(torch.ones(10), 0.2, 0.1, "threshold", stream())
    assert len(same.clean) == 10 and len(same.poison) == 0


@pytest.mark.parametrize("ties", TIES)
def test_a_share_of_zero_is_an_empty_part(ties):
    split = split_by_rank(torch.arange(10.0), 0.0, 0.0, ties, stream())
    assert len(split.clean) == len(split.poison) == 0 and len(split.uncertain) == 10
    metrics = split.metrics(torch.zeros(10, dtype=torch.int64), 3)
    assert metrics == {"classes_not_in_clean": 3.0}


def test_the_stage_is_shared_and_the_rate_hardly_falls(monkeypatch):
    train, store, rates = poisoned().train.channels_last(), {}, []
    step = torch.optim.SGD.step

    def watched(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.SGD, "step", watched)

    def cache(key, make):
        if key not in store:
            store[key] = make()
        return store[key]

    first = context(cache=cache)
    implanted, tuned = BRIEF.models(train, first.build_model, first)
    cosine = [0.01 * 0.5 * (1 + math.cos(math.pi * epoch / 100)) for epoch in (0, 1, 2)]
    assert rates == pytest.approx([rate for rate in cosine for _ in range(4)])
    again = context(cache=cache)
    for one, two in zip((implanted, tuned), BRIEF.models(train, again.build_model, again), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))
    assert len(rates) == 12 and len(store) == 1
    # The head gets no gradient from the intra-class loss.
    assert torch.equal(implanted.head.weight, tuned.head.weight)
    assert not torch.equal(implanted.stem[0].weight, tuned.stem[0].weight)


def test_fine_tuning_lowers_the_intra_class_loss():
    train = poisoned().train.channels_last()
    model, tool = context().build_model(), context()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    losses = [distinguish.intra_class_epoch(model, optimizer, train, 64, tool) for _ in range(4)]
    assert losses[-1] < losses[0]


def test_the_score_is_the_mean_over_draws_that_can_be_had_again():
    train = poisoned(12).train
    model = context().build_model()
    both = mean_fct(model, train, ("rotate", "affine"), (3, 4))
    single = [scores.fct(model, train.images, ("rotate", "affine"), seed) for seed in (3, 4)]
    assert torch.allclose(both, (single[0] + single[1]) / 2)
    assert torch.equal(both, mean_fct(model, train, ("rotate", "affine"), (3, 4)))
    assert torch.equal(mean_fct(model, train, ("flip", "flip"), (0,)), torch.zeros(12))


@pytest.mark.parametrize(
    "wrong",
    [
        {"clean_share": 1.2},
        {"clean_share": 0.7, "poison_share": 0.4},
        {"transforms": ()},
        {"transforms": ("rotat",)},
        {"metric": "entropy"},
        {"ties": "none"},
        {"draws": 0},
        {"sd_epochs": 0},
        {"sd_horizon": 0},
        {"sd_learning_rate": 0.0},
    ],
)
@pytest.mark.parametrize("name", ["dst", "dbr"])
def test_errors_come_before_any_work(name, wrong):
    with pytest.raises(DefenseLibError, match=next(iter(wrong)).removesuffix("s")[:8].replace("draws", "draw")):
        defenses.create(name, **wrong)


def test_nan_scores_are_no_ranking():
    with pytest.raises(DefenseLibError, match="NaN"):
        split_by_rank(torch.tensor([0.0, float("nan")]), 0.5, 0.0, "shuffle", stream())
