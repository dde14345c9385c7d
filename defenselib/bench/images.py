"""Images a second: poisoning, augmentation, training, ranking."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch

from defenselib import attacks, defenses
from defenselib.attacks.base import Attack
from defenselib.data.augment.crop_flip import Augment
from defenselib.data.tensors import to_float
from defenselib.data.types import ImageSet
from defenselib.defenses.asd import ASD
from defenselib.learning.batches import infer
from defenselib.learning.context import Context
from defenselib.learning.semi_supervised import MixMatch, Trainee
from defenselib.learning.supervised import make_optimizer, supervised_epoch
from defenselib.models import build_model

IMAGES = 2048


def random_images(n: int, device: torch.device, size: int = 32) -> ImageSet:
    images = torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8)
    images = images.contiguous(memory_format=torch.channels_last).to(device)
    return ImageSet(images, torch.arange(n, device=device) % 10)


def rate(work: Callable[[], int], device: torch.device, seconds: float = 1.0) -> float:
    """Images a second of `work`, which returns how many it did; one call to warm up, then at least `seconds`."""
    work()
    wait(device)
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        done += work()
        wait(device)
    return done / (time.perf_counter() - start)


def wait(device: torch.device) -> None:
    """Until the device has done what it was asked for."""
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
