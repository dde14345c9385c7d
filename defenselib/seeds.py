"""One integer spawns named random streams, so that a new consumer changes no other stream."""

from __future__ import annotations

import hashlib

import torch


def spawn(seed: int, *names: str | int) -> int:
    """A 63-bit seed for the stream called `names` under `seed`; independent of every other name."""
    text = "/".join([str(int(seed)), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, *names: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator on `device` for the stream called `names`."""
    return torch.Generator(device=device).manual_seed(spawn(seed, *names))
