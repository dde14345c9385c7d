"""The observer sees all and touches nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from defenselib import attacks, data
from defenselib.data.types import PoisonedDataset
from defenselib.errors import UnknownNameError
from defenselib.experiments.measure.observer import Observer
from defenselib.models import build_model


@pytest.fixture(scope="module")
def poisoned() -> PoisonedDataset:
    dataset = data.load_dataset("shapes", limit=200)
    return attacks.poison(dataset, attacks.create("badnets"), rate=0.2, seed=1)


def tiny() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_model("resnet10", width=8)


def test_it_draws_nothing_and_changes_nothing(poisoned: PoisonedDataset) -> None:
    model = tiny()
    model.train()
    next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d)).eval()
    modes = [module.training for module in model.modules()]
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    stream = torch.get_rng_state()
    watch = Observer(poisoned, 50)
    watch("split", stage="s", epoch=0, clean=torch.arange(10), scores=torch.rand(200, generator=torch.Generator()))
    watch("scores", name="loss", epoch=0, values=torch.zeros(200))
    watch("epoch", stage="s", epoch=0, model=model, loss=1.0)
    watch("target", guess=3)
    with pytest.raises(UnknownNameError, match="did you mean 'target'"):
        watch("targets", guess=4)
    assert torch.equal(stream, torch.get_rng_state())
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.is_grad_enabled() and watch.metrics == {"target_guess": 3.0}


def test_pools_are_compared_with_the_truth(poisoned: PoisonedDataset) -> None:
    bad = torch.nonzero(poisoned.is_poisoned).squeeze(1)
    good = torch.nonzero(~poisoned.is_poisoned).squeeze(1)
    scores = torch.zeros(200)
    scores[good[:20]] = 1.0  # the hard ones: a tenth of 200
    scores[bad] = 2.0  # no clean sample, however large its score
    pool = torch.cat([good[10:17], bad[:3]])
    watch = Observer(poisoned, 50)
    watch("split", stage="s", epoch=4, clean=pool, scores=scores)
    watch("epoch", stage="s", epoch=4, model=tiny())
    (row,) = watch.history
    assert (row["clean_size"], row["clean_poisoned"], row["hard_clean"]) == (10, 3, 7)
    assert row["clean_purity"] == pytest.approx(0.7)
    watch("epoch", stage="s", epoch=5, model=tiny())
    assert "clean_size" not in watch.history[1]


def test_arrays_hold_scores_poison_and_the_pools_of_their_epochs(poisoned: PoisonedDataset) -> None:
    watch = Observer(poisoned, 0)
    for epoch in range(3):
        if epoch != 1:
            watch("scores", name="loss", epoch=epoch, values=torch.full((200,), float(epoch)))
        watch("split", epoch=epoch, clean=torch.arange(epoch + 1))
    watch("scores", name="final", epoch=9, values=torch.full((200,), float("inf")))
    arrays = watch.arrays()
    assert set(arrays) == {
        "scores/loss/0", "scores/loss/2", "scores/final/9", "is_poisoned", "in_pool/0", "in_pool/2",
    }  # fmt: skip
    assert arrays["scores/loss/2"].dtype == np.float16 and np.isfinite(arrays["scores/final/9"]).all()
    assert np.unpackbits(arrays["in_pool/2"], count=200).sum() == 3
    assert (np.unpackbits(arrays["is_poisoned"], count=200) == poisoned.is_poisoned.numpy()).all()
    assert Observer(poisoned, 0).arrays() == {}


def test_the_curve_uses_a_spread_part_of_the_test_set(poisoned: PoisonedDataset) -> None:
    watch = Observer(poisoned, 50)
    assert watch._glance is not None
    assert len(watch._glance.test) == 50 and len(watch._glance.triggered_test) == 45
    assert len(watch._glance.test.labels.unique()) == 10
    everything = Observer(poisoned, 10**6)
    assert everything._glance is not None and len(everything._glance.test) == len(poisoned.test)
    blind = Observer(poisoned, 0)
    blind("epoch", stage="s", epoch=0, model=tiny(), loss=0.5)
    assert blind.history == [{"stage": "s", "epoch": 0, "loss": 0.5}]


def test_its_memory_survives_a_checkpoint(poisoned: PoisonedDataset, tmp_path: object) -> None:
    watch = Observer(poisoned, 50)
    watch("scores", name="loss", epoch=0, values=torch.rand(200, generator=torch.Generator()))
    watch("split", epoch=0, clean=torch.arange(5))
    path = f"{tmp_path}/state.pt"
    torch.save(watch.state_dict(), path)
    other = Observer(poisoned, 50)
    other.load_state_dict(torch.load(path, weights_only=True))
    for one in (watch, other):
        one("epoch", stage="s", epoch=0, model=tiny())
    assert other.history == watch.history and other.history[0]["clean_size"] == 5
    assert all(np.array_equal(other.arrays()[name], value) for name, value in watch.arrays().items())


def test_precisions_of_both_parts_and_of_trials_beside_the_method(poisoned: PoisonedDataset) -> None:
    bad = torch.nonzero(poisoned.is_poisoned).squeeze(1)
    good = torch.nonzero(~poisoned.is_poisoned).squeeze(1)
    watch = Observer(poisoned, 0)
    watch("split", epoch=0, name="flip+flip", clean=good[:4], poison=torch.cat([good[4:7], bad[:1]]))
    watch("split", epoch=0, clean=torch.cat([good[:19], bad[:1]]), poison=torch.cat([good[20:21], bad[1:4]]))
    watch("epoch", stage="s", epoch=0, model=tiny())
    assert watch.metrics == {
        "clean_precision/flip+flip": 100.0, "poison_precision/flip+flip": 25.0,
        "clean_precision": 95.0, "poison_precision": 75.0,
        "clean_size": 20.0, "clean_poisoned": 1.0, "poison_size": 4.0,
    }  # fmt: skip
    (row,) = watch.history
    assert (row["clean_precision"], row["poison_precision"], row["clean_size"]) == (95.0, 75.0, 20)
    watch("split", epoch=1, clean=good[:4], poison=good[:0])
    assert np.isnan(watch.metrics["poison_precision"]) and watch.metrics["clean_precision"] == 100.0


def test_the_distance_of_poison_from_the_clean_samples_of_its_label(poisoned: PoisonedDataset) -> None:
    target = int(poisoned.train.labels[poisoned.is_poisoned][0])
    values = torch.zeros(200, 2)
    values[poisoned.is_poisoned] = torch.tensor([3.0, 4.0])
    values[(poisoned.train.labels == target) & ~poisoned.is_poisoned] = torch.tensor([3.0, 0.0])
    watch = Observer(poisoned, 0)
    watch("features", name="tuned", values=values, labels=poisoned.train.labels)
    assert watch.metrics == {"d_intra/tuned": pytest.approx(16.0)}


def test_what_is_counted_of_a_pool_is_counted_by_sets(poisoned: PoisonedDataset) -> None:
    """Any pool, with scores that tie: the same numbers from sets of positions."""
    bad = set(torch.nonzero(poisoned.is_poisoned).flatten().tolist())
    good = [place for place in range(200) if place not in bad]
    for seed in range(4):
        stream = torch.Generator().manual_seed(seed)
        pool = torch.randperm(200, generator=stream)[: 30 + 40 * seed]
        scores = torch.randint(0, 9, (200,), generator=stream).float()
        watch, chosen = Observer(poisoned, 0), set(pool.tolist())
        watch("split", epoch=0, clean=pool, scores=scores)
        watch("epoch", stage="s", epoch=0, model=tiny())
        watch("kept", index=pool, own=3)
        hard = sorted(good, key=lambda place: -float(scores[place]))[:20]
        (row,) = watch.history
        assert row == {
            "stage": "s", "epoch": 0, "clean_size": len(chosen), "clean_poisoned": len(chosen & bad),
            "clean_purity": pytest.approx(len(chosen - bad) / len(chosen)), "hard_clean": len(chosen & set(hard)),
        }  # fmt: skip
        assert watch.metrics == pytest.approx({
            "gamma": 100 * len(chosen) / 200, "rho_vul": 100 * len(chosen & bad) / len(chosen), "own": 3.0,
            "benign_kept": 100 * len(chosen - bad) / len(good), "poison_kept": 100 * len(chosen & bad) / len(bad),
        })  # fmt: skip
    empty = Observer(poisoned, 0)
    empty("kept", index=torch.arange(0))
    empty("split", epoch=0, clean=torch.arange(0))
    empty("epoch", stage="s", epoch=0, model=tiny())
    assert (empty.metrics["gamma"], empty.metrics["rho_vul"], empty.history[0]["clean_size"]) == (0.0, 0.0, 0)
    assert np.isnan(empty.history[0]["clean_purity"])
