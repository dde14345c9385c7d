"""Index batches: shuffled passes, endless streams, and batched inference."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from defenselib.data.tensors import to_float
from defenselib.errors import InvalidValueError
from defenselib.learning.context import Context
from defenselib.models.classifier import evaluating
from defenselib.models.folding import folded


def shuffled(n: int, batch_size: int, generator: torch.Generator, drop_last: bool = False) -> Iterator[Tensor]:
    """One pass over range(n) in random order, as int64 index batches on the generator's device."""
    order = torch.randperm(n, generator=generator, device=generator.device)
    if drop_last and n >= batch_size:
        order = order[: n - n % batch_size]
    yield from order.split(batch_size)


def endless(pool: Tensor, batch_size: int, batches: int, generator: torch.Generator) -> Tensor:
    """`batches` batches from `pool`, int64 (batches, batch_size), pass after pass, each in a new random order.

    The incomplete batch at the end of a pass is dropped, as a loader with `drop_last` does. A pool smaller than
    one batch is repeated, shuffled anew each time, until the batch is full.
    """
    n = len(pool)
    if n == 0:
        raise InvalidValueError("cannot draw batches from an empty pool")
    kept = n - n % batch_size if n >= batch_size else n
    passes = -(-batches * batch_size // kept)
    device = generator.device
    if n * passes <= 1 << 24:
        # One sort instead of `passes` permutations: a pool of 100 is passed a thousand times an epoch.
        orders = torch.rand(passes, n, generator=generator, device=device).argsort(dim=1)[:, :kept]
    else:
        orders = torch.stack([torch.randperm(n, generator=generator, device=device)[:kept] for _ in range(passes)])
    return pool[orders.flatten()[: batches * batch_size]].view(batches, batch_size)


@torch.no_grad()
def infer(
    model: nn.Module,
    images: Tensor,
    context: Context,
    function: Callable[[Tensor, Tensor], Tensor],
    fetch: Callable[[Tensor], Tensor] | None = None,
    batch_size: int = 500,
) -> Tensor:
    """Concatenate function(logits, index) over all images, model in evaluation mode, no gradient.

    images: uint8 (N, 3, H, W). fetch: maps an index batch to a uint8 batch (default: the images as they are).
    The logits are float32. The model's mode is put back.
    """
    parts = []
    done = 0  # counted here: the first entry of `index` lies on the device
    with evaluating(model), folded(model, len(images)):
        for index in torch.arange(len(images), device=images.device).split(batch_size):
            batch = images[done : done + len(index)] if fetch is None else fetch(index)
            done += len(index)
            with context.autocast():
                logits = model(to_float(batch))
            parts.append(function(logits.float(), index))
    return torch.cat(parts)
