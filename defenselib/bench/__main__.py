"""The command: `python -m defenselib.bench`."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from defenselib.bench import photos, steps
from defenselib.bench.loops import LOOPS, PROFILES, Size
from defenselib.commands.output import table
from defenselib.cpu.devices import keep_memory
from defenselib.errors import DefenseLibError, told
from defenselib.experiments.provenance import machine

HEADS = ("eager", "captured", "eager, {} at a time", "captured, {} at a time")


def main(
    profile: Annotated[str, typer.Option(help=f"Network and batch sizes: {', '.join(PROFILES)}.")] = "demo",
    device: str = "cuda" if torch.cuda.is_available() else "cpu",
    seconds: Annotated[float, typer.Option(min=0, help="For each number, at least.")] = 0.3,
    processes: Annotated[int, typer.Option(min=0, help="That run at a time in the last columns; 0: none.")] = 4,
    threads: Annotated[int, typer.Option(min=1, help="Of each process.")] = 1,
    loop: Annotated[list[str] | None, typer.Option(help="Only this one; may be given again.")] = None,
    output: Annotated[Path | None, typer.Option(help="A JSON file for the same numbers.")] = None,
    photographs: Annotated[int, typer.Option("--photos", min=0, help="Also so many JPEG files at 224 pixels.")] = 0,
) -> None:
    """Print steps a second of every method's inner loop, alone and several processes at a time."""
    keep_memory()
    torch.set_num_threads(threads)
    try:
        size = Size.of(profile)
        about = machine(torch.device(device))
        with steps.Crowd(processes, threads) if processes else nullcontext() as crowd:
            rows = dict(steps.measure(size, device, seconds, crowd, loop or list(LOOPS)))
        _print(profile, size, about["gpu"] or about["cpu"], processes, rows)
        if output is not None:
            found = steps.report(profile, size, about, processes, seconds, rows)
            output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        if photographs:
            load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
            shown = table(f"images/s at 224x224, {load}", ("what", "images/s"), ["what"])
            for name, value in photos.bench_photos(photographs, torch.device(device)).items():
                shown.add_row(name, f"{value:,.0f}")
            Console().print(shown)
    except DefenseLibError as error:
        raise typer.BadParameter(str(error)) from error


def _print(profile: str, size: Size, machine_name: str, processes: int, rows: dict[str, steps.Row]) -> None:
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    what = f"{profile}: {size.model} width {size.width}, {size.precision}, batches of {size.batch}"
    measured = [(head, name) for head, name in zip(HEADS, steps.Row.__annotations__, strict=True)]
    shown = [
        (head, name) for head, name in measured if any(getattr(row, name) != steps.NO_CUDA for row in rows.values())
    ]
    title = f"steps/s of each process, {what}, {machine_name}, {load}, torch {torch.__version__}"
    steps_a_second = table(title, ["inner loop", *(head.format(processes) for head, _ in shown)], ["inner loop"])
    for name, row in rows.items():
        cells = [getattr(row, part) for _, part in shown]
        steps_a_second.add_row(name, *(cell if isinstance(cell, str) else f"{cell:,.1f}" for cell in cells))
    Console().print(steps_a_second)
    if len(shown) < len(measured):
        Console().print(f"captured: {steps.NO_CUDA}")


if __name__ == "__main__":
    with told():
        typer.run(main)
