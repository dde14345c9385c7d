"""A training step as public code writes it, and the same step here: `python -m defenselib.bench.plain`.

The plain way: images as floats in torch's usual layout, torch's convolutions and allocator, the loss read in each step.
Each measurement is a process of its own, since an allocator is set for a whole process; seconds are the processor's.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated

import pandas as pd
import torch
import torch.nn.functional as F
import typer
from torch import nn

from defenselib import folders
from defenselib.bench.loops import LOOPS, Bench, Size
from defenselib.cpu.devices import keep_memory
from defenselib.errors import check_choice, told
from defenselib.experiments import provenance
from defenselib.models import build_model

WAYS = ("plain", "here")
# Processors without bf16 instructions, by the variables that make oneDNN and torch's own kernels do without more.
WITHOUT_BF16 = {
    "AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
    "AVX-512": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
}
LOOP = "supervised (SGD)"


def plain(size: Size, steps: int) -> Callable[[], object]:
    """`steps` steps of SGD in float32 on random images."""
    model = build_model(size.model, width=size.width).to(memory_format=torch.contiguous_format).train()
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            layer.__class__ = nn.Conv2d
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
    images, labels = torch.randn(steps, size.batch, 3, 32, 32), torch.randint(0, 10, (steps, size.batch))

    def work() -> None:
        for batch, known in zip(images, labels, strict=True):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(batch), known)
            loss.backward()
            optimizer.step()
            loss.item()

    return work


def here(size: Size, steps: int) -> Callable[[], object]:
    """The same number of steps as the library does them, crops and flips included."""
    keep_memory()
    loop = LOOPS[LOOP](Bench.of(size, steps=steps))
    return lambda: loop(steps)


def seconds(way: str, steps: int, size: Size = Size()) -> float:  # noqa: B008
    """Processor seconds of one step in this process, after a first round."""
    work = (plain if way == "plain" else here)(size, steps)
    work()
    start = time.process_time()
    work()
    return (time.process_time() - start) / steps


def ratio(measure: Callable[[str], float], repeats: int) -> dict[str, float]:
    """Medians of measurements in alternation: seconds of both ways, and how many times as fast the second is."""
    found = [[measure(way) for way in WAYS] for _ in range(repeats)]
    medians = [median(column) for column in zip(*found, strict=True)]
    return {**dict(zip(WAYS, medians, strict=True)), "ratio": medians[0] / medians[1]}


def _in_a_process(way: str, steps: int, environment: Mapping[str, str]) -> float:
    asked = [sys.executable, "-m", "defenselib.bench.plain", "--steps", str(steps), "--child", way]
    said = subprocess.run(asked, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    return float(said)


def main(
    repeats: Annotated[int, typer.Option(min=1, help="Of each way, in alternation.")] = 5,
    steps: Annotated[int, typer.Option(min=1, help="In each measurement.")] = 2,
    instructions: Annotated[
        list[str] | None, typer.Option(help=f"As if without bf16: {', '.join(WITHOUT_BF16)}.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="A CSV file for the same numbers.")] = None,
    child: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Measure a step of the full ResNet-18, batches of 128, one thread: the plain way and here."""
    torch.set_num_threads(1)
    if child:
        # The variables do not answer for what torch asks the processor itself.
        torch.cpu._is_avx512_bf16_supported = lambda: False
        typer.echo(seconds(check_choice("child", child, WAYS), steps))
        return
    rows = []
    for name in instructions or list(WITHOUT_BF16):
        limits = WITHOUT_BF16[check_choice("instructions", name, tuple(WITHOUT_BF16))]
        environment = {**os.environ, **limits, "OMP_NUM_THREADS": "1"}
        found = ratio(partial(_in_a_process, steps=steps, environment=environment), repeats)
        rows.append({
            "work": "training step, ResNet-18, batch 128",
            "instructions": name,
            "plain (s)": round(found["plain"], 2),
            "here (s)": round(found["here"], 2),
            "times as fast": round(found["ratio"], 2),
            "processor": provenance.machine(torch.device("cpu"))["cpu"],
            "on": datetime.now(UTC).date().isoformat(),
        })  # fmt: skip
        typer.echo(rows[-1])
    if output is not None:
        folders.write_text(output, pd.DataFrame(rows).to_csv(index=False))


if __name__ == "__main__":
    with told():
        typer.run(main)
