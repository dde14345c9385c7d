"""ASD's results made by hand, for the tests of its exhibits."""

from __future__ import annotations

import numpy as np
import pandas as pd

from defenselib import papers

from .made import made

N = 100


def exhibit(key):
    return papers.get("asd").exhibit(key)


def putter(store):
    """lay(cell, acc, asr): a finished result of that cell in the store."""

    def put(cell, acc=80.0, asr=1.0, profile="gpu", seed=0, history=(), arrays=None, **fields):
        resolved = cell.experiment("asd", profile, seed).resolve()
        result = made(resolved, acc, asr, history=list(history), **fields)
        return store.put(result, arrays or {})

    return put


def outcomes(key, found):
    return exhibit(key).claims(found).set_index("claim")["outcome"].to_dict()


def change(found, value, **where):
    mask = pd.Series(True, found.index)
    for column, name in where.items():
        mask &= found[column] == name
    assert mask.any()
    return found.assign(reproduced=found["reproduced"].mask(mask, value))


def curve(stage, accs, asrs, poison=0.0, epochs=24):
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
