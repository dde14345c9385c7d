"""The plan of a batch: the distinct cells behind the exhibits, which are there, what the others cost and would answer.

A *number* is a row of a printed table or a cell of a figure. It is answered once every cell that it is read from, and
every one that its verdict is taken against, has a result of one seed at least. A missing cell counts the numbers that
wait for it; one that waits for k cells counts 1/k for each, so that a plan's sum is the numbers that it answers.
Further seeds count none: they only narrow what is there. A *claim* counts for every cell that one of its open numbers
waits for; smoke is no evidence, so no claim counts there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from defenselib import data, papers
from defenselib.errors import DataError, DefenseLibError, check_choice
from defenselib.experiments.experiment import Experiment, Resolved, hash_of
from defenselib.experiments.stages import shared_stages
from defenselib.experiments.store import Store, default_stores
from defenselib.experiments.written import as_dict
from defenselib.papers.costs import Cost, Costs
from defenselib.papers.kit import printed
from defenselib.papers.kit.cells import Need, needs, spoken_of
from defenselib.papers.kit.claims import Claim
from defenselib.papers.kit.exhibit import Exhibit
from defenselib.papers.kit.grid import Grid, mode_of
from defenselib.papers.kit.request import AXES, Cell, checked_request
from defenselib.papers.planned import Plan, Planned

ABSENT = "absent"  # in place of the digest of a copy that is not at hand


def make(
    keys: Sequence[str] | None = None,
    profiles: Sequence[str] = ("laptop",),
    seeds: Sequence[int] | None = None,
    datasets: Sequence[str] | None = None,
    attacks: Sequence[str] | None = None,
    defenses: Sequence[str] | None = None,
    store: Store | None = None,
    machine: str = "unknown",
    everything: bool = False,
) -> Plan:
    """The plan of some papers (all if None) at some profiles.

    seeds, datasets, attacks, defenses: as `Exhibit.reproduce` takes them, with names that one of the papers knows.
    machine: kind of the machine that is to run it (see `costs.kind_of`). everything: also what a paper leaves out at a
    profile unless somebody asks for it. Errors: UnknownNameError, InvalidValueError.
    """
    where = store or default_stores()
    collected = _Collected(where, Costs(where.results(), machine))
    wanted = _named(keys or papers.available(), dict(zip(AXES, (datasets, attacks, defenses), strict=True)))
    for key, names in wanted.items():
        chosen = (names["dataset"], names["attack"], names["defense"])
        for profile in profiles:
            request = checked_request(key, profile, False, *chosen, seeds, where)
            for exhibit in papers.get(key).exhibits:
                collected.add(exhibit, exhibit.grid(request, everything, collected.sources))
    return Plan(tuple(collected.cells()), dict(collected.left_out), machine)


def _named(
    keys: Iterable[str], axes: Mapping[str, Sequence[str] | None]
) -> dict[str, dict[str, tuple[str, ...] | None]]:
    """By paper, the names on each axis that it knows; a paper that knows none of those on an axis is no part."""
    known = {key: {axis: set(printed.vocabulary(key, axis)) for axis in AXES} for key in map(_paper, keys)}
    for axis, names in axes.items():
        for name in names or ():
            allowed = sorted(set().union(*(found[axis] for found in known.values())))
            check_choice("data set" if axis == "dataset" else axis, name, allowed)
    found = {
        key: {
            axis: None if names is None else tuple(name for name in names if name in known[key][axis])
            for axis, names in axes.items()
        }
        for key in known
    }
    return {key: chosen for key, chosen in found.items() if () not in chosen.values()}


def _paper(key: str) -> str:
    return check_choice("paper", key, papers.available())


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
    numbers: float = 0.0
    claims: set[tuple[str, ...]] = field(default_factory=set)
    exhibits: dict[str, None] = field(default_factory=dict)


class _Collected:
    """Cells by hash, as the exhibits name them."""

    def __init__(self, store: Store, costs: Costs) -> None:
        self.left_out: Counter[str] = Counter()
        self.sources = {name: _source(name, store) for name in data.available() if data.info(name).source is None}
        self._store, self._costs = store, costs
        self._entries: dict[str, _Entry] = {}
        self._groups: dict[tuple[str, str, Cell], _Group | str] = {}
        self._claims: dict[tuple[str, str], list[list[Claim]]] = {}

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
        for choice in need.judged_by:
            keys, _ = self._cells(grid, choice[0], True, label)
            if keys and not self._any_there(grid, keys, choice[1:]):
                found |= dict.fromkeys(self._missing(keys[0]))
        return tuple(found)

    def _any_there(self, grid: Grid, keys: Sequence[str], others: Sequence[Cell]) -> bool:
        return any(self._entries[key].stored for key in keys) or any(self._there(grid, one) for one in others)

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

    def _there(self, grid: Grid, cell: Cell) -> bool:
        """Whether a cell that would do as well has a result."""
        cell, seeds, _ = grid.wanted(cell, partner=True)
        group = self._group(grid.paper, grid.request.profile, cell) if seeds else ""
        return not isinstance(group, str) and any(self._has(group.hash(seed)) for seed in seeds)

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
        """The hash, and before it those of the missing cells that it starts from."""
        group, seed = self._entries[key].group, self._entries[key].seed
        below = "" if group.upstream is None else group.upstream.hash(seed)
        return [*(self._missing(below) if below and not self._entries[below].stored else ()), key]

    def cells(self) -> Iterable[Planned]:
        for key, entry in self._entries.items():
            group, seed = entry.group, entry.seed
            yield Planned(
                fields={**group.fields, "seed": seed} if seed else group.fields,
                hash=key,
                stem=group.resolved.stem_of(seed, key),
                stored=entry.stored,
                upstream=None if group.upstream is None else group.upstream.hash(seed),
                stages=tuple(f"{stage}-s{seed}" for stage in group.stages),
                seconds=round(group.cost.seconds, 1),
                guess=group.cost.guess,
                numbers=round(entry.numbers, 4),
                claims=len(entry.claims),
                exhibits=tuple(entry.exhibits),
                waits_for=group.resolved.dataset if _absent(group.resolved) else "",
            )


def _source(dataset: str, store: Store) -> str:
    """Which copy of a data set to plan with: that of the stored results, else the one at hand, else none in particular,
    so that what it would take is planned all the same."""
    stored = min({result.experiment["source"] for result in store.results(dataset)}, default="")
    if stored:
        return str(stored)
    try:
        return data.source_of(data.load_dataset(dataset, fetch=False))
    except DataError:
        return f"{dataset}:{ABSENT}"


def _absent(resolved: Resolved) -> bool:
    """Whether no copy of an experiment's data is at hand, and no result says which one it would be."""
    return resolved.source == f"{resolved.dataset}:{ABSENT}"
