"""A depthwise convolution with a stride against torch's own."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from defenselib.cpu.strided import StridedDepthwise, with_strided_depthwise
from defenselib.models import build_model


def draws(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0)).sub(0.5)


def gradients(layer: nn.Module, x: Tensor, bf16: bool) -> tuple[Tensor, ...]:
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        made = layer(x)
    made.backward(torch.linspace(-1, 1, made.numel()).reshape(made.shape).to(made.dtype))
    assert x.grad is not None
    return made, x.grad, *(p.grad for p in layer.parameters() if p.grad is not None)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 4), st.integers(1, 9), st.integers(1, 3), st.integers(0, 2), st.integers(2, 3), st.booleans())
def test_output_and_gradients_are_those_of_torch(
    channels: int, side: int, kernel: int, padding: int, stride: int, bias: bool
) -> None:
    if side + 2 * padding < kernel:
        return
    plain = nn.Conv2d(channels, channels, kernel, stride, padding, groups=channels, bias=bias)
    ours = with_strided_depthwise(nn.Sequential(copy.deepcopy(plain)))
    assert type(ours[0]) is StridedDepthwise  # type: ignore[index]
    x = draws(2, channels, side, side)
    for bf16, close in ((True, 0.02), (False, 0.0)):
        for found, expected in zip(gradients(ours, x, bf16), gradients(plain, x, bf16), strict=True):
            assert found.shape == expected.shape
            torch.testing.assert_close(found, expected, rtol=close, atol=close)
        ours.zero_grad()
        plain.zero_grad()


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_only_depthwise_convolutions_with_a_stride_are_changed(groups: int) -> None:
    layers = nn.Sequential(nn.Conv2d(4, 4, 3, 2, groups=groups), nn.Conv2d(4, 4, 3, 1, groups=groups))
    assert [type(layer) is StridedDepthwise for layer in with_strided_depthwise(layers)] == [groups == 4, False]


def test_mobilenet_has_them() -> None:
    model = build_model("mobilenet_v2", width=8)
    assert sum(isinstance(layer, StridedDepthwise) for layer in model.modules()) == 3
