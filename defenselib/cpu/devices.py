"""The device that computes: what is asked for, checked before any work; bf16 where it computes in it; its memory.

Without instructions for products of bf16 a processor gains nothing by it. One thread, `laptop`'s network, float32
against bf16 as torch emulates it on AVX-512: a training step takes 0.66 of the time, a ranking pass 0.51. On AVX2 torch
falls back on generic loops, ten times slower; rounding operands and results to bf16 around float32 products took 1.1 to
1.5 times as long as float32. So there an experiment in bf16 is computed in float32: its weights and losses are float32
anyway, only the rounding of activations goes. Its result says so (`machine["bf16"]`); its hash is the same.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache

import torch

from defenselib.errors import InvalidValueError, unknown

# What a result says of the arithmetic behind its bf16.
HARDWARE, AS_FLOAT32 = "hardware", "as fp32"
# Names and numbers from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def available_devices() -> tuple[str, ...]:
    """Names of what can compute here: "cpu", and "cuda", "cuda:0", ... where torch finds GPUs."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return ("cpu", *(["cuda"] if gpus else []), *(f"cuda:{number}" for number in range(gpus)))


def chosen_device(name: str | torch.device | None = None) -> torch.device:
    """The device called `name`; None takes a GPU where there is one.

    Errors: UnknownNameError, and InvalidValueError for a GPU that is not there; both list what there is.
    """
    here = available_devices()
    if name is None:
        return torch.device("cuda" if "cuda" in here else "cpu")
    text = str(name).strip().lower()
    text = "cpu" if text == "cpu:0" else text
    if text in here:
        return torch.device(text)
    if text.partition(":")[0] in ("cuda", "gpu"):
        what = "a GPU is 'cuda' or 'cuda:0', " if text.startswith("gpu") else ""
        raise InvalidValueError(f"device {text!r} is not there; {what}available: {', '.join(here)}")
    raise unknown("device", text, here)


@cache
def hardware_has_bf16() -> bool:
    """Whether this processor has instructions for products of bf16, and torch's kernels use them."""
    if not (torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return False
    # On x86 that is true of every AVX-512, on which most of bf16 is emulated.
    return not torch.cpu._is_avx2_supported() or torch.cpu._is_avx512_bf16_supported()


def computes_bf16(device: torch.device | str) -> bool:
    """Whether what is asked for in bf16 is computed in it on `device`: on a GPU it is."""
    return torch.device(device).type != "cpu" or hardware_has_bf16()


def arithmetic(device: torch.device | str) -> str:
    """How experiments in bf16 are computed on `device`: "hardware", or "as fp32"."""
    return HARDWARE if computes_bf16(device) else AS_FLOAT32


def autocast(device: torch.device | str, bf16: bool) -> torch.autocast:
    """A context for networks' forward passes: in bf16 if `bf16` asks for it and the device computes it."""
    enabled = bf16 and computes_bf16(device)
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=enabled)


def keep_memory() -> bool:
    """Tell glibc not to return freed memory to the system; True where that worked.

    By default every activation above 32 MB at most is mapped anew and its pages fault one by one: 20 to 40 % of a
    forward pass on the CPU. Nothing happens where the C library is another one.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 64 * 2**20))
    return all([mallopt(name, value) == 1 for name, value in settings])
