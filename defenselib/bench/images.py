"""Throughput on this machine: `make bench` or `python -m defenselib.bench --help`. Prints tables, tests nothing."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Annotated, Any
from unittest import mock

import numpy as np
import torch
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor

from defenselib import attacks, defenses
from defenselib.attacks.base import Attack
from defenselib.cpu.allocator import keep_memory
from defenselib.cpu.bf16 import bf16_arithmetic
from defenselib.data.augment.crop_flip import Augment
from defenselib.data.augment.photos import ResizedCrop
from defenselib.data.host.images import HostImages
from defenselib.data.pixels import to_float
from defenselib.data.sources import cache as decoded
from defenselib.data.sources.imagenet import list_imagenet
from defenselib.data.sources.preparation import Preparation
from defenselib.data.types import ImageSet
from defenselib.defenses.asd import ASD
from defenselib.errors import DefenseLibError
from defenselib.folders import CACHE
from defenselib.learning.batches import infer
from defenselib.learning.context import Context
from defenselib.learning.semi_supervised import MixMatch, Trainee
from defenselib.learning.supervised import make_optimizer, supervised_epoch
from defenselib.models import build_model

IMAGES = 2048
SIDE, BATCH = 224, 64  # of photographs


def random_images(n: int, device: torch.device, size: int = 32) -> ImageSet:
    images = torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8)
    images = images.contiguous(memory_format=torch.channels_last).to(device)
    return ImageSet(images, torch.arange(n, device=device) % 10)


def rate(work: Callable[[], int], device: torch.device, seconds: float = 1.0) -> float:
    """Images a second of `work`, which returns how many it did; one call to warm up, then at least `seconds`."""
    work()
    _wait(device)
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        done += work()
        _wait(device)
    return done / (time.perf_counter() - start)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def bench_attacks(data: ImageSet, device: torch.device) -> dict[str, float]:
    """uint8 to uint8. Nothing is trained here: an attack that must be is measured with its networks or pictures as
    they begin, if it has `untrained()` (which returns it so), else left out."""
    index = torch.arange(len(data), device=device)
    images = data.images.contiguous()  # data sets lie so when they are poisoned
    rates = {}
    for name in attacks.available():
        attack = attacks.create(name, image_size=data.image_size)
        if hasattr(attack, "untrained"):
            attack = attack.untrained()
        elif type(attack).prepare is not Attack.prepare:
            continue
        rates[f"poison: {name}"] = rate(lambda attack=attack: len(attack(images, index)), device)  # type: ignore[misc]
    return rates


def bench_input(data: ImageSet, device: torch.device) -> dict[str, float]:
    generator = torch.Generator(device=device).manual_seed(0)
    index = torch.arange(128, device=device)
    augment = Augment()
    return {
        "augment: crop, flip (uint8)": rate(lambda: len(augment(data.images, index, generator)), device),
        "augment and to float": rate(lambda: len(to_float(augment(data.images, index, generator))), device),
    }


def bench_training(data: ImageSet, context: Context, device: torch.device) -> dict[str, float]:
    """Supervised epoch, ranking pass, virtual epoch in images/s; MixMatch in labelled + unlabelled images/s."""
    model = context.build_model()
    optimizer = make_optimizer(list(model.parameters()), "sgd", 0.01)
    augment = Augment()
    everything = torch.arange(len(data), device=device)
    few = data.select(everything[:512])
    asd = defenses.create("asd")
    assert isinstance(asd, ASD)
    learner, trainee = MixMatch(iterations=2), Trainee(model, optimizer, data, context, augment)

    def supervised() -> int:
        supervised_epoch(model, optimizer, few, context, augment)
        return len(few)

    def rank() -> int:
        return len(infer(model, few.images, context, lambda logits, index: logits))

    def virtual() -> int:
        asd.virtual_model(replace(trainee, train=few))
        return len(few)

    def mixmatch() -> int:
        half = len(data) // 2
        learner.train_epoch(trainee, everything[:half], everything[half:], 0)
        return 2 * 64 * learner.iterations

    return {
        "supervised training": rate(supervised, device),
        "ranking pass": rate(rank, device),
        "virtual-model epoch": rate(virtual, device),
        "MixMatch (64 + 64 x 2 views)": rate(mixmatch, device),
    }


def measure(model: str, width: int, precision: str, device: torch.device, threads: int) -> dict[str, float]:
    """All rates of one setting."""
    torch.set_num_threads(threads)
    data = random_images(IMAGES, device)
    context = Context(model_factory=lambda: build_model(model, width=width), device=device, precision=precision)
    return {**bench_attacks(data, device), **bench_input(data, device), **bench_training(data, context, device)}


def write_photos(folder: Path, count: int) -> None:
    """So many JPEG files of 500 x 375 pixels with the detail of photographs, in the layout of ImageNet, of ten classes;
    one in ten is a validation image."""
    draw = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(draw.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((500, 375))
        pixels = np.asarray(coarse, dtype=np.int16) + draw.normal(0, 16, (375, 500, 1)).astype(np.int16)
        place = folder / ("val" if number % 10 == 9 else "train") / f"n{number // 10 % 10:08}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(place / f"{number}.JPEG", quality=90)


def photo_epochs(folder: Path, host: HostImages, device: torch.device) -> dict[str, Callable[[], int]]:
    """What brings the photographs of an epoch to the network, as functions that return how many they brought: ours from
    the decoded file, and torchvision's ImageFolder with a DataLoader of two workers from the JPEG files."""
    from torch.utils.data import DataLoader
    from torchvision import transforms as t
    from torchvision.datasets import ImageFolder

    stream = torch.Generator().manual_seed(0)

    def ours(look: Callable[[Tensor], Tensor]) -> int:
        order = torch.randperm(len(host), generator=stream)
        return sum(len(look(index.to(device))) for index in order.split(BATCH))

    def theirs(*crop: Any) -> int:
        chain = t.Compose([*crop, t.RandomHorizontalFlip(), t.ToTensor()])
        loader = DataLoader(ImageFolder(str(folder / "train"), chain), BATCH, shuffle=True, num_workers=2)
        return sum(len(images.to(device)) for images, _ in loader)

    padded, resized = Augment(), ResizedCrop()
    draws = torch.Generator(device=device).manual_seed(0)
    middle = (t.Resize(256), t.CenterCrop(SIDE), t.RandomCrop(SIDE, 4, padding_mode="reflect"))
    return {
        "read from the file": lambda: ours(lambda index: host[index]),
        "crop and flip": lambda: ours(lambda index: to_float(padded(host, index, draws))),
        "ImageFolder, two workers: crop and flip": lambda: theirs(*middle),
        "crop of random size and flip": lambda: ours(lambda index: to_float(resized(host, index, draws))),
        "ImageFolder, two workers: crop of random size and flip": lambda: theirs(t.RandomResizedCrop(SIDE, (0.2, 1.0))),
    }


def bench_photos(count: int, device: torch.device, rounds: int = 3) -> dict[str, float]:
    """Images a second at 224 pixels: decoding once, then epochs by turns, the median of the rounds."""
    with tempfile.TemporaryDirectory() as base, mock.patch.dict(os.environ, {CACHE: f"{base}/cache"}):
        folder = Path(base) / "photos"
        write_photos(folder, count)
        started = time.perf_counter()
        with mock.patch.object(decoded, "LARGE", 0):
            decode = Preparation(SIDE, 256)
            listing = list_imagenet(folder)
            assert listing is not None
            images = decoded.load_decoded("photos", listing, decode).train.images
        rates = {"decode once, by processes": [count / (time.perf_counter() - started)]}
        assert isinstance(images, HostImages)
        epochs = photo_epochs(folder, images.to(device), device)  # type: ignore[arg-type]
        for _ in range(rounds):
            for name, epoch in epochs.items():
                started = time.perf_counter()
                done = epoch()
                _wait(device)
                rates.setdefault(name, []).append(done / (time.perf_counter() - started))
    return {name: median(found) for name, found in rates.items()}


def main(
    model: str = "resnet18",
    width: int = 16,
    precision: str = "bf16",
    device: str = "cuda" if torch.cuda.is_available() else "cpu",
    threads: Annotated[str, typer.Option(help="Thread counts, comma separated; default 1 and all cores.")] = "",
    photos: Annotated[int, typer.Option(min=0, help="JPEG files to write and read at 224 pixels; 0 for none.")] = 1000,
) -> None:
    """Print images/s for poisoning, augmentation, supervised training, ranking and MixMatch, and for photographs."""
    keep_memory()
    place = torch.device(device)
    counts = [int(item) for item in threads.split(",") if item] or sorted({1, os.cpu_count() or 1})
    if place.type == "cuda":
        counts = counts[-1:]
    try:
        with bf16_arithmetic(place):
            columns = {count: measure(model, width, precision, place, count) for count in counts}
    except DefenseLibError as error:
        raise typer.BadParameter(str(error)) from error
    where = torch.cuda.get_device_name(place) if place.type == "cuda" else platform.processor() or platform.machine()
    table = Table(title=f"images/s: {model} width {width}, {precision}, 32x32, {where}, torch {torch.__version__}")
    table.add_column("what")
    for count in counts:
        table.add_column(f"{count} thread{'s' * (count > 1)}", justify="right")
    for row in next(iter(columns.values())):
        table.add_row(row, *(f"{columns[count][row]:,.0f}" for count in counts))
    Console().print(table)
    if photos:
        torch.set_num_threads(counts[-1])
        table = Table(title=f"images/s at 224x224, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        table.add_column("what")
        table.add_column("images/s", justify="right")
        for name, value in bench_photos(photos, place).items():
            table.add_row(name, f"{value:,.0f}")
        Console().print(table)


if __name__ == "__main__":
    typer.run(main)
