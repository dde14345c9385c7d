"""Gradients of convolutions with small outputs against torch's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from defenselib.cpu import small_maps
from defenselib.cpu.small_maps import ByPosition, Conv2d, Unfolded, chosen
from defenselib.models import build_model

BOTH: tuple[Any, ...] = (ByPosition, Unfolded)
# size of the input, kernel, stride, padding: padding on all sides, on one, none, wider than the kernel reaches
CASES = [
    ((2, 2), (3, 3), (1, 1), (1, 1)),
    ((4, 4), (3, 3), (2, 2), (1, 1)),
    ((4, 4), (1, 1), (2, 2), (0, 0)),
    ((1, 1), (3, 3), (1, 1), (1, 1)),
    ((3, 2), (3, 1), (2, 1), (1, 0)),
    ((2, 2), (2, 2), (3, 3), (2, 2)),
    ((4, 4), (3, 3), (1, 1), (1, 1)),
]
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gradients(result: Tensor, x: Tensor, weight: Tensor, towards: Tensor) -> tuple[Tensor, Tensor]:
    for_x, for_weight = torch.autograd.grad(result, (x, weight), towards)
    return for_x, for_weight


def compare(function: Any, size: Any, kernel: Any, stride: Any, padding: Any, seed: int, dtype: torch.dtype) -> None:
    stream = draws(seed)
    x = torch.randn(5, 6, *size, generator=stream, dtype=dtype, requires_grad=True)
    weight = torch.randn(7, 6, *kernel, generator=stream, dtype=dtype, requires_grad=True)
    plain = torch.conv2d(x, weight, None, stride, padding)
    small = function.apply(x, weight, stride, padding)
    towards = torch.randn(plain.shape, generator=stream, dtype=dtype)
    assert torch.equal(small, plain)
    for ours, theirs in zip(gradients(small, x, weight, towards), gradients(plain, x, weight, towards), strict=True):
        assert ours.shape == theirs.shape
        assert (ours - theirs).norm() <= 1e-5 * theirs.norm() + 1e-6


@pytest.mark.parametrize("function", BOTH)
@pytest.mark.parametrize(("size", "kernel", "stride", "padding"), CASES)
def test_result_and_gradients_are_those_of_the_convolution(
    function: Any, size: Any, kernel: Any, stride: Any, padding: Any
) -> None:
    compare(function, size, kernel, stride, padding, 0, torch.float64)


@settings(max_examples=40)
@given(
    st.sampled_from(BOTH),
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    pairs,
    pairs,
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
    st.integers(0, 99),
)
def test_of_any_shape(function: Any, size: Any, kernel: Any, stride: Any, padding: Any, seed: int) -> None:
    assume(all(size[d] + 2 * padding[d] >= kernel[d] for d in (0, 1)))
    compare(function, size, kernel, stride, padding, seed, torch.float32)


@pytest.mark.parametrize("function", BOTH)
def test_gradients_can_be_differentiated_again(function: Any) -> None:
    """An adaptive attack matches gradients by the gradient of their distance."""
    x = torch.randn(2, 3, 3, 3, generator=draws(), dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 3, 3, 3, generator=draws(1), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x, w: function.apply(x, w, (2, 2), (1, 1)), (x, weight))


@pytest.mark.parametrize("function", BOTH)
def test_only_the_gradients_that_are_wanted(function: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = torch.randn(2, 3, 2, 2, requires_grad=True), torch.randn(4, 3, 3, 3)
    function.apply(x, weight, (1, 1), (1, 1)).sum().backward()
    assert x.grad is not None and weight.grad is None
    # A search for adversarial images asks for the gradient of the images alone, of a network that could learn.
    worked: list[tuple[bool, ...]] = []
    backward = function.backward

    def noted(ctx: Any, gradient: Tensor) -> Any:
        found = backward(ctx, gradient)
        worked.append(tuple(item is not None for item in found[:2]))
        return found

    monkeypatch.setattr(function, "backward", staticmethod(noted))
    weight.requires_grad_(True)
    torch.autograd.grad(function.apply(x, weight, (1, 1), (1, 1)).sum(), x)
    torch.autograd.grad(function.apply(x, weight, (1, 1), (1, 1)).sum(), weight)
    torch.autograd.grad(function.apply(x * 1, weight, (1, 1), (1, 1)).sum(), x)
    function.apply(x * 1, weight, (1, 1), (1, 1)).sum().backward()
    assert worked == [(True, False), (False, True), (True, False), (True, True)]


@pytest.mark.parametrize(
    ("channels", "size", "expected"),
    [(3, 2, ByPosition), (256, 2, ByPosition), (256, 4, Unfolded), (128, 4, None), (256, 8, None), (3, 3, None)],
)
def test_which_way(channels: int, size: int, expected: Any) -> None:
    x, weight = torch.randn(1, channels, size, size), torch.randn(2, channels, 3, 3, requires_grad=True)
    ways = (x, weight, (1, 1), (1, 1))
    assert chosen(*ways) is expected
    with torch.no_grad():
        assert chosen(*ways) is None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert chosen(*ways) is None
    assert chosen(x.bfloat16(), weight, (1, 1), (1, 1)) is None
    frozen = weight.detach()
    assert chosen(x, frozen, (1, 1), (1, 1)) is None
    # Unfolding serves the weights alone.
    wanted = x.clone().requires_grad_(True)
    assert chosen(wanted, frozen, (1, 1), (1, 1)) is (ByPosition if expected is ByPosition else None)


@pytest.mark.parametrize("has", [True, False])
def test_networks_take_them_where_the_processor_has_no_bf16(has: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_maps, "hardware_has_bf16", lambda: has)
    kinds = {type(layer) for layer in build_model("resnet10", width=8).modules() if isinstance(layer, torch.nn.Conv2d)}
    assert kinds == {torch.nn.Conv2d if has else Conv2d}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({}, 1), ({"groups": 2}, 0), ({"bias": True}, 0), ({"dilation": 2}, 0), ({"padding": "same"}, 0)],
)
def test_layers_with_more_than_that_stay_torchs(
    settings: dict[str, Any], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    apply = ByPosition.apply
    monkeypatch.setattr(ByPosition, "apply", lambda *args: calls.append(args) or apply(*args))
    torch.manual_seed(0)
    plain = torch.nn.Conv2d(8, 8, 3, **{"padding": 2 if "dilation" in settings else 1, "bias": False} | settings)
    ours = Conv2d(8, 8, 3, **{"padding": 2 if "dilation" in settings else 1, "bias": False} | settings)
    ours.load_state_dict(plain.state_dict())
    x = torch.randn(4, 8, 2, 2)
    assert torch.equal(ours(x), plain(x)) and len(calls) == expected


def test_a_network_learns_the_same_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for has in (True, False):
        monkeypatch.setattr(small_maps, "hardware_has_bf16", lambda has=has: has)
        torch.manual_seed(0)
        model = build_model("resnet10", width=32)
        model(torch.rand(8, 3, 32, 32, generator=draws())).square().sum().backward()
        found.append([parameter.grad for parameter in model.parameters()])
    for theirs, ours in zip(*found, strict=True):
        assert theirs is not None and ours is not None
        assert (ours - theirs).norm() <= 1e-5 * theirs.norm() + 1e-7
