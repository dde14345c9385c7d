"""Every attack and every defense keeps its tensors on one device: seen without a GPU, which tests marked `gpu` use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from defenselib import attacks, data, defenses
from defenselib.data.types import PoisonedDataset
from defenselib.defenses.base import Fitted
from defenselib.experiments.measure.observer import Observer
from defenselib.learning.context import Context
from defenselib.learning.evaluation import evaluate

from .attacks.test_every_attack import QUICK, tiny_model
from .defenses.tiny import TINY, granted
from .simulated_gpu import MixedPlacesError, simulated_gpu


def there(*shape: int) -> torch.Tensor:
    return torch.ones(shape, device="cuda")


MIXED: list[Callable[[], Any]] = [
    lambda: there(3) + torch.ones(3),
    lambda: torch.ones(5)[torch.zeros(2, dtype=torch.long, device="cuda")],
    lambda: torch.randperm(4, generator=torch.Generator(), device="cuda"),
    lambda: there(3).uniform_(generator=torch.Generator()),
    lambda: there(3).numpy(),
    lambda: torch.stack([there(), torch.ones(())]),
    lambda: there(3).__setitem__(torch.tensor([0, 1]), torch.ones(2)),
    lambda: torch.nn.Linear(3, 2)(there(1, 3)),
    lambda: (there(3) > 0).float() + torch.arange(3),
]
FINE: list[Callable[[], Any]] = [
    lambda: there(3) * torch.tensor(2.0),
    lambda: there(3)[torch.tensor([0, 1])],
    lambda: there(3).__setitem__(slice(1), torch.zeros(1)),
    lambda: there(3).cpu().numpy() + torch.ones(3).numpy(),
    lambda: torch.rand(3, generator=torch.Generator("cuda"), device="cuda") + there(3),
    lambda: torch.nn.Linear(3, 2).to("cuda")(there(1, 3)),
    lambda: torch.zeros_like(there(3)) + there(3).new_zeros(3),
]


@pytest.mark.parametrize("mixed", MIXED)
def test_the_simulation_raises_where_cuda_does(mixed: Callable[[], Any]) -> None:
    with simulated_gpu(), pytest.raises(MixedPlacesError):
        mixed()


@pytest.mark.parametrize("fine", FINE)
def test_the_simulation_lets_pass_what_cuda_does(fine: Callable[[], Any]) -> None:
    with simulated_gpu():
        fine()
        assert there(3).device == torch.device("cuda", 0)
    assert torch.ones(3).device.type == "cpu" and torch.Generator().device.type == "cpu"


def poisoned_there(name: str, **hyper: Any) -> PoisonedDataset:
    attack = attacks.create(name, **hyper)
    clean_data = data.load_dataset("shapes", limit=100).to("cuda")
    context = Context(model_factory=tiny_model, device="cuda")
    ready = attack.prepare(clean_data.train, None if attack.all_to_all else 3, context)
    count = "exact-target" if attack.clean_label else None
    rate = 0.0 if not attack.poisons else 0.1 if attack.cross_rate else 0.3
    return attacks.poison(clean_data, ready, rate=rate, target=None if attack.all_to_all else 3, count=count)


@pytest.mark.slow
@pytest.mark.parametrize("name", attacks.available())
def test_every_attack_poisons_where_the_data_are(name: str) -> None:
    with simulated_gpu():
        made = poisoned_there(name, **QUICK.get(name, {}))
        assert made.train.images.is_cuda and made.triggered_test.images.is_cuda and made.is_poisoned.is_cuda
        assert not attacks.ATTACKS[name].poisons or int(made.is_poisoned.sum()) > 0


def fitted_there(name: str, poisoned: PoisonedDataset, upstream: Fitted | None = None) -> Fitted:
    defense = defenses.create(name, **TINY[name])
    observer, given = Observer(poisoned, history_test=20), granted(defense, poisoned, "cuda")
    context = Context(model_factory=tiny_model, device="cuda", upstream=upstream, observer=observer, **given)
    fitted = defense.fit(poisoned.train.channels_last(), context.build_model, context)
    observer.metrics_of(fitted)
    observer.arrays_of(fitted)
    return fitted


@pytest.mark.slow
@pytest.mark.parametrize("name", defenses.available())
def test_every_defense_trains_where_the_data_are(name: str) -> None:
    with simulated_gpu():
        poisoned = poisoned_there("badnets")
        upstream = fitted_there("none", poisoned) if defenses.DEFENSES[name].post_training else None
        fitted = fitted_there(name, poisoned, upstream)
        assert next(fitted.model.parameters()).is_cuda
        assert 0 <= evaluate(fitted.model, poisoned).acc <= 100
