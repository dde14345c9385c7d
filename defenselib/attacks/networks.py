"""What attacks with neural triggers share: seeded initialisation, weights as tensors, images in chunks of one shape."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from defenselib import seeds
from defenselib.attacks.base import CHUNK
from defenselib.cpu.devices import computes_bf16

Net = TypeVar("Net", bound=nn.Module)
TensorDict = dict[str, Tensor]
# A processor works on a seventh of the images that are poisoned at a time: activations stay in its cache.
PARTS = 7


def initialised(make: Callable[[], Net], generator: torch.Generator) -> Net:
    """A new network on the generator's device, initialised by that stream alone."""
    net = seeds.initialised(make, generator)
    return net.to(generator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def tensors_of(net: nn.Module, prefix: str, precision: str = "fp32") -> TensorDict:
    """The network's parameters and buffers as "prefix.name"; in bfloat16 for precision "bf16"."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    return {f"{prefix}.{name}": value.detach().to(dtype) for name, value in net.state_dict().items()}


def restored(make: Callable[[], Net], tensors: Mapping[str, Tensor], prefix: str, device: torch.device) -> Net:
    """The network that `tensors_of` described, on `device`, in evaluation mode and in the precision of its tensors; in
    float32 where that is bf16 and the device does not compute in it."""
    with torch.device("meta"):
        net = make()
    start = f"{prefix}."
    own = {name.removeprefix(start): value.to(device) for name, value in tensors.items() if name.startswith(start)}
    widened = not computes_bf16(device)  # exactly: every bf16 value is a float32 value
    state = {name: value.float() if widened and value.dtype == torch.bfloat16 else value for name, value in own.items()}
    net.load_state_dict(state, assign=True)
    net.requires_grad_(False)
    return net.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]


def precision_of(net: nn.Module) -> torch.dtype:
    """Type of the network's weights."""
    return next(net.parameters()).dtype


@torch.no_grad()
def by_chunks(function: Callable[..., Tensor], *images: Tensor) -> Tensor:
    """`function(*images)` in chunks of one fixed shape, the last one filled up.

    images: uint8 (N, 3, H, W) each; the result has the shape of the first. Convolutions may round differently in
    batches of different sizes; a fixed shape gives an image the same outcome in every batch.
    """
    first = images[0]
    out = torch.empty_like(first)
    size = _size(first)
    with _exact(first.device):
        for start in range(0, len(first), size):
            parts = [_filled(item[start : start + size], size) for item in images]
            end = min(start + size, len(first))
            out[start:end] = function(*parts)[: end - start]
    return out


def _size(images: Tensor) -> int:
    step = max(1, CHUNK // math.prod(images.shape[1:]))
    return -(-step // PARTS) if images.device.type == "cpu" else step


def _filled(images: Tensor, size: int) -> Tensor:
    missing = size - len(images)
    return torch.cat([images, images.new_zeros(missing, *images.shape[1:])]) if missing else images


def _exact(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """On a GPU: full float32 in convolutions, so that images come out as on a processor but for a grey level."""
    if device.type != "cuda":
        return contextlib.nullcontext()
    return torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
