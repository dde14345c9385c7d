"""bf16 where the processor computes in it, float32 where it does not.

Without instructions for products of bf16 a processor gains nothing by it. One thread, `laptop`'s network, float32
against bf16 as torch emulates it on AVX-512: a training step takes 0.66 of the time, a ranking pass 0.51. On AVX2 torch
falls back on generic loops, ten times slower; rounding operands and results to bf16 around float32 products took 1.1 to
1.5 times as long as float32. So there an experiment in bf16 is computed in float32: its weights and losses are float32
anyway, only the rounding of activations goes. Its result says so (`machine["bf16"]`); its hash is the same.
"""

from __future__ import annotations

from functools import cache

import torch

# What a result says of the arithmetic behind its bf16.
HARDWARE, AS_FLOAT32 = "hardware", "as fp32"


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
