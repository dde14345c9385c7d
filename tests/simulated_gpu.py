"""A GPU that is not there: CPU tensors that remember where they would lie, and raise where CUDA would.

What autograd makes by itself has no place and mixes with all. What it cannot see: kernels that CUDA lacks, precision.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")
# Between places as a matter of course; and what does not even take a number (a tensor of no dimension) from elsewhere.
BETWEEN = {"copy_", "backward", "_has_compatible_shallow_copy_type"}
STRICT = {"cat", "stack", "concat"}


class MixedPlacesError(RuntimeError):
    """Tensors or a random stream of the GPU and of the CPU in one operation."""


class PlacedGenerator(torch.Generator):
    """A generator of the CPU that says it is on the device it was asked for."""

    def __new__(cls, device: Any = "cpu") -> PlacedGenerator:
        made = super().__new__(cls)
        made.place = torch.device(device).type
        return made

    def __init__(self, device: Any = "cpu") -> None: ...

    @property
    def device(self) -> torch.device:
        return GPU if self.place == "cuda" else CPU

    def manual_seed(self, seed: int) -> PlacedGenerator:
        super().manual_seed(seed)
        return self


class SimulatedGPU(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        name, kwargs = getattr(func, "__name__", ""), dict(kwargs or {})
        if name == "__get__":
            return _attribute(func, args)
        if name == "__set__":
            func(*args)
            return _place(args[0], place_of(args[1])) if isinstance(args[1], Tensor) else None
        if name in ("to", "cpu"):
            return _moved(func, name, args, kwargs)
        if name in ("numpy", "__array__") and place_of(args[0]) == "cuda":
            raise MixedPlacesError(f"{name} of a tensor on the GPU")
        asked = kwargs.get("device")
        if asked is not None:
            asked = torch.device(asked).type
            kwargs["device"] = CPU if asked == "cuda" else kwargs["device"]
        tensors = list(_tensors((args, kwargs)))
        place = asked or _common_place(name, args, tensors)
        for stream in [*args, *kwargs.values()]:
            if isinstance(stream, PlacedGenerator) and stream.place != place:
                raise MixedPlacesError(f"{name} on {place} with a random stream on {stream.place}")
        made = func(*args, **kwargs)
        for item in _tensors(made):
            if not any(item is given for given in tensors):
                _place(item, place)
        return made


def place_of(tensor: Tensor) -> str | None:
    return getattr(tensor, "_place", None)


def _place(tensor: Tensor, place: str | None) -> None:
    tensor._place = place  # type: ignore[attr-defined]


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)


def _attribute(func: Any, args: Any) -> Any:
    place, name = place_of(args[0]), func.__self__.__name__
    if name == "device":
        return GPU if place == "cuda" else CPU
    if name == "is_cuda":
        return place == "cuda"
    made = func(*args)
    if isinstance(made, Tensor) and made is not args[0] and place_of(made) is None:
        _place(made, place)
    return made


def _moved(func: Any, name: str, args: Any, kwargs: dict[str, Any]) -> Any:
    """`to` and `cpu`: a copy where the place changes."""
    tensor, *rest = args
    place = "cpu" if name == "cpu" else place_of(tensor)
    for i, item in enumerate(rest):
        if isinstance(item, str | torch.device):
            place, rest[i] = torch.device(item).type, CPU
        elif isinstance(item, Tensor):
            place = place_of(item)
    if kwargs.get("device") is not None:
        place, kwargs["device"] = torch.device(kwargs["device"]).type, CPU
    made = func(tensor, *rest, **kwargs)
    if made is tensor and place != place_of(tensor):
        made = made.clone()
    if made is not tensor:
        _place(made, place)
    return made


def _common_place(name: str, args: Any, tensors: list[Tensor]) -> str | None:
    """Where an operation takes place; raises where CUDA would find its tensors apart."""
    known = [tensor for tensor in tensors if place_of(tensor)]
    if not known:
        return None if tensors else "cpu"
    counting = [tensor for tensor in known if tensor.dim() or name in STRICT] or known
    places = {place_of(tensor) for tensor in counting}
    if len(places) == 1:
        return places.pop()
    own, index = place_of(args[0]) if isinstance(args[0], Tensor) else None, list(_tensors(args[1:2]))
    if name == "__getitem__" and own == "cuda":
        return own  # positions may lie on the CPU
    if name == "__setitem__" and (not index or (own == "cuda" and place_of(args[2]) != "cpu")):
        return own  # a slice is copied into; what goes to given positions must lie where they go
    if name in BETWEEN:
        return own
    raise MixedPlacesError(f"{name} of {', '.join(f'{place_of(t)} {tuple(t.shape)}' for t in known)}")


@contextmanager
def simulated_gpu() -> Iterator[None]:
    """Inside, "cuda" is a device."""
    new, autocast, load = nn.Parameter.__new__, torch.autocast, torch.load

    def parameter(cls: Any, data: Any = None, requires_grad: bool = True) -> Any:
        made = new(cls, data, requires_grad)
        _place(made, "cpu" if data is None else place_of(data))
        return made

    class OnCPU(autocast):  # type: ignore[misc, valid-type]
        def __init__(self, device: str, *more: Any, **how: Any) -> None:
            super().__init__("cpu", *more, **how)

    def read(path: Any, map_location: Any = None, **how: Any) -> Any:
        return load(path, map_location="cpu", **how)

    with (
        mock.patch.object(nn.Parameter, "__new__", parameter),
        mock.patch.object(torch, "autocast", OnCPU),
        mock.patch.object(torch, "Generator", PlacedGenerator),
        mock.patch.object(torch, "load", read),
        mock.patch.object(torch.cuda, "get_rng_state", lambda device=None: torch.get_rng_state()),
        mock.patch.object(torch.cuda, "set_rng_state", lambda state, device=None: None),
        SimulatedGPU(),
    ):
        yield
