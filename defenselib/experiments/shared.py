"""Stages that several cells share: computed once, told apart by all that can decide them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import torch

from defenselib.experiments.code_digest import stage_digest
from defenselib.experiments.measure.observer import Observer
from defenselib.experiments.spec import Resolved, file_name, hash_of
from defenselib.experiments.store import Store
from defenselib.tensor_files import TensorDict

SECONDS, HISTORY = "seconds of this stage", "history of this stage"  # kept beside its tensors
ALWAYS = ("dataset", "source", "limit", "subset_seed", "holdout", "model", "width", "precision", "seed")
OF_A_DEFENSE = ("attack", "rate", "target", "count")


class SharedStages:
    """The `cache` of a Context: `stages(key, make)` gives tensors from the store, or makes and keeps them.

    What decides a stage: the data, the model, the seed, for a defense also the attack; the code that the function that
    makes it reaches, so that all methods that use it share it; and `key`, which holds the method's own
    hyper-parameters.
    What `observer` saw of a stage's epochs is kept with it, so that a result's history does not depend on who made the
    stage, nor on where a run was killed; a cell whose observer looks further than usual makes its own.
    `seconds`: what the stages cost that were only loaded, by the first word of their key; `cpu_seconds`: all of them.
    """

    def __init__(self, store: Store, resolved: Resolved, role: str, device: torch.device) -> None:
        self.observer: Observer | None = None
        self.seconds: dict[str, float] = {}
        self.cpu_seconds = 0.0
        self._store = store
        self._device = device
        spec = resolved.spec()
        names = (*ALWAYS, *OF_A_DEFENSE) if role == "defense" else ALWAYS
        self._model = resolved.model
        self._scope = {name: spec[name] for name in names if name in spec}
        if role == "defense" and "losses" in resolved.measure:
            self._scope["measure"] = "losses"

    def __call__(self, key: str, make: Callable[[], TensorDict]) -> TensorDict:
        scope = self._scope | {"code": stage_digest(make, self._model), "key": key}
        made = False

        def timed() -> TensorDict:
            nonlocal made
            made, started, computed = True, time.monotonic(), time.process_time()
            before = len(self._history())
            tensors = make()
            took = torch.tensor([time.monotonic() - started, time.process_time() - computed])
            return tensors | {SECONDS: took, HISTORY: _as_tensor(self._history()[before:])}

        tensors = self._store.cached(f"{file_name(key)[:40]}-{hash_of(scope)}", timed)
        seconds, computed = tensors.pop(SECONDS).tolist()
        seen = tensors.pop(HISTORY, None)  # which earlier versions did not keep
        if not made:
            self._history().extend([] if seen is None else json.loads(bytes(seen.tolist())))
            self.seconds[key.partition(" ")[0]] = seconds
            self.cpu_seconds += computed
        return {name: value.to(self._device) for name, value in tensors.items()}

    def _history(self) -> list[dict[str, Any]]:
        # Not once and for all: a checkpoint that is restored gives the observer another list.
        return [] if self.observer is None else self.observer.history


def _as_tensor(rows: list[dict[str, Any]]) -> torch.Tensor:
    return torch.tensor(list(json.dumps(rows).encode()), dtype=torch.uint8)
