"""How much memory poisoning and passing over a set takes that lies in a file. The file has holes in the place of
pixels, so that it needs no disk; DEFENSELIB_PEAK_IMAGES=120000 measures it at the size of the papers' largest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MEASURE = """
import json, os, sys, threading, time
import numpy as np, torch
from defenselib import attacks
from defenselib.data.host.images import HostImages
from defenselib.data.tensors import to_float
from defenselib.data.types import Dataset, ImageSet
path, count = sys.argv[1], int(sys.argv[2])
tests = max(12, count // 12)
def memory():
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return {name: int(lines[name].split()[0]) * 1024 for name in ("RssAnon", "RssFile", "RssShmem")}
peak, parts, done = 0, {}, threading.Event()
def watch():
    global peak, parts
    while not done.wait(0.02):
        now = memory()
        if sum(now.values()) > peak:
            peak, parts = sum(now.values()), now
def images(number):
    whole = HostImages.over(np.load(path, mmap_mode="c"))
    return ImageSet(whole.derived(torch.arange(number)), torch.arange(number) % 12)
model = torch.nn.Conv2d(3, 4, 7, 8)
before = sum(memory().values())
threading.Thread(target=watch, daemon=True).start()
data = Dataset("large", images(count), images(tests), tuple(map(str, range(12))), "")
poisoned = attacks.poison(data, attacks.create("badnets", image_size=224, preset="vab"))
started = time.perf_counter()
train = poisoned.train.channels_last()
seen = 0
for index in torch.randperm(count).split(64):
    batch = train.images[index]
    seen += len(batch)
    if seen <= 64 * 20:
        to_float(batch)
for batch in poisoned.triggered_test.images.split(500):
    seen += len(batch.clone()[:1])
seconds = time.perf_counter() - started
done.set()
print(json.dumps({"peak": peak - before, "poisoned": int(poisoned.is_poisoned.sum()), "seen": seen,
                  "parts": parts, "before": before, "seconds": seconds}))
"""
IMAGE = 3 * 224 * 224


@pytest.mark.slow
def test_memory_does_not_grow_with_the_set(tmp_path: Path) -> None:
    count = int(os.environ.get("DEFENSELIB_PEAK_IMAGES", "6000"))
    path = tmp_path / "images.npy"
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, 3, 224, 224)}
    from numpy.lib import format as npy

    with path.open("wb") as file:
        npy.write_array_header_1_0(file, header)
        file.truncate(file.tell() + count * IMAGE)
    # glibc otherwise keeps what threads of OpenMP freed.
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path), str(count)], capture_output=True, text=True, check=False, env=env
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    print(found)
    assert found["poisoned"] == count // 10
    batch = 500 * IMAGE  # of the evaluation, the largest
    # What was read of the files until it is let go of, twice (training and test images), a batch of 64 as float32.
    arithmetic = 2 * (256 << 20) + 2 * batch + 64 * IMAGE * 8 + 8 * 20 * count
    assert found["peak"] < arithmetic < 2e9 + batch
    assert count < 10000 or found["peak"] < 0.1 * count * IMAGE
