"""`run`: from an Experiment to its Result, from the store when it is there."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import torch

from defenselib import data as datasets
from defenselib.attacks import Attack
from defenselib.cpu.devices import chosen_device, keep_memory
from defenselib.data.types import Dataset, PoisonedDataset
from defenselib.defenses.base import Fitted
from defenselib.errors import InvalidValueError, check_range
from defenselib.experiments import journal
from defenselib.experiments.cell import Cell, model_factory
from defenselib.experiments.experiment import Experiment, Resolved
from defenselib.experiments.result import Result
from defenselib.experiments.store import Store, reader

CHECKPOINT_EVERY = 60.0


def run(
    experiment: Experiment,
    store: Store | str | Path | None = None,
    device: torch.device | str | None = None,
    progress: bool = True,
    checkpoint_every: float | None = None,
    wait: bool = True,
    weights: bool = False,
) -> Result:
    """The result of an experiment: from the store if it is there, else computed and written.

    device: None takes a GPU where there is one. checkpoint_every: seconds between two savings of an unfinished run
    (None: DEFENSELIB_CHECKPOINT_EVERY, else 60; 0: after every epoch). A killed run goes on from the last one, with
    the same final numbers. wait: wait for another process that is at work on the same cell, or on the model that it
    starts from; else BusyError. weights: compute it also where its result is there without the weights of its model, as
    committed results are. What has to be computed changes this process: glibc's allocator keeps freed memory from then
    on (`cpu.devices.keep_memory`).
    """
    chosen, resolved = chosen_device(device), experiment.resolve()
    interval = _interval() if checkpoint_every is None else _seconds("checkpoint_every", checkpoint_every)
    store = reader(store)
    found = _found(store, resolved, weights)
    if found is not None:
        journal.note("store", resolved.stem)
        return found
    store.reserve(resolved)
    keep_memory()
    cell = Cell(resolved, store, chosen, progress, interval)
    upstream = _upstream(cell, experiment, wait)
    with store.lock(resolved.hash, wait):
        found = _found(store, resolved, weights)
        result = found or cell.compute(upstream)
    journal.note("trained" if found is None else "store", resolved.stem)
    return result


def attacked(
    experiment: Experiment,
    store: Store | str | Path | None = None,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> tuple[Dataset, Attack, PoisonedDataset]:
    """What an experiment trains on, without training it: the clean data, the attack ready to use, the poisoned data.

    What the attack trains first comes from the store or is trained now and kept there.
    """
    cell = Cell(experiment.resolve(), reader(store), chosen_device(device), progress, _interval())
    with cell.store.lock(cell.resolved.hash):
        dataset = cell.load()
        attack = cell.attack(dataset)
    return dataset, attack, cell.poison(dataset, attack)


def _found(store: Store, resolved: Resolved, weights: bool) -> Result | None:
    """The result, if it is there, and where it is asked for the model with it."""
    found = store.get(resolved)
    return None if weights and found is not None and store.load_model(resolved.hash) is None else found


def _interval() -> float:
    text = os.environ.get("DEFENSELIB_CHECKPOINT_EVERY") or str(CHECKPOINT_EVERY)
    try:
        return _seconds("DEFENSELIB_CHECKPOINT_EVERY", float(text))
    except ValueError as error:
        raise InvalidValueError(
            f"DEFENSELIB_CHECKPOINT_EVERY is {text!r}, it must be a number of seconds from 0 on"
        ) from error


def _seconds(what: str, value: float) -> float:
    return check_range(f"{what} (seconds)", value, 0.0, float("inf"))


def _upstream(cell: Cell, experiment: Experiment, wait: bool) -> Fitted | None:
    """The model that the experiment starts from (see `Experiment.upstream`), from the store or trained now."""
    first = experiment.upstream()
    if first is None or cell.resolved.upstream is None:
        return None
    below = replace(cell, resolved=cell.resolved.upstream)
    run(first, cell.store, cell.device, cell.progress, cell.checkpoint_every, wait, weights=True)
    state = cell.store.load_model(below.resolved.hash)
    assert state is not None
    full = datasets.load_dataset(below.resolved.location)
    model = model_factory(below.resolved, full.num_classes, full.train.image_size)()
    model.load_state_dict(state)
    return Fitted(model.to(cell.device, memory_format=torch.channels_last))  # type: ignore[call-overload]
