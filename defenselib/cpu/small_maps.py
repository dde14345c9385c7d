"""The gradient of a convolution whose output has few positions, as one matrix product a position.

At the end of a network for small images a 3x3 kernel meets maps of 2x2: most of its taps fall on the padding, and the
vendor's float32 kernels, which count them, reach a third of the processor's speed backwards. A window without its
padding is a plain matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# One thread, float32, 64 images, 256 channels, backwards: 2x2 maps 26 ms before, 11 after; at 4x4 nothing is gained.
MOST_POSITIONS = 4


def applies(x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> bool:
    """Whether `conv2d` is the better one for this convolution (no groups, no dilation)."""
    if not (torch.is_grad_enabled() and x.dim() == 4 and (x.requires_grad or weight.requires_grad)):
        return False
    rows, columns = (_positions(x.shape[d + 2], weight.shape[d + 2], stride[d], padding[d]) for d in (0, 1))
    return 0 < rows * columns <= MOST_POSITIONS


def conv2d(x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    """torch's conv2d without bias, groups and dilation; only the order of the gradient's sums differs.

    x: (N, C, H, W), weight: (O, C, k, l), result: (N, O, h, w).
    """
    result: Tensor = _SmallMaps.apply(x, weight, stride, padding)
    return result


class _SmallMaps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return torch.conv2d(x, weight, None, stride, padding)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        # A search for adversarial images takes its gradients under autocast, which would send the products to the
        # generic bf16 code that `bf16.py` avoids.
        with torch.autocast("cpu", enabled=False):
            return *_gradients(ctx, gradient), None, None


def _gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
    x, weight = (tensor.permute(0, 2, 3, 1) for tensor in ctx.saved_tensors)
    for_x = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
    for_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
    rows, columns = (list(_windows(x.shape[d + 1], weight.shape[d + 1], ctx.stride[d], ctx.padding[d])) for d in (0, 1))
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
    return _channels_first(for_x), _channels_first(for_weight)


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
