"""Which GPU a job of this machine takes: slots as locked files, freed by the system when their holder dies."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import filelock

from defenselib import folders
from defenselib.errors import InvalidValueError, check_range

POLL_SECONDS = 0.5


def numbers(text: str) -> tuple[int, ...]:
    """The GPUs in "0,1,3". Errors: InvalidValueError."""
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts) or len(set(parts)) < len(parts):
        raise InvalidValueError(f"gpus is {text!r}, it must be numbers with commas between them, each once: 0,1")
    return tuple(int(part) for part in parts)


@contextmanager
def pinned(gpus: Sequence[int], per_gpu: int, folder: Path) -> Iterator[int]:
    """Inside, CUDA_VISIBLE_DEVICES names one of `gpus`, of which each has `per_gpu` slots; waits until one is free.

    The emptiest GPU is tried first. Errors: InvalidValueError, FolderError.
    """
    check_range("cells on one GPU at once", per_gpu, 1, float("inf"))
    folders.make(folder)
    slots = [(gpu, folder / f"gpu-{gpu}-{slot}.lock") for slot in range(per_gpu) for gpu in gpus]
    gpu, lock = _free(slots)
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = str(gpu)
    try:
        yield gpu
    finally:
        if before is None:
            del os.environ["CUDA_VISIBLE_DEVICES"]
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = before
        lock.release()


def _free(slots: Sequence[tuple[int, Path]]) -> tuple[int, filelock.BaseFileLock]:
    while True:
        for gpu, path in slots:
            lock = filelock.FileLock(path)
            with folders.writing(path):
                try:
                    lock.acquire(timeout=0)
                except filelock.Timeout:
                    continue
            return gpu, lock
        time.sleep(POLL_SECONDS)
