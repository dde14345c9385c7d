"""What an iteration asks of a device: operators counted below autograd, and those that make the host wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

# They say where memory is or set it aside: no kernel runs.
FREE = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_unsafe_view", "detach_", "set_"}


def launches(func: Any) -> bool:
    """Whether an operator computes: it is no view of its input, no allocation, no note for a profiler."""
    if func.namespace != "aten" or func.overloadpacket.__name__ in FREE:
        return False
    returned = [item.alias_info for item in func._schema.returns]
    return not (returned and all(item is not None and not item.is_write for item in returned))


class Operators(TorchDispatchMode):
    """Counts the operators called inside, in `all` and, of those that launch a kernel, in `launched`."""

    def __init__(self) -> None:
        super().__init__()
        self.all: Counter[str] = Counter()
        self.launched: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.all[str(func)] += 1
        if launches(func):
            self.launched[str(func)] += 1
        return func(*args, **(kwargs or {}))


def per_step(steps: Callable[[int], object]) -> int:
    """Operators of one iteration that launch a kernel: what two of them ask for beyond one."""
    steps(1)  # what is done once
    counts = []
    for count in (1, 2):
        with Operators() as seen:
            steps(count)
        counts.append(seen.launched.total())
    return counts[1] - counts[0]
