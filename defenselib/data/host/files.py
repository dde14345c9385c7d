"""Files of images that this process maps: decoded data sets, and what takes the place of some of their images."""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import tempfile
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from defenselib.folders import CACHE, cache_root, make, writing

SEGMENT = 1 << 30  # bytes of a file of replaced images before the next one is begun; disk is used as they come
# Bytes read before the process lets go of its pages: they stay in the system's cache, and count for nobody.
KEPT = 1 << 28


@dataclass(frozen=True)
class Mapped:
    """Images uint8 (N, C, H, W) over a memory map, on the host; None where they lie in memory instead."""

    images: Tensor
    map: mmap.mmap | None = None

    @classmethod
    def of(cls, array: NDArray[np.uint8]) -> Mapped:
        """An array, or one that `numpy.load(..., mmap_mode="c")` has mapped and nobody has written to."""
        return cls(torch.from_numpy(array), getattr(array, "_mmap", None))

    def forget(self) -> None:
        """Let go of the pages that were read; the next read finds them in the system's cache or in the file."""
        if self.map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self.map.madvise(mmap.MADV_DONTNEED)


class Spill:
    """A file without a name to which images are appended, at most `capacity` of `shape`; it goes with this object.

    Errors: FolderError where the disk is full: a map that grows on it would kill the process.
    """

    def __init__(self, shape: Sequence[int], capacity: int) -> None:
        self.capacity, self.count = capacity, 0
        self._folder = make(cache_root() / "decoded", CACHE)
        self._size = math.prod(shape)
        with writing(self._folder, CACHE):
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
            weakref.finalize(self, self._file.close)  # it has no name, so nothing of it is left behind
            self._file.truncate(capacity * self._size)
        pages = mmap.mmap(self._file.fileno(), capacity * self._size)
        self.source = Mapped(torch.frombuffer(pages, dtype=torch.uint8).view(capacity, *shape), pages)

    def append(self, images: Tensor) -> int:
        """Position of the first of these images, which must not be more than there is room for."""
        start, number = self.count, self._file.fileno()
        content = images.contiguous().numpy().reshape(-1).data
        with writing(self._folder, CACHE):
            os.posix_fallocate(number, start * self._size, len(content))
            done = 0
            while done < len(content):
                done += os.pwrite(number, content[done:], start * self._size + done)
        self.count += len(images)
        return start


class Pool:
    """Images of one shape in several places, numbered through; it only ever grows, so that a number stays valid."""

    def __init__(self, sources: Sequence[Mapped]) -> None:
        self.shape = tuple(sources[0].images.shape[1:])
        self.sources: list[Mapped] = []
        self._starts: list[int] = []
        self._total = 0
        self._spill: Spill | None = None
        self._spilled_at = 0
        self._read = 0
        self._lock = threading.Lock()
        for source in sources:
            self._add(source)

    def __len__(self) -> int:
        """How many numbers have been given out."""
        return self._total

    def _add(self, source: Mapped) -> int:
        start = self._total
        self.sources.append(source)
        self._starts.append(start)
        self._total += len(source.images)
        return start

    def append(self, images: Tensor) -> Tensor:
        """Keep more images, uint8 (n, C, H, W) on the host; their numbers, int64 (n,). Errors: FolderError."""
        parts, done = [], 0
        while done < len(images):
            if self._spill is None or self._spill.count == self._spill.capacity:
                capacity = max(1, SEGMENT // math.prod(self.shape))
                self._spill = Spill(self.shape, capacity)
                self._spilled_at = self._add(self._spill.source)
            part = images[done : done + self._spill.capacity - self._spill.count]
            first = self._spilled_at + self._spill.append(part)
            parts.append(torch.arange(first, first + len(part)))
            done += len(part)
        self.count(images.nbytes)
        return torch.cat(parts) if parts else torch.empty(0, dtype=torch.int64)

    def gather(self, numbers: Tensor, pinned: bool = False) -> Tensor:
        """The images of these numbers, int64 (n,), copied: uint8 (n, C, H, W) on the host."""
        out = torch.empty((len(numbers), *self.shape), dtype=torch.uint8, pin_memory=pinned)
        if len(self.sources) == 1:
            torch.index_select(self.sources[0].images, 0, numbers, out=out)
        else:
            place = torch.bucketize(numbers, torch.tensor(self._starts), right=True) - 1
            for which in place.unique().tolist():
                mine = (place == which).nonzero().flatten()
                found = self.sources[which].images.index_select(0, numbers[mine] - self._starts[which])
                out.index_copy_(0, mine, found)
        self.count(out.nbytes)
        return out

    def view(self, numbers: Tensor) -> Tensor | None:
        """These images without a copy, where they lie one after the other in one place; else None."""
        if not len(numbers):
            return self.sources[0].images[:0]
        first = int(numbers[0])
        if not torch.equal(numbers, torch.arange(first, first + len(numbers))):
            return None
        which = int(np.searchsorted(self._starts, first, side="right")) - 1
        inside = first - self._starts[which]
        found = self.sources[which].images[inside : inside + len(numbers)]
        return found if len(found) == len(numbers) else None

    def count(self, size: int) -> None:
        """What was read or written counts until the pages are let go of."""
        with self._lock:
            self._read += size
            due = self._read > KEPT
            self._read = 0 if due else self._read
        if due:
            for source in self.sources:
                with contextlib.suppress(OSError, ValueError):  # only a courtesy to the system
                    source.forget()
