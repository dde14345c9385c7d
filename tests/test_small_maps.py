"""Gradients of convolutions with small outputs against torch's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from defenselib.cpu import small_maps
from defenselib.cpu.bf16 import SoftwareBF16

# size of the input, kernel, stride, padding: padding on all sides, on one, none, wider than the kernel reaches
CASES = [
    ((2, 2), (3, 3), (1, 1), (1, 1)),
    ((4, 4), (3, 3), (2, 2), (1, 1)),
    ((4, 4), (1, 1), (2, 2), (0, 0)),
    ((1, 1), (3, 3), (1, 1), (1, 1)),
    ((3, 2), (3, 1), (2, 1), (1, 0)),
    ((2, 2), (2, 2), (3, 3), (2, 2)),
]


def gradients(result: Tensor, x: Tensor, weight: Tensor, towards: Tensor) -> tuple[Tensor, Tensor]:
    for_x, for_weight = torch.autograd.grad(result, (x, weight), towards)
    return for_x, for_weight


@pytest.mark.parametrize(("size", "kernel", "stride", "padding"), CASES)
def test_result_and_gradients_are_those_of_the_convolution(
    size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 6, *size, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(7, 6, *kernel, generator=generator, dtype=torch.float64, requires_grad=True)
    assert small_maps.applies(x, weight, stride, padding)
    plain = torch.conv2d(x, weight, None, stride, padding)
    small = small_maps.conv2d(x, weight, stride, padding)
    towards = torch.randn(plain.shape, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(small, plain)
    torch.testing.assert_close(gradients(small, x, weight, towards), gradients(plain, x, weight, towards))


def test_only_the_gradients_that_are_wanted() -> None:
    x, weight = torch.randn(2, 3, 2, 2, requires_grad=True), torch.randn(4, 3, 3, 3)
    small_maps.conv2d(x, weight, (1, 1), (1, 1)).sum().backward()
    assert x.grad is not None and weight.grad is None
    assert not small_maps.applies(x.detach(), weight, (1, 1), (1, 1))
    with torch.no_grad():
        assert not small_maps.applies(x, weight, (1, 1), (1, 1))


def test_large_maps_are_left_to_torch() -> None:
    x, weight = torch.randn(2, 3, 3, 3, requires_grad=True), torch.randn(4, 3, 3, 3)
    assert not small_maps.applies(x, weight, (1, 1), (1, 1))


def test_software_bf16_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[torch.Size] = []
    taken = small_maps.conv2d

    def noted(x: Tensor, *rest: Any) -> Tensor:
        calls.append(x.shape)
        return taken(x, *rest)

    monkeypatch.setattr(small_maps, "conv2d", noted)
    layer = torch.nn.Conv2d(8, 8, 3, padding=1, bias=False)
    with SoftwareBF16(), torch.autocast("cpu", dtype=torch.bfloat16):
        small = layer(torch.randn(4, 8, 2, 2))
        layer(torch.randn(4, 8, 8, 8))
        torch.nn.Conv2d(8, 8, 3, padding=1, groups=2, bias=False)(torch.randn(4, 8, 2, 2))
        torch.nn.Conv2d(8, 8, 3, padding=1)(torch.randn(4, 8, 2, 2))
    assert calls == [(4, 8, 2, 2)]
    assert small.dtype == torch.bfloat16
    small.sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.dtype == torch.float32


def test_gradients_asked_for_under_autocast_are_float32() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8, 64, 2, 2, generator=generator, requires_grad=True)
    weight = torch.randn(64, 64, 3, 3, generator=generator, requires_grad=True)
    plain = torch.conv2d(x, weight, None, (1, 1), (1, 1))
    towards = torch.randn(plain.shape, generator=generator)
    small = small_maps.conv2d(x, weight, (1, 1), (1, 1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gradients(small, x, weight, towards)
    # bf16 sums would be off by about 0.1.
    torch.testing.assert_close(found, gradients(plain, x, weight, towards), rtol=1e-4, atol=1e-4)
