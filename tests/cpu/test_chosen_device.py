"""The device that is asked for is there, or the error lists what is."""

from __future__ import annotations

import pytest
import torch

from defenselib.cpu.devices import available_devices, chosen_device
from defenselib.errors import DefenseLibError


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
