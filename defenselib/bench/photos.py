"""Images a second of photographs at 224 pixels, beside torchvision's loader."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from defenselib.bench.steps import wait
from defenselib.data.augment.crop_flip import Augment, ResizedCrop
from defenselib.data.host.images import HostImages
from defenselib.data.sources import cache as decoded
from defenselib.data.sources.parts import list_imagenet
from defenselib.data.sources.preparation import Preparation
from defenselib.data.tensors import to_float
from defenselib.folders import CACHE

SIDE, BATCH = 224, 64


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
                wait(device)
                rates.setdefault(name, []).append(done / (time.perf_counter() - started))
    return {name: median(found) for name, found in rates.items()}
