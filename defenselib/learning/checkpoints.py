"""Checkpoints of a stage: whatever a run changes, as tensors and plain values in one file without any unpickler."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from defenselib import folders, tensor_files
from defenselib.errors import DamagedFileError, DefenseLibError, InvalidValueError


def save(path: Path, content: Any) -> None:
    """Write nested dicts, lists and tuples of tensors, numbers, texts, truth values and None.

    Errors: FolderError where the folder cannot be written, InvalidValueError for a value of another type.
    """
    tensors: dict[str, Tensor] = {}
    about = _pack(content, tensors)
    folders.make(path.parent, folders.STORE)
    with folders.writing(path, folders.STORE):
        tensor_files.save(path, tensors, about)


def load(path: Path, device: torch.device) -> Any:
    """What was saved, tensors on `device` in their old memory order. Errors: DamagedFileError."""
    tensors, about = tensor_files.load(path)
    try:
        return _unpack(about, tensors, device)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError, RecursionError) as error:
        raise DamagedFileError(f"{path} is damaged ({type(error).__name__}: {error})") from error


def resume(path: Path, device: torch.device, restore: Callable[[Any], int], now: Callable[[], Any]) -> int:
    """`restore` what `path` holds; its answer, the epochs done. 0 where there is no file or it cannot be used.

    One that is damaged, or of other shapes, is moved aside with a warning, and everything stands as it did before:
    `now` gives the present state, in the form that `restore` takes.
    """
    if not path.exists():
        return 0
    before = None
    try:
        content = load(path, device)
        before = _copied(now())
        return restore(content)
    except (torch.OutOfMemoryError, MemoryError):  # says nothing against the file
        raise
    except Exception as error:  # a state that does not fit raises what the optimizer or module at hand raises
        if before is not None:
            restore(before)
        moved = folders.set_aside(path, folders.STORE)
        why = error if isinstance(error, DefenseLibError) else f"it does not fit: {_line(error)}"
        warnings.warn(f"checkpoint {path} cannot be used ({why}); set aside as {moved.name}, the stage starts anew",
                      stacklevel=2)  # fmt: skip
        return 0


def dump(item: Any) -> Any:
    """What is saved of something that a stage changes: its `state_dict()`, or the thing itself."""
    return item.state_dict() if hasattr(item, "state_dict") else item


def put_back(item: Any, saved: Any) -> None:
    """Give `item` the state that `dump` made, in place. Errors: InvalidValueError for what cannot be changed."""
    if hasattr(item, "load_state_dict"):
        item.load_state_dict(saved)
    elif isinstance(item, Tensor):
        if item.shape != saved.shape:  # copy_ would broadcast
            raise InvalidValueError(f"a tensor is {tuple(saved.shape)}, it must be {tuple(item.shape)}")
        item.copy_(saved)
    elif isinstance(item, dict):
        item.clear()
        item.update(saved)
    elif isinstance(item, list):
        item[:] = saved
    else:
        raise InvalidValueError(f"epochs() cannot restore a {type(item).__name__}; pass a dict, list or tensor")


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _copied(item: Any) -> Any:
    if isinstance(item, Tensor):
        return item.detach().clone()
    if isinstance(item, Mapping):
        kind = Counter if isinstance(item, Counter) else dict
        return kind({key: _copied(value) for key, value in item.items()})
    return type(item)(_copied(value) for value in item) if isinstance(item, list | tuple) else item


# In JSON a container is a pair of its kind and its content, a tensor its number and strides. Keys may be of any type.
_KINDS: dict[str, type] = {"list": list, "tuple": tuple, "dict": dict, "counter": Counter}


def _pack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor):
        name = f"{len(tensors)}"
        tensors[name] = value
        return ["tensor", name, _strides(value)]
    if isinstance(value, Mapping):
        kind = "counter" if isinstance(value, Counter) else "dict"
        return [kind, [[_pack(key, tensors), _pack(item, tensors)] for key, item in value.items()]]
    if isinstance(value, list | tuple):
        return ["tuple" if isinstance(value, tuple) else "list", [_pack(item, tensors) for item in value]]
    raise InvalidValueError(f"a checkpoint cannot hold a {type(value).__name__}; keep tensors, numbers and texts")


def _unpack(packed: Any, tensors: dict[str, Tensor], device: torch.device) -> Any:
    if not isinstance(packed, list):
        return packed
    kind, content, *more = packed
    if kind == "tensor":
        value = tensors[content].to(device)
        if more[0] is None:
            return value
        return torch.empty_strided(value.shape, more[0], dtype=value.dtype, device=device).copy_(value)
    items = [_unpack(item, tensors, device) if kind in ("list", "tuple") else
             tuple(_unpack(part, tensors, device) for part in item) for item in content]  # fmt: skip
    return _KINDS[kind](dict(items) if kind == "counter" else items)


def _strides(value: Tensor) -> list[int] | None:
    """Strides of a tensor in another memory order, such as channels last; None for the usual one."""
    # Not is_contiguous(): a 1x1 kernel passes for both orders, and optimizers are fast only where strides are equal.
    usual = torch.empty(value.shape, device="meta").stride()
    dense = torch.empty_like(value, device="meta").stride() == value.stride()
    return list(value.stride()) if dense and value.stride() != usual else None
