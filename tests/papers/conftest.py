"""A store filled by hand: results with chosen numbers, as if they had been trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from defenselib.experiments import Experiment, Result, Store

from .made import made

N = 200
STAGES = {"stage1_end": 2, "stage2_end": 4, "epochs": 6}


def synthetic_arrays(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Per-sample arrays as an ASD run leaves them: ten poisoned samples, hard clean ones that look like them at T2."""
    poisoned = np.zeros(N, dtype=bool)
    poisoned[:10] = True
    loss = np.where(poisoned, 8.0, rng.uniform(0.0, 1.0, N))
    loss[10:40] = rng.uniform(7.0, 9.0, 30)
    virtual = np.where(poisoned, 0.1, loss)
    final = np.where(poisoned, 9.0, loss / 10)
    return {
        "is_poisoned": np.packbits(poisoned),
        "scores/loss/4": loss.astype(np.float16),
        "scores/virtual_loss/4": virtual.astype(np.float16),
        "scores/reduction/4": (loss - virtual).astype(np.float16),
        "scores/final_loss/6": final.astype(np.float16),
    }


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def put(store: Store) -> Callable[..., Result]:
    """put(acc, asr, **fields of Experiment): a finished result of that experiment in the store; per_class: as given."""

    def make(acc: float, asr: float, per_class: tuple[float, ...] = (), **fields: Any) -> Result:
        resolved = Experiment(**{"paper": "asd", "profile": "laptop", "dataset": "cifar10", **fields}).resolve()
        described = resolved.describe()
        arrays = {}
        history = [{"stage": "train", "epoch": e, "acc": acc - 5 + e, "asr": asr} for e in range(6)]
        if resolved.defense.name == "asd":
            described["defense_args"] |= STAGES
            arrays = synthetic_arrays(np.random.default_rng(0))
            sizes = {"clean_size": 100, "clean_poisoned": 2, "clean_purity": 0.98, "hard_clean": 3}
            history = [{**row, "stage": "asd", **sizes} for row in history]
        more = {"per_class": per_class} if per_class else {}
        return store.put(made(resolved, acc, asr, experiment=described, history=history, **more), arrays)

    return make
