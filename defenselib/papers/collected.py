"""The cells of a plan as they are collected: each once, with what waits for it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from defenselib import data
from defenselib.data import load
from defenselib.errors import DataError, DefenseLibError
from defenselib.experiments.experiment import Experiment, Resolved, as_dict, hash_of
from defenselib.experiments.result import Result
from defenselib.experiments.shared import shared_stages
from defenselib.experiments.store import Store
from defenselib.papers.costs import Cost, Costs
from defenselib.papers.kit.cells import Choice, Need, needs, spoken_of
from defenselib.papers.kit.claims import Claim
from defenselib.papers.kit.exhibit import Exhibit
from defenselib.papers.kit.gates import undecided
from defenselib.papers.kit.grid import Grid, mode_of
from defenselib.papers.kit.request import Cell
from defenselib.papers.planned import Planned

ABSENT = "absent"  # in place of the digest of a copy that is not at hand


@dataclass(frozen=True)
class _Group:
    """A cell at all seeds: what is the same for each of them."""

    experiment: Experiment
    resolved: Resolved
    fields: Mapping[str, Any]
    spec: Mapping[str, Any]
    stages: tuple[str, ...]
    cost: Cost
    upstream: _Group | None
    hashes: dict[int, str] = field(default_factory=dict)

    def hash(self, seed: int) -> str:
        """The hash at a seed."""
        if seed not in self.hashes:
            self.hashes[seed] = self._hash(seed)
        return self.hashes[seed]

    def _hash(self, seed: int) -> str:
        # Resolving the same again for every seed would take most of the time of a plan.
        if "seed" in self.experiment.attack_args:  # an attack states its seed where it is not the experiment's
            return self.experiment.replace(seed=seed).resolve().hash
        below = {} if self.upstream is None else {"upstream": self.upstream.hash(seed)}
        return hash_of({**self.spec, **below, "seed": seed})


@dataclass
class _Entry:
    group: _Group
    seed: int
    stored: bool
    retrain: bool = False
    numbers: float = 0.0
    claims: set[tuple[str, ...]] = field(default_factory=set)
    exhibits: dict[str, None] = field(default_factory=dict)


class Collected:
    """Cells by hash, as the exhibits name them."""

    def __init__(self, store: Store, machine: str) -> None:
        self.left_out: Counter[str] = Counter()
        self.sources = {name: _source(name, store) for name in data.available() if data.info(name).source is None}
        self._rates: dict[str, float] = {}
        self._store, self._costs = store, Costs(self._read(store.results()), machine)
        self._entries: dict[str, _Entry] = {}
        self._groups: dict[tuple[str, str, Cell], _Group | str] = {}
        self._claims: dict[tuple[str, str], list[list[Claim]]] = {}
        self._weights: dict[str, bool] = {}

    def _read(self, results: Iterable[Result]) -> Iterator[Result]:
        """The results one by one, for there may be many; their ASR is all that is kept."""
        for result in results:
            self._rates[result.hash] = result.asr
            yield result

    def add(self, exhibit: Exhibit, grid: Grid) -> None:
        """The cells of an exhibit at one profile, and what they would answer there."""
        profile, label = grid.request.profile, f"{exhibit.paper} {exhibit.key}"
        listed = needs(exhibit, profile)
        waits = [self._waits(need, grid, label) for need in listed]
        for wait in waits:
            for key in wait:
                self._entries[key].numbers += 1 / len(wait)
        if mode_of(profile) == "none" or not any(waits):
            return
        if (exhibit.paper, exhibit.key) not in self._claims:  # whatever the profile, it speaks of the same rows
            self._claims[exhibit.paper, exhibit.key] = spoken_of(exhibit.checks, listed, profile)
        for wait, claims in zip(waits, self._claims[exhibit.paper, exhibit.key], strict=True):
            for key in wait:
                self._entries[key].claims |= {(label, claim.key, profile) for claim in claims}

    def page(self, cells: Iterable[tuple[Grid, Cell]], label: str) -> None:
        """The cells of a page that prints no numbers of a paper."""
        for grid, cell in cells:
            keys, reason = self._cells(grid, cell, False, label)
            if not keys:
                self.left_out[reason] += 1

    def _waits(self, need: Need, grid: Grid, label: str) -> tuple[str, ...]:
        """Hashes of the missing cells that a number waits for; none where it is answered or nothing answers it."""
        found: dict[str, None] = {}
        for choice in need.made_of:
            keys, reason = self._cells(grid, choice[0], False, label)
            # Also one that nobody runs unasked may be there.
            if self._any_there(grid, keys, choice[1:] if not reason else choice):
                continue
            if reason:
                self.left_out[reason] += 1
                return ()
            found |= dict.fromkeys(self._missing(keys[0]))
        partners = [(choice, label) for choice in need.judged_by]
        for gate in need.gated:
            if undecided(self._rate(grid, gate.undefended), gate.printed, gate.keeps_labels):
                partners.append(((gate.clean,), f"{label} (gate)"))
        for choice, said in partners:
            keys, _ = self._cells(grid, choice[0], True, said)
            if keys and not self._any_there(grid, keys, choice[1:]):
                found |= dict.fromkeys(self._missing(keys[0]))
        return tuple(found)

    def _rate(self, grid: Grid, undefended: Choice) -> float:
        """The ASR of an undefended model, mean over its seeds, of the first of its cells that has results; else NaN."""
        for cell in undefended:
            found = [self._rates[key] for key in self._hashes(grid, cell) if key in self._rates]
            if found:
                return fmean(found)
        return math.nan

    def _any_there(self, grid: Grid, keys: Sequence[str], others: Sequence[Cell]) -> bool:
        """Whether some seed has a result, or one of the cells that would do as well."""
        beside = (key for one in others for key in self._hashes(grid, one))
        return any(self._entries[key].stored for key in keys) or any(map(self._has, beside))

    def _cells(self, grid: Grid, cell: Cell, partner: bool, label: str) -> tuple[list[str], str]:
        """Hashes of the cell's seeds, entered; or none, and why."""
        cell, seeds, reason = grid.wanted(cell, partner)
        group = self._group(grid.paper, grid.request.profile, cell) if seeds else reason
        if isinstance(group, str):
            return [], group
        keys = [self._enter(group, seed) for seed in seeds]
        for key in keys:
            self._entries[key].exhibits[label] = None
        return keys, reason

    def _hashes(self, grid: Grid, cell: Cell) -> list[str]:
        """The hashes of a cell's seeds, which are not entered."""
        cell, seeds, _ = grid.wanted(cell, partner=True)
        group = self._group(grid.paper, grid.request.profile, cell) if seeds else ""
        return [] if isinstance(group, str) else [group.hash(seed) for seed in seeds]

    def _group(self, paper: str, profile: str, cell: Cell) -> _Group | str:
        """The cell in numbers, or why it cannot be."""
        key = paper, profile, cell
        if key not in self._groups:
            try:
                self._groups[key] = self._resolved(cell.experiment(paper, profile, 0))
            except DefenseLibError as error:
                self._groups[key] = str(error)
        return self._groups[key]

    def _resolved(self, experiment: Experiment) -> _Group:
        below, resolved = experiment.upstream(), experiment.resolve()
        return _Group(
            experiment=experiment,
            resolved=resolved,
            # Of a copy that is not there nobody can say which it is: whoever runs the cell takes the one at hand then.
            fields=as_dict(experiment.replace(source=None if _absent(resolved) else resolved.source)),
            spec=resolved.spec(),
            stages=shared_stages(resolved),
            cost=self._costs.of(resolved),
            upstream=None if below is None else self._resolved(below),
        )

    def _enter(self, group: _Group, seed: int) -> str:
        """The hash of a group at a seed, entered with what it starts from."""
        if group.upstream is not None:
            self._enter(group.upstream, seed)
        key = group.hash(seed)
        if key not in self._entries:
            self._entries[key] = _Entry(group, seed, self._has(key))
        return key

    def _has(self, key: str) -> bool:
        return next(iter(self._store.files(key)), None) is not None

    def _missing(self, key: str) -> list[str]:
        """The hash, and before it those of the cells that have to be trained for it."""
        group, seed = self._entries[key].group, self._entries[key].seed
        below = "" if group.upstream is None else group.upstream.hash(seed)
        trained = below and (not self._entries[below].stored or not self._has_weights(below))
        return [*(self._missing(below) if trained else ()), key]

    def _has_weights(self, key: str) -> bool:
        if key not in self._weights:
            self._weights[key] = self._store.has_model(key)
        return self._weights[key]

    def cells(self) -> Iterable[Planned]:
        """The cells in the order in which they were named, an upstream before what starts from it."""
        for key, entry in self._entries.items():
            if not entry.stored:
                for below in self._missing(key)[:-1]:
                    self._entries[below].retrain = self._entries[below].stored
        for key, entry in self._entries.items():
            group, seed = entry.group, entry.seed
            yield Planned(
                fields={**group.fields, "seed": seed} if seed else group.fields,
                hash=key,
                stem=group.resolved.stem_of(seed, key),
                stored=entry.stored,
                retrain=entry.retrain,
                upstream=None if group.upstream is None else group.upstream.hash(seed),
                stages={f"{stage}-s{seed}": round(group.cost.part(stage), 1) for stage in group.stages},
                seconds=round(group.cost.seconds, 1),
                guess=group.cost.guess,
                numbers=round(entry.numbers, 4),
                claims=len(entry.claims),
                exhibits=tuple(entry.exhibits),
                waits_for=group.resolved.dataset if _absent(group.resolved) else "",
            )


def _absent(resolved: Resolved) -> bool:
    """Whether no copy of an experiment's data is at hand, and no result says which one it would be."""
    return resolved.source == f"{resolved.dataset}:{ABSENT}"


def _source(dataset: str, store: Store) -> str:
    """Which copy of a data set to plan with: that of the stored results, else the one at hand, else none in particular,
    so that what it would take is planned all the same."""
    stored = min({result.experiment["source"] for result in store.results(dataset)}, default="")
    if stored:
        return str(stored)
    try:
        if load.undecoded(dataset) is not None:
            return f"{dataset}:{ABSENT}"  # which copy it is, its pixels tell
        return data.source_of(data.load_dataset(dataset, fetch=False))
    except DataError:
        return f"{dataset}:{ABSENT}"
