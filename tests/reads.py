"""What makes a host wait for its GPU, seen without one: inside `simulated_gpu`, values read back and copies across."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from .simulated_gpu import place_of

PACKAGE = Path(__file__).parents[1] / "defenselib"
# The host needs their result, or its size; of `torch.multinomial` CUDA looks whether these are probabilities.
READS = {
    *("item", "tolist", "__bool__", "__int__", "__float__", "__index__", "__contains__", "numpy", "__array__", "cpu"),
    *("nonzero", "argwhere", "masked_select", "unique", "_unique2", "unique_consecutive", "unique_dim", "bincount"),
    *("histc", "multinomial", "equal", "allclose", "is_nonzero", "_local_scalar_dense", "repeat_interleave"),
}
FROM_HOST = {"tensor", "as_tensor", "asarray", "from_numpy"}


class Reads(TorchFunctionMode):
    """Counts waits in `found` by the line of the package that asks for them. Entered inside `simulated_gpu`."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()
        self._below = _Below(self)

    def __enter__(self) -> Reads:
        super().__enter__()
        self._below.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._below.__exit__(*error)
        super().__exit__(*error)

    def note(self, what: str) -> None:
        frames = [frame for frame in traceback.extract_stack() if Path(frame.filename).is_relative_to(PACKAGE)]
        where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "outside"
        self.found[f"{what} at {where}"] += 1

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        name, kwargs = getattr(func, "__name__", ""), dict(kwargs or {})
        first = args[0] if args and isinstance(args[0], Tensor) else None
        before = None if first is None else place_of(first)
        asked = kwargs.get("device")
        read = name in READS and before != "cpu" and first is not None and not _sized(name, args)
        if read or (name in FROM_HOST and asked is not None and torch.device(asked).type == "cuda"):
            self.note(name)
        elif name in ("__getitem__", "__setitem__") and before == "cuda":
            for what in _waits(args[1], None if name == "__getitem__" else args[2]):
                self.note(what)
        elif name == "copy_" and {place_of(args[0]), place_of(args[1])} == {"cpu", "cuda"}:
            self.note(name)
        made = func(*args, **kwargs)
        if name in ("to", "cuda") and isinstance(made, Tensor) and {before, place_of(made)} == {"cpu", "cuda"}:
            self.note(name)
        return made


class _Below(TorchDispatchMode):
    """The same below Python: what torch's own code asks for, such as the positions behind a boolean index."""

    def __init__(self, above: Reads) -> None:
        super().__init__()
        self.above = above

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in READS and place_of(args[0]) != "cpu" and not _sized(name, args):
            self.above.note(f"aten::{name}")
        return func(*args, **(kwargs or {}))


def _sized(name: str, args: Any) -> bool:
    """Whether the size of the result is known all the same."""
    return name == "repeat_interleave" and not any(isinstance(item, Tensor) for item in args[1:])


def _waits(index: Any, value: Any) -> Iterator[str]:
    """An index that must be copied from the host, or counted on the device; to a mask a number is written at once."""
    for item in index if isinstance(index, tuple) else (index,):
        if isinstance(item, list) or (isinstance(item, Tensor) and item.dim() and place_of(item) == "cpu"):
            yield "an index from the host"
        elif (
            isinstance(item, Tensor) and item.dtype == torch.bool and item.dim() and not isinstance(value, int | float)
        ):
            yield "a boolean index"
