"""Stages that several cells share: which, by name, before they are computed; computed once, told apart by all that can
decide them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from defenselib.attacks import Attack
from defenselib.defenses import Defense
from defenselib.defenses.aabl import AABL, DST_PARTS
from defenselib.defenses.dst import DST
from defenselib.experiments.code_digest import stage_digest
from defenselib.experiments.measure.observer import Observer
from defenselib.experiments.spec import Resolved, file_name, hash_of
from defenselib.experiments.store import Store
from defenselib.tensor_files import TensorDict

SECONDS, HISTORY = "seconds of this stage", "history of this stage"  # kept beside its tensors
ALWAYS = ("dataset", "source", "limit", "subset_seed", "holdout", "model", "width", "precision", "seed")
OF_A_DEFENSE = ("attack", "rate", "target", "count")
# By method, the stages that it takes from the store's cache where they are there (first words of their keys).
OF_DEFENSES: Mapping[str, tuple[str, ...]] = {
    "dbd": ("simclr",),
    "dbd-meta-split": ("simclr",),
    "dbr": ("distinguish",),
    "mcr": ("mcr-curve",),
    "nad": ("nad-teacher",),
    "simclr-baseline": ("simclr",),
}
OF_ATTACKS: Mapping[str, tuple[str, ...]] = {
    "adaptive": ("surrogate", "adaptive"),
    "clb": ("surrogate", "clb"),
    "dynamic": ("iab-mask", "iab-joint", "dynamic"),
    "iab": ("iab-mask", "iab-joint", "iab"),
    "narcissus": ("surrogate", "narcissus"),
    "ssba": ("ssba",),
}
# By the setting that decides it: how D-ST trains its extractor.
OF_EXTRACTORS: Mapping[str, tuple[str, ...]] = {"ss-ctl": ("ss-ctl",), "ctl": ("simclr",)}


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


def stages_of(method: Attack | Defense) -> tuple[str, ...]:
    """The first words of the keys by which an attack's preparation or a defense asks for shared stages."""
    match method:
        case Attack():
            return OF_ATTACKS.get(method.name, ())
        case AABL():
            return ("distinguish",) if method.split in DST_PARTS else ("naive",)
        case DST():
            return ("distinguish", *OF_EXTRACTORS.get(method.extractor, ()))
    return OF_DEFENSES.get(method.name, ())


def shared_stages(resolved: Resolved) -> tuple[str, ...]:
    """Names of a cell's shared stages, `simclr-6f0e…`, whatever its seed. Two cells of one seed and the same name share
    the stage if their methods set it alike: what the method itself says of a stage is known only when it runs."""
    spec = {name: value for name, value in resolved.spec().items() if name != "seed"}
    named = ((stages_of(resolved.attack), ALWAYS), (stages_of(resolved.defense), (*ALWAYS, *OF_A_DEFENSE)))
    found = []
    for stages, names in named:
        scope = hash_of({name: spec[name] for name in names if name in spec})[:8] if stages else ""
        found += [f"{stage}-{scope}" for stage in stages]
    return tuple(found)
