"""Every attack and every defense keeps its tensors on one device: seen without a GPU, which tests marked `gpu` use. The
device that is asked for is there, or the error lists what is. Which arithmetic experiments in bf16 get, on simulated
processors; that results say so; that a hash does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import defenselib as dl
from defenselib import attacks, data, defenses
from defenselib.attacks.networks import precision_of, restored, tensors_of
from defenselib.cpu import devices
from defenselib.cpu.devices import (
    arithmetic,
    autocast,
    available_devices,
    chosen_device,
    computes_bf16,
    hardware_has_bf16,
)
from defenselib.data.types import PoisonedDataset
from defenselib.defenses.base import Fitted
from defenselib.errors import DefenseLibError
from defenselib.experiments.measure.observer import Observer
from defenselib.experiments.provenance import machine
from defenselib.learning.context import Context
from defenselib.learning.evaluation import evaluate

from .attacks.test_every_attack import QUICK, tiny_model
from .defenses.tiny import TINY, granted
from .simulated_gpu import MixedPlacesError, simulated_gpu

# What torch says of it: oneDNN takes bf16, it is an x86, it has AVX-512's bf16 instructions; and what is to follow.
PROCESSORS = {
    "AMX": (True, True, True, True),
    "AVX-512 without bf16, which oneDNN emulates": (True, True, False, False),
    "AVX2": (False, True, False, False),
    "ARM with bf16": (True, False, False, True),
    "ARM without": (False, False, False, False),
}


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


def simulate(monkeypatch: pytest.MonkeyPatch, onednn: bool, x86: bool, avx512_bf16: bool) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: onednn)
    monkeypatch.setattr(torch.cpu, "_is_avx2_supported", lambda: x86)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    monkeypatch.setattr(devices, "hardware_has_bf16", hardware_has_bf16.__wrapped__)


@pytest.mark.parametrize("name", PROCESSORS)
def test_bf16_where_the_processor_has_it_float32_elsewhere(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    *processor, expected = PROCESSORS[name]
    simulate(monkeypatch, *processor)
    assert computes_bf16("cpu") is expected
    layer = torch.nn.Conv2d(3, 4, 3)
    for wanted in (True, False):
        with autocast("cpu", wanted):
            assert layer(torch.zeros(1, 3, 4, 4)).dtype == (torch.bfloat16 if expected and wanted else torch.float32)
    for precision in ("bf16", "fp32"):
        with Context(model_factory=lambda: dl.build_model("resnet10", width=8), precision=precision).autocast():
            assert torch.is_autocast_enabled("cpu") is (expected and precision == "bf16")
    assert arithmetic("cpu") == machine(torch.device("cpu"))["bf16"] == ("hardware" if expected else "as fp32")


def test_without_onednn_there_is_no_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(monkeypatch, True, True, True)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not computes_bf16("cpu")


def test_a_gpu_computes_bf16_beside_any_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(monkeypatch, False, True, False)
    assert computes_bf16("cuda") and computes_bf16(torch.device("cuda", 1)) and arithmetic("cuda") == "hardware"
    assert not computes_bf16("cpu")


@pytest.mark.parametrize("has", [True, False])
def test_stored_bf16_weights_are_widened_exactly(has: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "hardware_has_bf16", lambda: has)
    net = torch.nn.Conv2d(3, 4, 3)
    stored = tensors_of(net, "net", "bf16")
    found = restored(lambda: torch.nn.Conv2d(3, 4, 3), stored, "net", torch.device("cpu"))
    assert precision_of(found) == (torch.bfloat16 if has else torch.float32)
    assert torch.equal(found.weight.float(), stored["net.weight"].float())


@pytest.mark.parametrize("name", ["iab", "ssba"])
def test_triggers_of_both_arithmetics_differ_by_a_grey_level(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    attack: Any = dl.attacks.create(name, image_size=32)
    found = {}
    for has in (True, False):
        monkeypatch.setattr(devices, "hardware_has_bf16", lambda has=has: has)
        found[has] = attack.untrained("bf16")(images).int()
    difference = (found[True] - found[False]).abs()
    # IAB's mask is steep: where it lies at its edge a rounding moves a pixel a good way.
    assert difference.float().mean() < 1 and difference.float().quantile(0.95) <= 3


def test_a_result_says_how_it_was_computed_under_the_hash_it_always_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = dl.Experiment(dataset="shapes", profile="smoke", defense_args={"epochs": 1})
    for has, name in ((True, "hardware"), (False, "as fp32")):
        monkeypatch.setattr(devices, "hardware_has_bf16", lambda has=has: has)
        result = dl.run(experiment, store=tmp_path / name, device="cpu", progress=False)
        assert result.machine["bf16"] == name and result.experiment["precision"] == "bf16"
        assert result.hash == experiment.resolve().hash


@pytest.fixture(params=[0, 2])
def gpus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: request.param > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: request.param)
    return int(request.param)


def test_what_is_there_can_be_chosen(gpus: int) -> None:
    assert len(available_devices()) == (1 if gpus == 0 else 2 + gpus)
    for name in available_devices():
        assert chosen_device(name) == chosen_device(torch.device(name)) == torch.device(name)
    assert chosen_device(None).type == ("cuda" if gpus else "cpu")
    assert chosen_device("cpu:0") == chosen_device(" CPU ") == torch.device("cpu")


@pytest.mark.parametrize(
    "name", ["gpu", "mps", "foo", "cuda:7", "cuda:-1", "cuda:x", "cpu:3", "meta", "", "gpu:0", "0"]
)
def test_what_is_not_there_is_refused_with_what_is(name: str, gpus: int) -> None:
    with pytest.raises(DefenseLibError, match="available: cpu" + (", cuda, cuda:0, cuda:1" if gpus else "$")):
        chosen_device(name)


def test_a_gpu_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("cuda", "cuda:0", torch.device("cuda")):
        with pytest.raises(DefenseLibError, match=r"device 'cuda.*' is not there; available: cpu"):
            chosen_device(name)
