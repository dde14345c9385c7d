"""The one object beside the data that a method gets: device, random streams, models, resume, observation."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from defenselib.cpu.devices import autocast
from defenselib.data.types import ImageSet
from defenselib.errors import InvalidValueError, check_choice
from defenselib.learning import checkpoints
from defenselib.models import Classifier
from defenselib.seeds import generator as make_generator
from defenselib.seeds import spawn

PRECISIONS = ("bf16", "fp32")
TensorDict = dict[str, Tensor]
BuildModel = Callable[..., Classifier]


@dataclass
class Fitted:
    """What a defense returns: the model, scalars, arrays for figures, indices of suspicious samples."""

    model: torch.nn.Module
    metrics: dict[str, float] = field(default_factory=dict)
    arrays: TensorDict = field(default_factory=dict)
    suspects: Tensor | None = None


class Observer(Protocol):
    """Receives what a method reports; may know the ground truth, and changes nothing in the method."""

    def __call__(self, event: str, **what: Any) -> None: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Stopped(Exception):
    """Raised by `Context.epochs` where the experiment asked to stop (`stop_after`)."""

    def __init__(self, model: torch.nn.Module | None) -> None:
        super().__init__("stopped as asked")
        self.model = model


class Context:
    """Everything a defense or an attack's preparation may use beside the images.

    model_factory: makes a freshly initialised model; called under the role's own random stream.
    flip: whether a horizontal flip keeps the label (a property of the data set: not on traffic signs).
    clean, clean_index: granted clean samples, and where they stand in the training set.
    upstream: the undefended model that a post-training defense repairs.
    checkpoints: folder for resume; None keeps nothing. checkpoint_every: seconds between two savings.
    stop_after: "stage" or "stage:epochs".
    cache: keeps the results of shared stages (see `cached`).
    """

    def __init__(
        self,
        *,
        model_factory: Callable[[], Classifier],
        seed: int = 0,
        device: torch.device | str = "cpu",
        precision: str = "fp32",
        flip: bool = True,
        clean: ImageSet | None = None,
        clean_index: Tensor | None = None,
        upstream: Fitted | None = None,
        observer: Observer | None = None,
        checkpoints: Path | None = None,
        checkpoint_every: float = 60.0,
        stop_after: str | None = None,
        cache: Callable[[str, Callable[[], TensorDict]], TensorDict] | None = None,
        progress: bool = False,
    ) -> None:
        self.device = torch.device(device)
        self.precision = check_choice("precision", precision, PRECISIONS)
        self.flip = flip
        self.clean = clean
        self.clean_index = clean_index
        self.upstream = upstream
        self.seconds: dict[str, float] = {}
        self._seed = seed
        self._model_factory = model_factory
        self._observer = observer
        self._generators: dict[str, torch.Generator] = {}
        self._checkpoints = checkpoints
        self._checkpoint_every = checkpoint_every
        self._last_save = time.monotonic()
        self._stop_stage, self._stop_epoch = _parse_stop(stop_after)
        self._cache = cache
        self._progress = progress

    def build_model(self, role: str = "main") -> Classifier:
        """A new model on the device, initialised from the stream of `role` alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(spawn(self._seed, "init", role))
            model = self._model_factory()
        return model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def generator(self, name: str) -> torch.Generator:
        """The random stream called `name`, on the device; the same object at every call."""
        if name not in self._generators:
            self._generators[name] = make_generator(self._seed, name, device=self.device)
        return self._generators[name]

    def streams(self) -> list[torch.Generator]:
        """All random streams that were asked for until now."""
        return list(self._generators.values())

    def autocast(self) -> AbstractContextManager[Any]:
        """bf16 autocast where the experiment asks for it and the device has it; weights and losses stay float32."""
        return autocast(self.device, self.precision == "bf16")

    def observe(self, event: str, **what: Any) -> None:
        """Report to whoever watches: "epoch", "split", "scores", "features", "kept", "target" (what each takes: see
        `experiments.measure.observer`). Draws nothing, changes nothing."""
        if self._observer is not None:
            self._observer(event, **what)

    def cached(self, key: str, make: Callable[[], TensorDict]) -> TensorDict:
        """The tensors of a shared stage called `key`: from the store if it has them, else made and kept.

        The random streams stand afterwards as they did before, so that what follows does not depend on whether the
        stage was in the store.
        """
        before = {name: item.get_state() for name, item in self._generators.items()}
        tensors = make() if self._cache is None else self._cache(key, make)
        for name in list(self._generators):
            if name in before:
                self._generators[name].set_state(before[name])
            else:
                del self._generators[name]
        return tensors

    def epochs(self, stage: str, n: int, **state: Any) -> Iterator[int]:
        """Yield the epochs of `stage` that are still to do.

        `state` is everything that the stage changes: modules, optimizers, schedulers (anything with `state_dict`),
        tensors, dicts and lists, which are restored in place. Random streams, what the observer saw and the
        seconds are saved with it, so that a killed run goes on as if nothing had happened.
        """
        done = self._restore(stage, state)
        if done and self._stop_stage == stage and done == self._stop_epoch:
            raise Stopped(state.get("model"))
        bar = tqdm(total=n, initial=done, desc=stage, unit="epoch", disable=not self._progress)
        for epoch in range(done, n):
            started = time.monotonic()
            yield epoch
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - started
            bar.update()
            stop = self._stop_stage == stage and self._stop_epoch == epoch + 1
            if epoch + 1 == n or stop or time.monotonic() - self._last_save >= self._checkpoint_every:
                self._save(stage, epoch + 1, state)
            if stop:
                bar.close()
                raise Stopped(state.get("model"))
        bar.close()
        if self._stop_stage == stage and self._stop_epoch in (None, n):
            raise Stopped(state.get("model"))

    def _path(self, stage: str) -> Path | None:
        if self._checkpoints is None:
            return None
        safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in stage)
        return self._checkpoints / f"{safe}-{hashlib.sha256(stage.encode()).hexdigest()[:6]}.safetensors"

    def _save(self, stage: str, done: int, state: dict[str, Any]) -> None:
        path = self._path(stage)
        self._last_save = time.monotonic()
        if path is not None:
            checkpoints.save(path, self._content(done, state))

    def _restore(self, stage: str, state: dict[str, Any]) -> int:
        path = self._path(stage)
        if path is None:
            return 0
        known = set(self._generators)
        done = checkpoints.resume(
            path, self.device, partial(self._put_back, state=state), partial(self._content, 0, state)
        )
        if not done:  # streams that only a refused checkpoint named
            self._generators = {name: item for name, item in self._generators.items() if name in known}
        return done

    def _content(self, done: int, state: dict[str, Any]) -> dict[str, Any]:
        """All that a checkpoint holds."""
        return {
            "done": done,
            "state": {name: checkpoints.dump(item) for name, item in state.items()},
            "generators": {name: item.get_state() for name, item in self._generators.items()},
            "global": _global_streams(self.device),
            "observer": None if self._observer is None else self._observer.state_dict(),
            "seconds": self.seconds,
        }

    def _put_back(self, content: dict[str, Any], state: dict[str, Any]) -> int:
        """Make everything as `content` says; the number of epochs done."""
        if set(content["state"]) != set(state):
            raise InvalidValueError(f"it holds {', '.join(content['state'])}, this code saves {', '.join(state)}")
        for name, item in state.items():
            checkpoints.put_back(item, content["state"][name])
        for name, saved in content["generators"].items():
            self.generator(name).set_state(saved.cpu())
        _set_global_streams(self.device, content["global"])
        if self._observer is not None and content["observer"] is not None:
            self._observer.load_state_dict(content["observer"])
        self.seconds = dict(content["seconds"])
        return int(content["done"])


def _parse_stop(stop_after: str | None) -> tuple[str | None, int | None]:
    if stop_after is None:
        return None, None
    stage, _, epoch = stop_after.partition(":")
    if not stage or (epoch and not epoch.isdigit()):
        raise InvalidValueError(f"stop_after is {stop_after!r}, it must be 'stage' or 'stage:epochs'")
    return stage, int(epoch) if epoch else None


def _global_streams(device: torch.device) -> list[Tensor]:
    """States of torch's own generators, from which layers such as dropout draw."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def _set_global_streams(device: torch.device, states: list[Tensor]) -> None:
    torch.set_rng_state(states[0].cpu())
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1].cpu(), device)
