"""One cell at work: data, poison, clean samples, training, evaluation, result."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from defenselib import data as datasets
from defenselib.attacks import Attack, poison
from defenselib.data.host.images import place
from defenselib.data.types import Dataset, PoisonedDataset
from defenselib.defenses.asd import ASD
from defenselib.defenses.base import Defense, Fitted
from defenselib.errors import DataError, InvalidValueError
from defenselib.experiments import clean, provenance
from defenselib.experiments.code_digest import code_of
from defenselib.experiments.measure import figures, perturbed
from defenselib.experiments.measure.looks import looks
from defenselib.experiments.measure.observer import Observer
from defenselib.experiments.result import Result
from defenselib.experiments.shared import SharedStages
from defenselib.experiments.spec import Resolved
from defenselib.experiments.stops import in_shared_stage
from defenselib.experiments.store import Store
from defenselib.learning.context import Context, Stopped
from defenselib.learning.evaluation import Evaluation, evaluate
from defenselib.models import Classifier, build_model
from defenselib.seeds import spawn

T = TypeVar("T")


def with_oracle(defense: ASD, is_poisoned: Tensor) -> ASD:
    """A diagnostic that is no defense: the same ASD, ranking every poisoned sample (bool (N,)) behind every clean one.

    The pools have ASD's sizes and schedule. What remains between this run and the undefended model is the price of the
    semi-supervised schedule, not of the split.
    """

    class OracleASD(ASD):
        def admissible(self, scores: Tensor) -> Tensor:
            return scores.masked_fill(is_poisoned.to(scores.device), float("inf"))

    return OracleASD(**{field.name: getattr(defense, field.name) for field in dataclasses.fields(defense)})


@dataclass(frozen=True)
class Cell:
    """One cell at work, and all that its steps share."""

    resolved: Resolved
    store: Store
    device: torch.device
    progress: bool
    checkpoint_every: float

    @cached_property
    def _shared(self) -> SharedStages:
        return SharedStages(self.store, self.resolved, "defense", self.device)

    def compute(self, upstream: Fitted | None) -> Result:
        resolved = self.resolved
        interrupted = self.store.checkpoints(resolved.hash).exists()
        provenance.start_memory(self.device)
        cuda = [self.device] if self.device.type == "cuda" else []
        # Layers such as dropout draw from torch's global stream; it is ours for the run, and put back.
        with torch.random.fork_rng(devices=cuda):
            torch.manual_seed(spawn(resolved.seed, "global"))
            dataset = self.load()
            stages: dict[str, float] = {}
            attack = _timed(stages, "prepare", lambda: self.attack(dataset))
            poisoned = _timed(stages, "poison", lambda: self.poison(dataset, attack))
            computed = time.process_time()
            probe, watch = perturbed.history_of(poisoned, resolved), figures.watch_of(poisoned, resolved)
            observer = Observer(poisoned, resolved.history_test, resolved.precision == "bf16", probe, watch)
            self._shared.observer = observer
            context, clean_given = self._context(dataset, poisoned, upstream, observer)
            if upstream is not None and not resolved.defense.post_training:
                # Nothing is poisoned, so nothing has to be trained that is not trained already: these cells are there
                # for the trigger itself.
                fitted = upstream
                fitted.metrics, shown = _timed(stages, "look", lambda: looks(dataset, attack, resolved.target))
            else:
                shown = {}
                fitted = self._fit(poisoned, context, stages)
            seen = _timed(stages, "evaluate", lambda: self._evaluate(fitted, poisoned))
        result = self._result(dataset, poisoned, fitted, seen, observer, stages, clean_given)
        if not interrupted:
            spent = time.process_time() - computed + self._shared.cpu_seconds
            result = replace(result, cpu_seconds=round(spent, 3))
        self.store.save_model(resolved.hash, fitted.model.state_dict())
        shown |= perturbed.arrays_of(fitted, poisoned, resolved) | _confusions(seen)
        result = self.store.put(result, observer.arrays() | observer.arrays_of(fitted) | shown)
        shutil.rmtree(self.store.checkpoints(resolved.hash), ignore_errors=True)
        return result

    def load(self) -> Dataset:
        """The clean data. Raises DataError where it is not the copy that the experiment names."""
        resolved = self.resolved
        dataset = datasets.load_dataset(
            resolved.location, limit=resolved.limit, seed=resolved.subset_seed, holdout=resolved.holdout
        )
        found = datasets.source_of(dataset)
        if found != resolved.source:
            raise DataError(
                f"the {resolved.dataset!r} at hand is {found!r}, the experiment asks for {resolved.source!r}"
                f"{'' if resolved.source in datasets.digests else ', of which data/digests.json has no digest'}; get "
                f"that copy, or ask for this one with source={found!r} (--source {found}; its results are kept apart)"
            )
        return place(dataset, self.device)

    def attack(self, dataset: Dataset) -> Attack:
        """The attack, ready to use; what it trains first comes from the store if it is there."""
        resolved = self.resolved
        # A stream family of its own: a surrogate must share neither initialisation nor order with the victim.
        shared = SharedStages(self.store, resolved, "attack", self.device)
        context = self._base_context(dataset, "attack", seed=spawn(resolved.seed, "attack"), cache=shared)
        return resolved.attack.prepare(dataset.train, resolved.target, context)

    def poison(self, dataset: Dataset, attack: Attack) -> PoisonedDataset:
        """What the attacker makes of the data."""
        resolved = self.resolved
        return poison(
            dataset, attack, resolved.rate, resolved.target, spawn(resolved.seed, "poison"), count=resolved.count
        )

    def _context(
        self, dataset: Dataset, poisoned: PoisonedDataset, upstream: Fitted | None, observer: Observer
    ) -> tuple[Context, int]:
        request = self.resolved.defense.clean_request()
        given, index = None, None
        if request is not None:
            other = None
            if request.source is not None:
                other = datasets.load_dataset(request.source).train.to(self.device)
            given, index = clean.serve(request, poisoned, self.resolved.seed, other)
        context = self._base_context(
            dataset,
            "defense",
            seed=self.resolved.seed,
            clean=given,
            clean_index=index,
            upstream=upstream,
            observer=observer,
            stop_after=self.resolved.stop_after,
            # From the store a stage comes whole, and nothing would stop in it.
            cache=None if in_shared_stage(self.resolved.stop_after) else self._shared,
        )
        return context, 0 if given is None else len(given)

    def _base_context(self, dataset: Dataset, role: str, **more: Any) -> Context:
        resolved = self.resolved
        # A checkpoint of other code or another kind of device would not go on as if nothing had happened.
        made_by = f"{self.device.type}-{code_of(resolved.describe())}"
        return Context(
            model_factory=model_factory(resolved, dataset.num_classes, dataset.train.image_size),
            device=self.device,
            precision=resolved.precision,
            flip=datasets.info(resolved.location).flip,
            checkpoints=self.store.checkpoints(resolved.hash) / made_by / role,
            checkpoint_every=self.checkpoint_every,
            progress=self.progress,
            **more,
        )

    def _fit(self, poisoned: PoisonedDataset, context: Context, stages: dict[str, float]) -> Fitted:
        defense, train = self._defense(poisoned), poisoned.train.channels_last()
        started = time.monotonic()
        stopped = False
        try:
            fitted = defense.fit(train, context.build_model, context)
            fitted.arrays |= figures.arrays_of(defense, train, context)
        except Stopped as stop:
            if stop.model is None:
                raise InvalidValueError(
                    f"stop_after {self.resolved.stop_after!r}: that stage trains no model"
                ) from stop
            fitted, stopped = Fitted(stop.model), True
        elapsed = time.monotonic() - started
        if self.resolved.stop_after is not None and not stopped:
            raise InvalidValueError(
                f"stop_after {self.resolved.stop_after!r} was never reached; "
                f"{defense.name!r} has the stages {', '.join(context.seconds) or 'none'}"
            )
        stages |= context.seconds
        # A stage that another cell computed costs this defense as much; a resumed run has its seconds already.
        stages |= {f"{name} (shared)": cost for name, cost in self._shared.seconds.items() if name not in stages}
        # What the defense did outside its epochs; after a resumed run the epochs took longer than this process.
        stages["rest"] = max(0.0, elapsed - sum(context.seconds.values()))
        return fitted

    def _defense(self, poisoned: PoisonedDataset) -> Defense:
        if self.resolved.diagnostic is None:
            return self.resolved.defense
        assert isinstance(self.resolved.defense, ASD)
        return with_oracle(self.resolved.defense, poisoned.is_poisoned)

    def _evaluate(self, fitted: Fitted, poisoned: PoisonedDataset) -> Evaluation:
        robust = perturbed.pgd10(self.resolved.seed, self.device) if "ra" in self.resolved.measure else None
        return evaluate(fitted.model, poisoned, robust, bf16=self.resolved.precision == "bf16")

    def _result(
        self,
        dataset: Dataset,
        poisoned: PoisonedDataset,
        fitted: Fitted,
        seen: Evaluation,
        observer: Observer,
        stages: dict[str, float],
        clean_given: int,
    ) -> Result:
        resolved = self.resolved
        stages = {name: round(value, 3) for name, value in stages.items()}
        return Result(
            experiment=resolved.describe(),
            spec=resolved.spec(),
            hash=resolved.hash,
            profile=resolved.profile,
            acc=seen.acc,
            asr=seen.asr,
            per_class=seen.per_class,
            ra=seen.ra,
            history=observer.history,
            seconds=round(sum(stages.values()), 3),
            stages=stages,
            observer_seconds=round(observer.seconds, 3),
            poisoned_count=int(poisoned.is_poisoned.sum()),
            cross_count=int(poisoned.is_cross.sum()),
            clean_given=clean_given,
            suspects_count=None if fitted.suspects is None else len(fitted.suspects),
            metrics=observer.metrics_of(fitted)
            | observer.metrics
            | perturbed.recovered(fitted, poisoned, resolved)
            | perturbed.metrics_of(fitted, poisoned, resolved)
            | ({} if poisoned.target is None else {"false_target": seen.false_target(poisoned.target)}),
            data_digest=dataset.digest,
            code=code_of(resolved.describe()),
            versions=provenance.versions(),
            machine=provenance.machine(self.device),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            peak_memory_mb=provenance.peak_memory_mb(self.device),
            stem=resolved.stem,
        )


def _confusions(seen: Evaluation) -> dict[str, NDArray[Any]]:
    """The confusion matrices as arrays `confusion/clean` and `confusion/triggered`, int32 (C, C)."""
    found = {"clean": seen.confusion, "triggered": seen.triggered_confusion}
    return {f"confusion/{name}": value.int().numpy() for name, value in found.items() if value is not None}


def model_factory(resolved: Resolved, num_classes: int, image_size: int) -> Callable[[], Classifier]:
    """Makes the freshly initialised model of a cell."""
    info = datasets.info(resolved.location)
    return partial(
        build_model, resolved.model, num_classes, image_size, width=resolved.width, mean=info.mean, std=info.std
    )


def _timed(stages: dict[str, float], name: str, work: Callable[[], T]) -> T:
    started = time.monotonic()
    result = work()
    stages[name] = time.monotonic() - started
    return result
