"""Decoding a data set that does not fit the memory: by several processes, into a file, and where it was left off.

Blocks of images are written to their place in the array's file and noted in a journal beside it with a checksum. Who is
killed goes on with the blocks that the journal lacks. Before the array counts, every block is read again.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from defenselib.data.sources.images import Picture, Split, decode_chunk
from defenselib.data.sources.preparation import Preparation
from defenselib.errors import DataError
from defenselib.folders import CACHE, writing

BLOCK = 256  # images
JOURNAL = "blocks.jsonl"


@dataclass(frozen=True)
class _Block:
    """One block of images, and where it goes: `offset` bytes into `path`."""

    path: Path
    offset: int
    pictures: list[Picture]
    preparation: Preparation


@dataclass(frozen=True)
class Written:
    """What was decoded: how many images had to be resized, and the checksum of all."""

    resized: int
    sum: int


def decode(folder: Path, name: str, split: Split, preparation: Preparation) -> Written:
    """Decode the images of `split` into `folder`/`name`.npy, uint8 (N, 3, S, S).

    Blocks that an earlier try has finished are taken over. Errors: DataError for a damaged image or file, FolderError
    for a full disk.
    """
    side = preparation.side
    assert side is not None
    path, shape = folder / f"{name}.npy", (split.count, 3, side, side)
    with writing(folder, CACHE):
        offset = _made(path, shape)
        done = _journal(folder, name)
        for _ in range(3):  # once, and again for blocks whose bytes are not those that were noted
            try:
                _decode_blocks(folder, name, split, preparation, path, offset, done)
            except BrokenProcessPool as error:
                raise DataError(
                    f"a process that decodes images into {path} was killed, perhaps for want of memory; started again, "
                    "it goes on where it was"
                ) from error
            lost = _lost(path, offset, shape, done)
            if not lost:
                # Blocks are multiples of eight bytes, so that their sums add up to that of all.
                total = sum(part for part, _ in done.values()) % (1 << 64)
                return Written(sum(resized for _, resized in done.values()), total)
            done = {block: facts for block, facts in done.items() if block not in lost}
    raise DataError(f"{path} does not keep what is written to it; check the disk, or set {CACHE} to another folder")


def _decode_blocks(
    folder: Path,
    name: str,
    split: Split,
    preparation: Preparation,
    path: Path,
    offset: int,
    done: dict[int, tuple[int, int]],
) -> None:
    """Decode the blocks that are not `done`, and note them there and in the journal."""
    size = 3 * (preparation.side or 0) ** 2
    blocks = -(-split.count // BLOCK)
    running: deque[tuple[int, Future[tuple[int, int]]]] = deque()
    with (
        (folder / JOURNAL).open("a", encoding="utf-8") as journal,
        _workers(blocks - len(done)) as (pool, workers),
        tqdm(total=blocks, initial=len(done), unit="block", desc=f"decoding {name}", disable=None) as bar,
    ):

        def finish() -> None:
            block, future = running.popleft()
            done[block] = future.result()
            line = {"name": name, "block": block, "sum": done[block][0], "resized": done[block][1]}
            journal.write(json.dumps(line) + "\n")
            journal.flush()
            bar.update()

        for block, pictures in enumerate(_blocks(split)):
            if block in done:
                continue
            task = _Block(path, offset + block * BLOCK * size, pictures, preparation)
            running.append((block, pool.submit(_decode, task)))
            if len(running) > 2 * workers:  # so that encoded images do not pile up in memory
                finish()
        while running:
            finish()


def _blocks(split: Split) -> Iterator[list[Picture]]:
    pictures = split.pictures()
    while block := list(islice(pictures, BLOCK)):
        yield block


def _decode(task: _Block) -> tuple[int, int]:
    """Write one block; its checksum, and how many images had to be resized."""
    side = task.preparation.side
    assert side is not None
    out = np.empty((len(task.pictures), 3, side, side), dtype=np.uint8)
    pictures = task.pictures
    if task.preparation.crops:
        pictures = [(place, task.preparation.of(place, content)) for place, content in pictures]
    resized = decode_chunk(pictures, out)
    content, done = out.reshape(-1).data, 0
    handle = os.open(task.path, os.O_WRONLY)
    try:
        while done < len(content):
            done += os.pwrite(handle, content[done:], task.offset + done)
    finally:
        os.close(handle)
    return checksum(out), resized


def checksum(array: NDArray[Any]) -> int:
    """Sum of the bytes as 64-bit words: finds lost pages and flipped bits at the speed of the memory."""
    flat = array.reshape(-1).view(np.uint8)
    whole = len(flat) // 8 * 8
    total = int(flat[:whole].view(np.uint64).sum(dtype=np.uint64)) + int(flat[whole:].sum(dtype=np.uint64))
    return total % (1 << 64)


def _made(path: Path, shape: tuple[int, ...]) -> int:
    """Where the pixels begin in the array's file, which is made as long as it will be; no disk is used yet."""
    if not path.exists():
        np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    found = np.load(path, mmap_mode="r")
    if found.shape != shape or found.dtype != np.uint8:
        path.unlink()
        return _made(path, shape)
    return int(found.offset)


def _journal(folder: Path, name: str) -> dict[int, tuple[int, int]]:
    """Checksum, and count of resized images, of every block that is noted; a line cut off by a kill is none."""
    done: dict[int, tuple[int, int]] = {}
    try:
        lines = (folder / JOURNAL).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return done
    for line in lines:
        try:
            facts: Mapping[str, int | str] = json.loads(line)
            if facts["name"] == name:
                done[int(facts["block"])] = int(facts["sum"]), int(facts["resized"])
        except (ValueError, KeyError, TypeError):
            continue
    return done


def _lost(path: Path, offset: int, shape: tuple[int, ...], done: Mapping[int, tuple[int, int]]) -> set[int]:
    """Blocks whose bytes in the file are not those that were noted."""
    lost, size = set(), 3 * shape[-1] ** 2
    with path.open("rb") as file:
        for block, (noted, _) in done.items():
            count = min(BLOCK, shape[0] - block * BLOCK)
            file.seek(offset + block * BLOCK * size)
            content = np.frombuffer(file.read(max(0, count) * size), dtype=np.uint8)
            if len(content) != count * size or checksum(content) != noted:
                lost.add(block)
    return lost


@contextmanager
def _workers(blocks: int) -> Iterator[tuple[Executor, int]]:
    """Who decodes so many blocks: processes, or a thread where there is little to do or the system cannot fork."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = max(1, min(cores, blocks))
    pool: Executor
    if blocks > 1 and sys.platform == "linux":
        # Forked, they need not import this process's program again; they touch nothing but Pillow, NumPy and files.
        context = multiprocessing.get_context("fork")
        pool = ProcessPoolExecutor(count, context, initializer=_end_with, initargs=(os.getpid(),))
    else:
        pool = ThreadPoolExecutor(count)
    try:
        yield pool, count
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def _end_with(parent: int) -> None:
    """Lets this process end when the one that began it is killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
