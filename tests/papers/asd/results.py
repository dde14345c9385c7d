"""ASD's results made by hand, for the tests of its exhibits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from defenselib.experiments import Result, Store
from defenselib.papers.asd.exhibits import PAPER
from defenselib.papers.kit import frame as frames
from defenselib.papers.kit import printed
from defenselib.papers.kit.exhibit import Exhibit
from defenselib.papers.kit.request import Cell

from ..made import made

N = 100


def exhibit(key: str) -> Exhibit:
    return PAPER.exhibit(key)


def putter(store: Store) -> Callable[..., Result]:
    """lay(cell, acc, asr): a finished result of that cell in the store."""

    def put(
        cell: Cell,
        acc: float = 80.0,
        asr: float = 1.0,
        profile: str = "gpu",
        seed: int = 0,
        history: Any = (),
        arrays: Any = None,
        **fields: Any,
    ) -> Result:
        resolved = cell.experiment("asd", profile, seed).resolve()
        result = made(resolved, acc, asr, history=list(history), **fields)
        return store.put(result, arrays or {})

    return put


def as_reproduced(key: str, profile: str = "paper") -> pd.DataFrame:
    """A table as if every printed number had been reproduced exactly."""
    rows = printed.table("asd", key)
    found = [{**frames.entry([value], ["here"]), "verdict": "agrees"} for value in rows["published"]]
    return frames.finish(rows, found, profile)


def outcomes(key: str, found: pd.DataFrame) -> dict[str, str]:
    claims: dict[str, str] = exhibit(key).claims(found).set_index("claim")["outcome"].to_dict()
    return claims


def change(found: pd.DataFrame, value: float, **where: Any) -> pd.DataFrame:
    """The numbers that `where` names replaced; which seeds they are of is forgotten."""
    mask = pd.Series(True, found.index)
    for column, name in where.items():
        mask &= found[column] == name
    assert mask.any()
    return replaced(found, found["reproduced"].mask(mask, value))


def replaced(found: pd.DataFrame, numbers: Any) -> pd.DataFrame:
    return found.assign(reproduced=numbers, by_seed=[{}] * len(found))


def curve(
    stage: str,
    accs: tuple[float, float],
    asrs: tuple[float, float],
    poison: float = 0.0,
    epochs: int = 24,
) -> list[dict[str, Any]]:
    """A history in which ACC and ASR go linearly from one number to another."""
    steps = np.linspace(0, 1, epochs)
    return [
        {
            "stage": stage,
            "epoch": e,
            "acc": accs[0] + t * (accs[1] - accs[0]),
            "asr": asrs[0] + t * (asrs[1] - asrs[0]),
            "clean_size": N,
            "clean_poisoned": poison,
            "hard_clean": 20 + e,
        }
        for e, t in enumerate(steps)
    ]
