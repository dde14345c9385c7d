"""Which arithmetic experiments in bf16 get, on simulated processors; that results say so; that a hash does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import defenselib as dl
from defenselib.attacks.networks import precision_of, restored, tensors_of
from defenselib.cpu import bf16
from defenselib.cpu.bf16 import arithmetic, autocast, computes_bf16, hardware_has_bf16
from defenselib.experiments.provenance import machine
from defenselib.learning.context import Context

# What torch says of it: oneDNN takes bf16, it is an x86, it has AVX-512's bf16 instructions; and what is to follow.
PROCESSORS = {
    "AMX": (True, True, True, True),
    "AVX-512 without bf16, which oneDNN emulates": (True, True, False, False),
    "AVX2": (False, True, False, False),
    "ARM with bf16": (True, False, False, True),
    "ARM without": (False, False, False, False),
}


def simulate(monkeypatch: pytest.MonkeyPatch, onednn: bool, x86: bool, avx512_bf16: bool) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: onednn)
    monkeypatch.setattr(torch.cpu, "_is_avx2_supported", lambda: x86)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    monkeypatch.setattr(bf16, "hardware_has_bf16", hardware_has_bf16.__wrapped__)


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
    monkeypatch.setattr(bf16, "hardware_has_bf16", lambda: has)
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
        monkeypatch.setattr(bf16, "hardware_has_bf16", lambda has=has: has)
        found[has] = attack.untrained("bf16")(images).int()
    difference = (found[True] - found[False]).abs()
    # IAB's mask is steep: where it lies at its edge a rounding moves a pixel a good way.
    assert difference.float().mean() < 1 and difference.float().quantile(0.95) <= 3


def test_a_result_says_how_it_was_computed_under_the_hash_it_always_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = dl.Experiment(dataset="shapes", profile="smoke", defense_args={"epochs": 1})
    for has, name in ((True, "hardware"), (False, "as fp32")):
        monkeypatch.setattr(bf16, "hardware_has_bf16", lambda has=has: has)
        result = dl.run(experiment, store=tmp_path / name, device="cpu", progress=False)
        assert result.machine["bf16"] == name and result.experiment["precision"] == "bf16"
        assert result.hash == experiment.resolve().hash
