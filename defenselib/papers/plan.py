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
from dataclasses import dataclass, field, replace
from typing import Any

from defenselib import papers
from defenselib.errors import DefenseLibError, check_choice
from defenselib.experiments.experiment import Experiment, Resolved
from defenselib.experiments.stages import shared_stages
from defenselib.experiments.store import Store, default_stores
from defenselib.papers.costs import Cost, Costs
from defenselib.papers.kit import printed
from defenselib.papers.kit.cells import Need, needs, spoken_of
from defenselib.papers.kit.exhibit import Exhibit
from defenselib.papers.kit.grid import AXES, Grid, Thin, checked_request, mode_of


@dataclass(frozen=True)
class Planned:
    """A cell of a plan at one seed. upstream: hash of the cell whose model it starts from. stages: what it shares with
    cells that name the same. seconds and guess: see `costs`. exhibits: "asd table-2", in the papers' order."""

    experiment: Experiment
    hash: str
    stem: str
    stored: bool
    upstream: str | None
    stages: tuple[str, ...]
    seconds: float
    guess: str = ""
    numbers: float = 0.0
    claims: int = 0
    exhibits: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        one = self.experiment
        return f"{one.dataset}/{one.attack}/{one.defense}"

    @property
    def minutes(self) -> float:
        return self.seconds / 60


@dataclass(frozen=True)
class Plan:
    """cells: each once, an upstream before what starts from it. left_out: why others are none of it, with counts."""

    cells: tuple[Planned, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
    machine: str = ""

    @property
    def missing(self) -> tuple[Planned, ...]:
        return tuple(cell for cell in self.cells if not cell.stored)


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
        chosen = [names[axis] for axis in AXES]
        for profile in profiles:
            request = checked_request(key, profile, False, *chosen, seeds, where)
            for exhibit in papers.get(key).exhibits:
                declared = Thin() if everything else exhibit.setting.thin.get(profile, Thin())
                grid = Grid(key, request, exhibit.setting.seeds, declared, collected.sources)
                collected.add(exhibit, grid)
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


@dataclass
class _Entry:
    experiment: Experiment
    resolved: Resolved
    stored: bool
    numbers: float = 0.0
    claims: set[tuple[str, ...]] = field(default_factory=set)
    exhibits: dict[str, None] = field(default_factory=dict)


class _Collected:
    """Cells by hash, as the exhibits name them."""

    def __init__(self, store: Store, costs: Costs) -> None:
        self.left_out: Counter[str] = Counter()
        self.sources: dict[str, str] = {}
        self._store, self._costs = store, costs
        self._entries: dict[str, _Entry] = {}
        self._hashes: dict[Experiment, str] = {}

    def add(self, exhibit: Exhibit, grid: Grid) -> None:
        """The cells of an exhibit at one profile, and what they would answer there."""
        profile = grid.request.profile
        listed = needs(exhibit, profile)
        label = f"{exhibit.paper} {exhibit.key}"
        waits = [self._waits(need, grid, label) for need in listed]
        for wait in waits:
            for key in wait:
                self._entries[key].numbers += 1 / len(wait)
        if mode_of(profile) == "none" or not any(waits):
            return
        for claim in exhibit.checks:
            for place in spoken_of(claim, listed, profile):
                for key in waits[place]:
                    self._entries[key].claims.add((exhibit.paper, exhibit.key, claim.key, profile))

    def _waits(self, need: Need, grid: Grid, label: str) -> tuple[str, ...]:
        """Hashes of the missing cells that a number waits for; none where it is answered, or nothing would answer it."""
        found: dict[str, None] = {}
        complete = True
        for choices, partner in ((need.made_of, False), (need.judged_by, True)):
            for choice in choices:
                seeds, reason = self._cells(grid, choice[0], partner, label)
                if reason:
                    self.left_out[reason] += 1
                    complete &= partner
                elif not any(self._entries[key].stored for key in seeds) and not any(
                    self._there(grid, other) for other in choice[1:]
                ):
                    found |= dict.fromkeys(self._with_upstream(seeds[0]))
        return tuple(found) if complete else ()

    def _cells(self, grid: Grid, cell: Any, partner: bool, label: str) -> tuple[list[str], str]:
        try:
            experiments, reason = grid.experiments(cell, partner)
            keys = [self._enter(one) for one in experiments]
        except DefenseLibError as error:
            return [], str(error)
        for key in keys:
            self._entries[key].exhibits[label] = None
        return keys, reason

    def _there(self, grid: Grid, cell: Any) -> bool:
        """Whether a cell that would do as well has a result."""
        try:
            experiments, _ = grid.experiments(cell, True)
            return any(self._has(one.resolve().hash) for one in experiments)
        except DefenseLibError:
            return False

    def _enter(self, experiment: Experiment) -> str:
        """The hash of an experiment, entered with what it starts from."""
        if experiment not in self._hashes:
            below = experiment.upstream()
            if below is not None:
                self._enter(below)
            resolved = experiment.resolve()
            self._hashes[experiment] = resolved.hash
            if resolved.hash not in self._entries:
                self._entries[resolved.hash] = _Entry(experiment, resolved, self._has(resolved.hash))
        return self._hashes[experiment]

    def _has(self, key: str) -> bool:
        return next(iter(self._store.files(key)), None) is not None

    def _with_upstream(self, key: str) -> list[str]:
        below = self._entries[key].resolved.upstream
        first = [] if below is None or self._entries[below.hash].stored else self._with_upstream(below.hash)
        return [*first, key]

    def cells(self) -> Iterable[Planned]:
        for key, entry in self._entries.items():
            resolved = entry.resolved
            cost = Cost(0.0) if entry.stored else self._costs.of(resolved)
            yield Planned(
                experiment=replace(entry.experiment, source=resolved.source),
                hash=key,
                stem=resolved.stem,
                stored=entry.stored,
                upstream=None if resolved.upstream is None else resolved.upstream.hash,
                stages=shared_stages(resolved),
                seconds=round(cost.seconds, 1),
                guess=cost.guess,
                numbers=round(entry.numbers, 4),
                claims=len(entry.claims),
                exhibits=tuple(entry.exhibits),
            )
