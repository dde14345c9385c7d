"""Where a result was made: machine, versions, memory."""

from __future__ import annotations

import os
import platform
import resource
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from defenselib.cpu.devices import arithmetic
from defenselib.version import __version__


def machine(device: torch.device) -> dict[str, Any]:
    """Processor, cores this process may use, torch's threads, how it computes bf16, GPU."""
    return {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "bf16": arithmetic(device),
        "device": device.type,
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "system": platform.system(),
    }


def versions() -> dict[str, str]:
    """Of Python and the packages that decide numbers."""
    others = {name: version(name) for name in ("torch", "torchvision", "numpy")}
    return {"python": platform.python_version(), **others, "defenselib": __version__}


def peak_memory_mb(device: torch.device) -> float:
    """Most memory held so far, in MB: of the GPU since `start_memory`, else of the process since it began."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 1e6, 1)
    return round(process_peak() / 1e6, 1)


def process_peak() -> int:
    """Most memory that this process has held, in bytes."""
    # Not getrusage's ru_maxrss: a child begins with its parent's, through fork and exec.
    told = _told("/proc/self/status", "VmHWM")
    if told:
        return int(told.split()[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Kilobytes elsewhere, bytes on macOS.
    return peak if sys.platform == "darwin" else peak * 1024


def start_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _processor() -> str:
    return _told("/proc/cpuinfo", "model name") or platform.processor() or platform.machine()


def _told(path: str, name: str) -> str:
    """What a file of Linux's says behind "name:", in the first line that does; nothing elsewhere."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
