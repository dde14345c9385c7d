"""One integer spawns named random streams, so that a new consumer changes no other stream."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")


def spawn(seed: int, *names: str | int) -> int:
    """A 63-bit seed for the stream called `names` under `seed`; independent of every other name."""
    text = "/".join([str(int(seed)), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, *names: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator on `device` for the stream called `names`."""
    return torch.Generator(device=device).manual_seed(spawn(seed, *names))


def drawn_seed(stream: torch.Generator) -> int:
    """A seed of 62 bits, the next number of `stream`."""
    return int(torch.randint(1 << 62, (), generator=stream, device=stream.device))


def initialised(make: Callable[[], T], stream: torch.Generator) -> T:
    """What `make` gives under a seed drawn from `stream`; torch's own stream stands as before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(drawn_seed(stream))
        return make()
