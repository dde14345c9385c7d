"""bf16 on processors that have no instructions for it: the same roundings, computed in float32.

Without AVX-512 or their like, torch runs bf16 convolutions by a generic loop, ten times slower than float32. A bf16
convolution rounds its operands to bf16, sums in float32 and rounds the sum; so does `SoftwareBF16`, with the fast
float32 kernel in between. What differs is the order of summation, as it does between any two processors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

from defenselib.cpu import small_maps

# Sums of products; all else has fast bf16 code everywhere. Their tensors come first: input, weight, bias.
CONVOLUTIONS = (torch.conv1d, torch.conv2d, torch.conv3d, torch.conv_transpose2d)
MATRIX_PRODUCTS = (F.linear, torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.mm, Tensor.mm, torch.bmm, Tensor.bmm)
PRODUCTS = frozenset((*CONVOLUTIONS, *MATRIX_PRODUCTS))


def hardware_has_bf16() -> bool:
    """Whether torch's fast kernels take bf16 on this processor."""
    return bool(torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def active() -> bool:
    """Whether bf16 is computed in software at this moment."""
    return any(isinstance(mode, SoftwareBF16) for mode in _get_current_function_mode_stack())


@contextmanager
def bf16_arithmetic(device: torch.device | str = "cpu") -> Iterator[None]:
    """Inside, CPU autocast to bf16 is fast on every processor; nothing changes where the hardware has it.

    Nor where `device`, which does the work, is a GPU: its steps are as fast as torch is called, and `SoftwareBF16`
    looks at every call.
    """
    if torch.device(device).type != "cpu" or hardware_has_bf16() or active():
        yield
        return
    with SoftwareBF16():
        yield


class SoftwareBF16(TorchFunctionMode):
    """Products in bf16, under CPU autocast or of bf16 tensors: operands rounded to bf16, float32 arithmetic, result
    rounded to bf16.

    The gradients are rounded at the same places, for they pass through the same conversions backwards.
    """

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func not in PRODUCTS or not _applies(args[0]):
            return func(*args, **kwargs)
        with torch.autocast("cpu", enabled=False):
            product = _product(func, *map(_rounded, args), **{name: _rounded(value) for name, value in kwargs.items()})
        return product.bfloat16()


def _product(func: Any, *args: Any, **kwargs: Any) -> Tensor:
    if func is torch.conv2d and not kwargs and len(args) == 7:
        x, weight, bias, stride, padding, dilation, groups = args
        plain = bias is None and groups == 1 and isinstance(padding, tuple) and set(dilation) == {1}
        if plain and small_maps.applies(x, weight, stride, padding):
            return small_maps.conv2d(x, weight, stride, padding)
    result: Tensor = func(*args, **kwargs)
    return result


def _applies(first: Tensor) -> bool:
    if first.device.type != "cpu":
        return False
    autocast = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    return first.dtype == torch.bfloat16 or (autocast and first.dtype == torch.float32)


def _rounded(value: Any) -> Any:
    """A tensor in float32 with the values it has in bf16; anything else as it is."""
    return value.bfloat16().float() if isinstance(value, Tensor) else value
