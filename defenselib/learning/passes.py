"""Several passes of one network in a step: weights converted once, gradients added list by list."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from defenselib.cpu.bf16 import computes_bf16
from defenselib.learning.context import Context


class Passes:
    """Copies of a network that share its memory, `models`, one for each pass of a step, and their gradients' sum.

    Autograd adds up the gradients of a weight that served several passes weight by weight, and autocast converts weight
    by weight; for a GPU each of these is an operation of its own. Here every pass has weights of its own in the same
    memory, so that `convert` and `hand_over` do it in a few operations. The numbers are autograd's and autocast's: the
    last pass comes first in the sum, and converted weights are summed in bf16. The copies are in the model's mode.

    Example: `passes.convert()`, a loss of what the models say, `loss.backward()`, `passes.hand_over()`.
    """

    def __init__(self, model: nn.Module, count: int, context: Context) -> None:
        half = context.precision == "bf16" and computes_bf16(context.device)
        products = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
        converted = {id(item) for layer in products for item in layer.parameters(recurse=False)} if half else set()
        own = [item for item in model.parameters() if item.requires_grad]
        self._wide = [item for item in own if id(item) not in converted]
        self._narrow = [item for item in own if id(item) in converted]
        self._halves = [torch.empty_like(item, dtype=torch.bfloat16) for item in self._narrow]
        self.models: list[nn.Module] = []
        self._aliases: list[tuple[list[nn.Parameter], list[nn.Parameter]]] = []
        for _ in range(count):
            wide, narrow = _aliases(self._wide), _aliases(self._halves)
            shared = {id(item): item for item in (*model.parameters(), *model.buffers())}
            shared |= {id(item): alias for item, alias in zip(self._wide, wide, strict=True)}
            shared |= {id(item): alias for item, alias in zip(self._narrow, narrow, strict=True)}
            self.models.append(copy.deepcopy(model, shared))  # type: ignore[arg-type]
            self._aliases.append((wide, narrow))

    @torch.no_grad()
    def convert(self) -> None:
        """Bring the model's weights as they are now to the passes: before the first of a step."""
        if self._narrow:
            torch._foreach_copy_(self._halves, self._narrow)  # type: ignore[arg-type]

    @torch.no_grad()
    def hand_over(self) -> None:
        """Give the model's parameters the sum of the passes' gradients, which are forgotten."""
        wide, narrow = (_sum([pair[part] for pair in self._aliases]) for part in (0, 1))
        for own, gradient in zip(self._wide, wide, strict=True):
            own.grad = gradient
        if self._narrow:
            gradients = [torch.empty_like(item) for item in self._narrow]
            torch._foreach_copy_(gradients, narrow)
            for own, gradient in zip(self._narrow, gradients, strict=True):
                own.grad = gradient


def _aliases(tensors: list[nn.Parameter] | list[Tensor]) -> list[nn.Parameter]:
    return [nn.Parameter(item.detach()) for item in tensors]


def _sum(passes: list[list[nn.Parameter]]) -> list[Tensor]:
    """The passes' gradients added up from the last to the first, as autograd meets them."""
    found = []
    for parameters in passes:
        found.append([item.grad for item in parameters if item.grad is not None])
        for item in parameters:
            item.grad = None
    total = found.pop()
    while total and found:
        torch._foreach_add_(total, found.pop())
    return total
