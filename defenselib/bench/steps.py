"""Steps a second of every method's inner loop: as ever and as a CUDA graph, alone and several processes at a time."""

from __future__ import annotations

import multiprocessing
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any
from unittest import mock

import torch

from defenselib.bench.loops import LOOPS, Bench, Size
from defenselib.cpu.devices import keep_memory
from defenselib.errors import check_choice
from defenselib.learning import capture

NO_CUDA = "not measured: no CUDA device"
NOT_CAPTURED = "not captured"
# An epoch's recording is part of what a graph costs, so epochs must be as long as they can be in a measurement.
CHUNK = {"cuda": 128, "cpu": 2}
Figure = float | str


@dataclass(frozen=True)
class Row:
    """Steps a second of one loop, of each process: alone and `together` with others, as ever and as a CUDA graph.

    A text in the place of a number says why there is none.
    """

    eager: Figure
    captured: Figure
    eager_together: Figure
    captured_together: Figure


def steps_a_second(
    name: str, size: Size, device: str, seconds: float, graphs: bool = False, barrier: Any = None
) -> Figure:
    """The loop called `name`, for at least `seconds` after one call to warm up, and a barrier where there is one.

    graphs: as a CUDA graph; `NOT_CAPTURED` where the loop made none. Errors: UnknownNameError.
    """
    make, place = LOOPS[check_choice("loop", name, LOOPS)], torch.device(device)
    chunk = CHUNK[place.type]
    recordings = capture.recordings()
    with mock.patch.dict(os.environ, {capture.SETTING: str(int(graphs))}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # why a loop is not captured is no matter here
        steps = make(Bench.of(size, place, chunk))
        steps(chunk)
        wait(place)
        if barrier is not None:
            barrier.wait(timeout=600)
        if graphs and capture.recordings() == recordings:
            return NOT_CAPTURED
        done, start = 0, time.perf_counter()
        while done == 0 or time.perf_counter() - start < seconds:
            steps(chunk)
            wait(place)
            done += chunk
        return done / (time.perf_counter() - start)


def wait(device: torch.device) -> None:
    """Until the device has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


_barrier: Any = None


def _prepare(barrier: Any, threads: int) -> None:
    global _barrier
    _barrier = barrier
    torch.set_num_threads(threads)
    keep_memory()


def _task(name: str, size: Size, device: str, seconds: float, graphs: bool) -> Figure:
    try:
        return steps_a_second(name, size, device, seconds, graphs, _barrier)
    except BaseException:
        _barrier.abort()  # nobody waits for one that failed
        raise


class Crowd:
    """So many processes that measure the same loop at the same time; a context."""

    def __init__(self, processes: int, threads: int = 1) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.processes = processes
        self._pool = ProcessPoolExecutor(processes, spawn, _prepare, (spawn.Barrier(processes), threads))

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def steps_a_second(self, name: str, size: Size, device: str, seconds: float, graphs: bool = False) -> Figure:
        """The mean over the processes of what each of them does."""
        # Each task waits at the barrier for the others, so that no process gets two of them.
        tasks = [self._pool.submit(_task, name, size, device, seconds, graphs) for _ in range(self.processes)]
        found = [task.result() for task in tasks]
        rates = [item for item in found if not isinstance(item, str)]
        return sum(rates) / len(rates) if len(rates) == len(found) else NOT_CAPTURED


def measure(
    size: Size, device: str, seconds: float, crowd: Crowd | None, names: list[str]
) -> Iterator[tuple[str, Row]]:
    """The rows of a table, one after the other."""

    def ways(measured: Callable[..., Figure], name: str) -> tuple[Figure, Figure]:
        eager, cuda = measured(name, size, device, seconds), torch.device(device).type == "cuda"
        return eager, measured(name, size, device, seconds, graphs=True) if cuda else NO_CUDA

    for name in names:
        together = ("not measured",) * 2 if crowd is None else ways(crowd.steps_a_second, name)
        yield name, Row(*ways(steps_a_second, name), *together)


def report(
    profile: str, size: Size, machine: Mapping[str, Any], processes: int, seconds: float, rows: Mapping[str, Row]
) -> dict[str, Any]:
    """What is written as JSON: how it was measured, and the rows by the name of the loop, as `Row` has them."""
    return {
        "what": "steps a second of each process",
        "profile": profile,
        "size": asdict(size),
        "machine": dict(machine),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "processes": processes,
        "seconds": seconds,
        "loops": {name: asdict(row) for name, row in rows.items()},
    }
