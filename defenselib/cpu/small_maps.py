"""Gradients of float32 convolutions with small outputs, as matrix products.

The vendor's float32 kernels for AVX2 lose speed where maps are small and channels many, as at the end of a network for
small images. Two ways around it, with the CPU time of theirs and ours, one thread, 128 images, 3x3 kernels:

- Up to 4 positions: one product a position. At 2x2 most taps of the kernel fall on the padding, and the vendor counts
  them. Forward and backward, 256 channels to 256: 42 and 24 ms.
- Up to 16 positions and from 256 channels on: the gradient of the weights as one product with all windows unfolded. It
  alone, to 512 channels at 4x4: from 256 channels 82 and 61 ms, from 512 138 and 115. With 128 channels, or at 8x8, the
  vendor is ahead (256 channels at 8x8: 87 billion operations a second and 74).

Only where a processor has no bf16 instructions (`devices.py`): elsewhere the kernels are others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from defenselib.cpu.devices import hardware_has_bf16

FEW_POSITIONS = 4
UNFOLDED_POSITIONS, UNFOLDED_CHANNELS = 16, 256
Pair = tuple[int, int]


class Conv2d(nn.Conv2d):
    """torch's convolution, with faster gradients for small maps; the result is torch's to the bit."""

    def forward(self, input: Tensor) -> Tensor:
        plain = self.bias is None and self.groups == 1 and self.padding_mode == "zeros" and self.dilation == (1, 1)
        if plain and isinstance(self.padding, tuple):
            stride, padding = (self.stride[0], self.stride[1]), (self.padding[0], self.padding[1])
            function = chosen(input, self.weight, stride, padding)
            if function is not None:
                result: Tensor = function.apply(input, self.weight, stride, padding)
                return result
        return super().forward(input)


def with_small_maps(model: nn.Module) -> nn.Module:
    """`model`, each Conv2d of it made one of these, in place; untouched where the processor has bf16."""
    if not hardware_has_bf16():
        for layer in model.modules():
            if type(layer) is nn.Conv2d:
                layer.__class__ = Conv2d
    return model


def chosen(x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> type[torch.autograd.Function] | None:
    """Which way of the two serves this convolution (no bias, no groups, no dilation); None: torch's.

    x: (N, C, H, W), weight: (O, C, k, l).
    """
    if not (torch.is_grad_enabled() and x.dim() == 4 and (x.requires_grad or weight.requires_grad)):
        return None
    if x.device.type != "cpu" or not x.dtype == weight.dtype in (torch.float32, torch.float64):
        return None
    if torch.is_autocast_enabled("cpu"):
        return None
    rows, columns = (_positions(x.shape[d + 2], weight.shape[d + 2], stride[d], padding[d]) for d in (0, 1))
    if 0 < rows * columns <= FEW_POSITIONS:
        return ByPosition
    unfolded = 0 < rows * columns <= UNFOLDED_POSITIONS and x.shape[1] >= UNFOLDED_CHANNELS and weight.requires_grad
    return Unfolded if unfolded else None


class _Convolution(torch.autograd.Function):
    """conv2d without bias, groups and dilation. Its gradients can be differentiated again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return torch.conv2d(x, weight, None, stride, padding)


class ByPosition(_Convolution):
    """Both gradients, for each position of the output a product with the window without its padding."""

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = (tensor.permute(0, 2, 3, 1) for tensor in ctx.saved_tensors)
        for_x = torch.zeros_like(x) if _wanted(ctx, 0) else None
        for_weight = torch.zeros_like(weight) if _wanted(ctx, 1) else None
        windows = (_windows(x.shape[d + 1], weight.shape[d + 1], ctx.stride[d], ctx.padding[d]) for d in (0, 1))
        rows, columns = map(list, windows)
        for i, (row, tap_row) in enumerate(rows):
            for j, (column, tap_column) in enumerate(columns):
                here = gradient[:, :, i, j]
                if for_x is not None:
                    taps = weight[:, tap_row, tap_column]
                    for_x[:, row, column] += (here @ taps.flatten(1)).view(len(x), *taps.shape[1:])
                if for_weight is not None:
                    seen = x[:, row, column]
                    product = here.t() @ seen.flatten(1)
                    for_weight[:, tap_row, tap_column] += product.view(len(weight), *seen.shape[1:])
        return _channels_first(for_x), _channels_first(for_weight), None, None


class Unfolded(_Convolution):
    """The gradient of the inputs is torch's, that of the weights one product over all positions of all images."""

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        for_x = for_weight = None
        if _wanted(ctx, 0):
            for_x = torch.ops.aten.convolution_backward(
                gradient, x, weight, None, ctx.stride, ctx.padding, (1, 1), False, (0, 0), 1, (True, False, False)
            )[0]
        if _wanted(ctx, 1):
            windows = _unfolded(x, (weight.shape[2], weight.shape[3]), ctx.stride, ctx.padding)
            product = gradient.permute(0, 2, 3, 1).flatten(0, 2).t() @ windows
            for_weight = _channels_first(product.view(len(weight), *weight.shape[2:], weight.shape[1]))
        return for_x, for_weight, None, None


def _wanted(ctx: Any, number: int) -> bool:
    """Whether somebody waits for the gradient of this argument. A search for adversarial images asks for that of the
    images alone; torch leaves out the other one in its own layers, but does not tell a Function."""
    if not ctx.needs_input_grad[number]:
        return False
    try:
        return torch._C._will_engine_execute_node(ctx.next_functions[number][0])
    except RuntimeError:  # it cannot say so of a leaf whose gradient is itself asked for
        return True


def _unfolded(x: Tensor, kernel: Pair, stride: Pair, padding: Pair) -> Tensor:
    """A row for each position of the output of each image: what the kernel sees there, (N * h * w, k * l * C)."""
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, padding[1], padding[1], padding[0], padding[0]))
    windows = padded.unfold(1, kernel[0], stride[0]).unfold(2, kernel[1], stride[1])
    return windows.permute(0, 1, 2, 4, 5, 3).flatten(0, 2).flatten(1)


def _positions(size: int, kernel: int, stride: int, padding: int) -> int:
    return (size + 2 * padding - kernel) // stride + 1


def _windows(size: int, kernel: int, stride: int, padding: int) -> Iterator[tuple[slice, slice]]:
    """For each position of the output along one axis: the inputs under the kernel, and the taps that meet them."""
    for position in range(_positions(size, kernel, stride, padding)):
        start = position * stride - padding
        first, last = max(start, 0), max(min(start + kernel, size), 0)
        yield slice(first, last), slice(first - start, last - start)


def _channels_first(gradient: Tensor | None) -> Tensor | None:
    return None if gradient is None else gradient.permute(0, 3, 1, 2)
