"""BSD's results made by hand, for the tests of its exhibits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from defenselib.experiments import Result, Store
from defenselib.papers.kit import claims, frame, printed
from defenselib.papers.kit.exhibit import Exhibit
from defenselib.papers.kit.request import Cell

from ..made import made

N, POISONED = 100, 10
ENDS = {"stage1_end": 4, "stage2_end": 8, "epochs": 10}


def arrays() -> dict[str, np.ndarray]:
    """Per-sample arrays as a BSD run leaves them; the first ten of a hundred samples are poisoned, twenty are labelled
    as the target."""
    poisoned = np.arange(N) < POISONED
    distance = np.where(np.arange(N) < 20, np.where(poisoned, 1.0, 3.0), np.nan)
    spread = np.linspace(0, 0.5, N)
    found = {
        "altruistic_loss/0": np.where(poisoned, 0.1, 2.0) + spread,
        "altruistic_loss/10": np.where(poisoned, 0.1, 2.0) + spread,
        "loss/10": np.where(poisoned, 9.0, 0.2) + spread,
    }
    found |= {f"distance_{rule}/{epoch}": distance for rule in ("min", "max", "mean") for epoch in (1, 2, 4)}
    return {f"scores/{key}": value.astype(np.float16) for key, value in found.items()} | {
        "is_poisoned": np.packbits(poisoned)
    }


def putter(store: Store) -> Callable[..., Result]:
    """put(acc, asr, **fields of Experiment): a finished result of BSD's paper in the store."""

    def make(acc: float, asr: float, times: dict[str, float] | None = None, **more: Any) -> Result:
        given = {"profile": "laptop", "dataset": "cifar10", "attack": "badnets", "defense": "bsd", **more}
        attack, defense, metrics = given.pop("attack"), given.pop("defense"), given.pop("metrics", {})
        history, machine = given.pop("history", None), given.pop("machine", {"cores": 2, "gpu": None})
        profile, seed = given.pop("profile"), given.pop("seed", 0)
        cell = Cell(given.pop("dataset"), attack, defense, given, times or {})
        resolved = cell.experiment("bsd", profile, seed).resolve()
        described = resolved.describe()
        described["defense_args"] |= ENDS if defense == "bsd" else {}
        pool = {"clean_size": 50, "clean_poisoned": 2, "rarest_class": 4}
        usual = [{"stage": defense, "epoch": e, "acc": acc, "asr": asr, **pool} for e in range(10)]
        votes = [{"stage": "warmup", "epoch": e, "vote": v, "target": 3} for e, v in enumerate((1, 3, 3))]
        result = made(
            resolved,
            acc,
            asr,
            experiment=described,
            history=[*votes, *usual] if history is None else history,
            seconds=3600.0,
            poisoned_count=POISONED,
            metrics=metrics,
            machine=machine,
        )
        return store.put(result, arrays() if defense == "bsd" else {})

    return make


def row(found: pd.DataFrame, **where: object) -> pd.Series:
    for column, value in where.items():
        found = found[found[column].isna()] if value is None else found[found[column].astype(str) == str(value)]
    assert len(found) == 1, where
    return found.iloc[0]


def as_printed(key: str, profile: str = "paper") -> pd.DataFrame:
    rows = frame.unanswered(printed.table("bsd", key), profile, "")
    return claims.as_printed(rows).assign(profile=profile)


def with_numbers(found: pd.DataFrame, numbers: pd.Series) -> pd.DataFrame:
    """The frame with other numbers, each as that of one seed."""
    seeds = [{} if number != number else {0: number} for number in numbers]
    return found.assign(reproduced=numbers, by_seed=seeds)


def change(found: pd.DataFrame, value: float, **where: Any) -> pd.DataFrame:
    mask = pd.Series(True, found.index)
    for column, name in where.items():
        mask &= found[column] == name
    assert mask.any()
    return with_numbers(found, found["reproduced"].mask(mask, value))


def contradictions(exhibit: Exhibit, found: pd.DataFrame) -> set[str]:
    """The claims that some change of the numbers of one group (a defense, a metric, then a setting too) makes fail: 60
    more, 60 less, all of them 50."""
    apart = [name for name in frame.axes(found) if name not in ("epoch", "low", "high")]
    failed: set[str] = set()
    for by in (["defense", "metric"], ["defense", "metric", *apart]):
        for _, rows in found.groupby(by, dropna=False, sort=False):
            now = found.loc[rows.index, "reproduced"]
            for moved in (now - 60, now + 60, now * 0 + 50):
                changed = with_numbers(found, found["reproduced"].mask(found.index.isin(rows.index), moved))
                left = [claim for claim in exhibit.checks if claim.key not in failed]
                failed |= {claim.key for claim in left if claim.judge(changed)["outcome"] == "fails"}
    return failed
