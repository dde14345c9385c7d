"""Runs cells in processes of their own and kills them at drawn moments: a program, its job and its report as JSON.

It imports the library once and computes nothing itself: every attempt at a cell is a fork. Half of the kills come in
the middle of the store's work with files, at the n-th time that it opens, moves or removes one; the other half come
after so much processor time, which does not depend on what else the machine does.
"""

from __future__ import annotations

import json
import math
import os
import random
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from defenselib.experiments import Experiment, Store, run
from defenselib.experiments.code_digest import code_of
from defenselib.experiments.experiment import from_json

FILES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "shutil.rmtree"}
# Of a whole run's work: what resumes has less than all of it before it.
EARLY = 0.6


@dataclass
class Attempt:
    """What became of one: whether it was killed, its seconds of the processor, how often it touched files."""

    killed: bool
    seconds: float
    touched: int


@dataclass
class Killer:
    """Kills at most `kills` attempts, drawn by `seed`. log: what was killed, where."""

    seed: int
    kills: int
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)

    def round(self, cells: list[Experiment], root: Path, whole: dict[str, Attempt]) -> None:
        """Bring all cells to their end in a store, killing each a few times; the store is sound each time."""
        each = math.ceil(self.kills / len(cells))
        for cell in self.draw.sample(cells, len(cells)):
            usual, left = whole[cell.resolve().hash], each
            while True:
                if not left or len(self.log) == self.kills:
                    if attempt(cell, root).killed:
                        raise RuntimeError("killed by somebody else")
                    break
                after = at = math.inf
                if self.draw.random() < 0.5:
                    after = self.draw.uniform(0, EARLY * usual.seconds)
                else:
                    at = self.draw.randrange(math.ceil(EARLY * usual.touched))
                # From a checkpoint after every epoch, now and then, or from the beginning.
                done = attempt(cell, root, after, at, self.draw.choice((0.0, 0.0, 0.2, 60.0)))
                if not done.killed:
                    break
                left -= 1
                where = f"after {done.seconds:.2f} s" if at == math.inf else f"at file {at}"
                self.log.append(f"{cell.defense} {where}")
                print(len(self.log), self.log[-1], file=sys.stderr, flush=True)
                sound(root)


def sound(root: Path) -> None:
    """Raise where a store holds a result that is not whole."""
    store = Store(root)
    wrong = store.damaged()
    if wrong:
        raise RuntimeError(f"after a kill: {wrong}")
    for result in store.results():
        for name in result.arrays:
            result.arrays[name]


def attempt(
    cell: Experiment, root: Path, after: float = math.inf, at: float = math.inf, checkpoint_every: float = 0.0
) -> Attempt:
    """Run a cell in a fork; kill it after so many seconds of the processor, or at the n-th touch of a file."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        _work(cell, root, at, checkpoint_every, write)
    os.close(write)
    process, seconds = psutil.Process(child), 0.0
    while True:
        ended, status, used = os.wait4(child, os.WNOHANG)
        if ended:
            break
        seconds = sum(process.cpu_times()[:2])
        if seconds >= after:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
        return Attempt(False, used.ru_utime + used.ru_stime, int(said))
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return Attempt(True, used.ru_utime + used.ru_stime, 0)
    raise RuntimeError(f"{cell.defense} ended with {status}: {said}")


def _work(cell: Experiment, root: Path, at: float, checkpoint_every: float, write: int) -> None:
    touched, inside = 0, str(root)

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal touched
        if event in FILES and inside in str(arguments[0]):
            if touched == at:
                os.kill(os.getpid(), signal.SIGKILL)
            touched += 1

    sys.addaudithook(count)
    try:
        run(cell, root, "cpu", progress=False, checkpoint_every=checkpoint_every)
        os.write(write, str(touched).encode())
        os._exit(0)
    except BaseException as error:
        os.write(write, f"{type(error).__name__}: {error}".encode())
        os._exit(1)


def main() -> None:
    """Job: {"cells": [...], "folder": ..., "kills": n, "seed": n}. Report: {"stores": [...], "log": [...]}, the store
    of the undisturbed runs first."""
    job = json.loads(sys.stdin.read())
    cells, folder = [from_json(text) for text in job["cells"]], Path(job["folder"])
    for cell in cells:  # reads the whole package; the forks have it from here
        code_of(cell.resolve().describe())
    whole = {cell.resolve().hash: attempt(cell, folder / "whole") for cell in cells}
    killer, stores = Killer(job["seed"], job["kills"]), [folder / "whole"]
    while len(killer.log) < job["kills"]:
        stores.append(folder / f"killed-{len(stores)}")
        killer.round(cells, stores[-1], whole)
    print(json.dumps({"stores": list(map(str, stores)), "log": killer.log}))


if __name__ == "__main__":
    main()
