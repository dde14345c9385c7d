"""Tensors and plain values in one safetensors file, checked when they are read: no unpickler, no code."""

from __future__ import annotations

import errno
import json
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from defenselib.errors import DamagedFileError
from defenselib.folders import atomic

TensorDict = dict[str, Tensor]
_SUM, _ABOUT = "checksum", "about"


def save(path: Path, tensors: Mapping[str, Tensor], about: Any = None) -> None:
    """Write tensors, and with them what JSON can hold, so that the file appears whole or not at all.

    Errors: OSError (no space left, read-only).
    """
    # Copies: safetensors refuses tensors that share memory, and writes no channels-last order.
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    text = json.dumps(about)
    with atomic(path) as temporary:
        try:
            save_file(plain, temporary, {_ABOUT: text, _SUM: _checksum(plain, text)})
        except SafetensorError as error:
            code = re.search(r"os error (\d+)", str(error))
            raise OSError(int(code[1]) if code else errno.EIO, str(error)) from error


def load(path: Path) -> tuple[TensorDict, Any]:
    """The tensors (on the CPU) and the values in a file. Errors: DamagedFileError, naming it, for anything else."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        text = facts.get(_ABOUT, "null")
        # Files of earlier versions carry no checksum.
        if _SUM in facts and facts[_SUM] != _checksum(tensors, text):
            raise ValueError("its bytes are not those that were written")
        return tensors, json.loads(text)
    except (SafetensorError, OSError, ValueError, TypeError, RuntimeError, RecursionError) as error:
        raise DamagedFileError(f"{path} is damaged ({error})") from error


def _checksum(tensors: Mapping[str, Tensor], text: str) -> str:
    state = zlib.crc32(text.encode())
    for name in sorted(tensors):
        value = tensors[name]
        state = zlib.crc32(f"{name} {value.dtype} {tuple(value.shape)}".encode(), state)
        content = value.reshape(-1).view(torch.uint8).numpy()
        state = zlib.crc32(content, state)  # type: ignore[arg-type]
    return f"{state:08x}"
