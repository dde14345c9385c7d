"""bf16 in software: exact where sums are exact, within a rounding of float64 elsewhere, nothing outside autocast."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from defenselib.cpu import bf16
from defenselib.cpu.bf16 import SoftwareBF16, active, bf16_arithmetic, hardware_has_bf16

autocast = torch.autocast("cpu", dtype=torch.bfloat16)


def integers(*shape: int, seed: int) -> Tensor:
    """Small integers, whose products and sums bf16 holds exactly."""
    return torch.randint(-2, 3, shape, generator=torch.Generator().manual_seed(seed)).float()


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 3), st.integers(1, 2), st.integers(0, 1), st.integers(0, 999))
def test_equals_float32_where_bf16_is_exact(batch: int, stride: int, padding: int, seed: int) -> None:
    x, w = integers(batch, 2, 5, 5, seed=seed).requires_grad_(), integers(3, 2, 3, 3, seed=seed + 1).requires_grad_()

    def step() -> tuple[Tensor, ...]:
        out = F.conv2d(x, w, integers(3, seed=seed), stride, padding)
        return out.float(), *torch.autograd.grad(out.float().sum(), (x, w))

    exact = step()
    with SoftwareBF16(), autocast:
        ours = step()
    for a, b in zip(exact, ours, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("op", [lambda x, w: F.linear(x, w), lambda x, w: x @ w.T, lambda x, w: torch.mm(x, w.T)])
def test_rounds_operands_and_result_to_bf16(op: Callable[[Tensor, Tensor], Tensor]) -> None:
    generator = torch.Generator().manual_seed(0)
    x, w = torch.randn(7, 33, generator=generator), torch.randn(5, 33, generator=generator)
    with SoftwareBF16(), autocast:
        ours = op(x, w)
    exact = x.bfloat16().double() @ w.bfloat16().double().T
    # The one rounding of the result: bf16 keeps 8 bits, so half a unit in the last place is 2^-9 of the value.
    assert ours.dtype == torch.bfloat16
    assert torch.allclose(ours.double(), exact, rtol=2**-8, atol=1e-5)
    assert not torch.allclose(ours.double(), x.double() @ w.double().T, rtol=2**-10, atol=0)


def test_networks_kept_in_bf16_need_no_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = integers(2, 3, 5, 5, seed=0), integers(4, 3, 3, 3, seed=1)
    expected = F.conv2d(x, w)
    computed: list[torch.dtype] = []
    product = bf16._product

    def noted(func: Any, *args: Any, **kwargs: Any) -> Tensor:
        computed.append(args[0].dtype)
        return product(func, *args, **kwargs)

    monkeypatch.setattr(bf16, "_product", noted)
    with SoftwareBF16():
        ours = F.conv2d(x.bfloat16(), w.bfloat16())
    assert computed == [torch.float32] and ours.dtype == torch.bfloat16
    assert torch.equal(ours.float(), expected)


def test_leaves_float32_alone() -> None:
    x, w = torch.randn(2, 3, 8, 8), torch.randn(4, 3, 3, 3)
    expected = F.conv2d(x, w)
    with SoftwareBF16():
        assert torch.equal(F.conv2d(x, w), expected)
        with torch.autocast("cpu", enabled=False):
            assert torch.equal(F.conv2d(x, w), expected)


def test_is_switched_on_only_where_the_hardware_lacks_it_and_once() -> None:
    with bf16_arithmetic():
        modes = torch.overrides._get_current_function_mode_stack()
        assert active() is not hardware_has_bf16()
        with bf16_arithmetic():
            assert torch.overrides._get_current_function_mode_stack() == modes


@pytest.mark.parametrize(("device", "switched_on"), [("cpu", True), ("cuda", False)])
def test_is_for_the_processor_alone(device: str, switched_on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bf16, "hardware_has_bf16", lambda: False)
    monkeypatch.setattr(bf16, "active", lambda: False)
    before = len(torch.overrides._get_current_function_mode_stack())
    with bf16_arithmetic(device):
        assert len(torch.overrides._get_current_function_mode_stack()) == before + switched_on
