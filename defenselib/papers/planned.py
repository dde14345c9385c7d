"""A plan as data: its cells with what they cost and answer, as JSON, in an order, and cut to a budget."""

from __future__ import annotations

import dataclasses
import heapq
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from defenselib import folders
from defenselib.errors import DefenseLibError, InvalidValueError, check_choice
from defenselib.experiments.experiment import Experiment, from_dict
from defenselib.experiments.fields import hyper_parameters, typed
from defenselib.experiments.schema import check_hash, check_stem

FORMAT = "defenselib-plan-2"
ORDERS = ("paper", "yield")


@dataclass(frozen=True)
class Planned:
    """A cell of a plan at one seed.

    fields: those of its Experiment, as `written.as_dict` gives them. stored: its result is there. retrain: but not the
    weights of its model, which a missing cell starts from. upstream: hash of the cell whose model it starts from.
    seconds, guess: see `costs`. stages: what it shares with cells that name the same, and how many of its seconds that
    is, 0 where nobody knows. numbers, claims: what it would answer, see `plan`. exhibits: "asd table-2", in the papers'
    order, and pages by their name. waits_for: a data set that it needs and of which no copy is at hand: its hash holds
    a place until one is, and it cannot be run.
    """

    fields: Mapping[str, Any]
    hash: str
    stem: str
    stored: bool
    upstream: str | None
    stages: Mapping[str, float]
    seconds: float
    guess: str = ""
    numbers: float = 0.0
    claims: int = 0
    exhibits: tuple[str, ...] = ()
    retrain: bool = False
    waits_for: str = ""

    @property
    def missing(self) -> bool:
        """Whether there is something to train."""
        return self.retrain or not self.stored

    def after(self, made: Collection[str]) -> float:
        """Its seconds where some shared stages are there."""
        return max(0.0, self.seconds - sum(taken for stage, taken in self.stages.items() if stage in made))

    @property
    def experiment(self) -> Experiment:
        return from_dict(self.fields)

    @property
    def profile(self) -> str:
        return str(self.fields.get("profile", "smoke"))

    @property
    def name(self) -> str:
        """DATA SET/ATTACK/DEFENSE."""
        usual = {"dataset": "cifar10", "attack": "badnets", "defense": "none"}
        return "/".join(str(self.fields.get(axis, name)) for axis, name in usual.items())


@dataclass(frozen=True)
class Plan:
    """cells: each once, an upstream before what starts from it. left_out: why others are none of it, with counts."""

    cells: tuple[Planned, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
    machine: str = ""

    @property
    def missing(self) -> tuple[Planned, ...]:
        return tuple(cell for cell in self.cells if cell.missing)

    @property
    def runnable(self) -> tuple[Planned, ...]:
        """Those of the missing cells whose data are at hand."""
        return tuple(cell for cell in self.missing if not cell.waits_for)

    @property
    def costs(self) -> Mapping[str, float]:
        """By hash, the seconds of the missing cells in their order, each shared stage counted once."""
        made, found = set[str](), {}
        for cell in self.missing:
            found[cell.hash] = cell.after(made)
            made |= cell.stages.keys()
        return found

    def cell(self, key: str) -> Planned:
        """The cell of a hash. Errors: InvalidValueError."""
        found = next((cell for cell in self.cells if cell.hash == key), None)
        if found is None:
            raise InvalidValueError(f"the plan has no cell {key!r}; defenselib plan lists those that it has")
        return found

    def sorted(self, by: str = "paper") -> Plan:
        """In the papers' order, or by numbers answered a minute of one core or GPU; upstreams come first all the same,
        and count with the best of what waits for them. A shared stage counts for the cell that comes first, the others
        follow as soon as their own minutes are worth it. Errors: UnknownNameError."""
        if check_choice("order", by, ORDERS) == "paper":
            return self
        return dataclasses.replace(self, cells=tuple(_upstream_first(_by_yield(self.cells))))

    def within(self, seconds: float, jobs: int) -> Plan:
        """What is there, and of the missing cells in their order those that `jobs` at once finish in time. A cell that
        does not fit is passed over, with all that starts from it."""
        ends, free = {cell.hash: 0.0 for cell in self.cells if not cell.missing}, [0.0] * jobs
        made = set[str]()
        for cell in self.runnable:
            begins, takes = max(free[0], ends.get(cell.upstream or "", 0.0)), cell.after(made)
            waits = cell.upstream is not None and cell.upstream not in ends
            if waits or begins + takes > seconds:
                continue
            heapq.heapreplace(free, begins + takes)
            ends[cell.hash] = begins + takes
            made |= cell.stages.keys()
        kept = (cell if cell.hash in ends else dataclasses.replace(cell, retrain=False) for cell in self.cells)
        return dataclasses.replace(self, cells=tuple(cell for cell in kept if cell.hash in ends or cell.stored))

    def to_json(self) -> str:
        """A cell a line."""
        lines = [json.dumps(dataclasses.asdict(cell), allow_nan=False) for cell in self.cells]
        head = {"format": FORMAT, "machine": self.machine, "left_out": dict(self.left_out)}
        return json.dumps(head)[:-1] + ', "cells": [\n' + ",\n".join(lines) + "\n]}\n"

    def write(self, path: Path) -> Path:
        """Write it as JSON. Errors: FolderError."""
        return folders.write_text(path, self.to_json())


def _by_yield(cells: Iterable[Planned]) -> Iterable[Planned]:
    """The cells by numbers and then claims a second; one that waits for a stage is weighed again once that is there."""
    listed, made, taken = tuple(cells), set[str](), set[int]()
    sharing: dict[str, list[int]] = {}
    for place, cell in enumerate(listed):
        for stage in cell.stages:
            sharing.setdefault(stage, []).append(place)

    def rank(place: int) -> tuple[float, int, int]:
        cell = listed[place]
        return -cell.numbers / max(cell.after(made), 1.0), -cell.claims, place

    waiting = [rank(place) for place in range(len(listed))]
    heapq.heapify(waiting)
    while waiting:
        place = heapq.heappop(waiting)[-1]
        if place in taken:
            continue
        taken.add(place)
        yield listed[place]
        if listed[place].missing:
            for stage in listed[place].stages.keys() - made:
                made.add(stage)
                for other in sharing[stage]:
                    if other not in taken:
                        heapq.heappush(waiting, rank(other))


def _upstream_first(cells: Iterable[Planned]) -> Iterable[Planned]:
    listed = tuple(cells)
    by_hash, done = {cell.hash: cell for cell in listed}, set[str]()

    def with_upstream(cell: Planned) -> Iterable[Planned]:
        if cell.hash not in done:
            if cell.upstream in by_hash:
                yield from with_upstream(by_hash[cell.upstream])
            done.add(cell.hash)
            yield cell

    for cell in listed:
        yield from with_upstream(cell)


def read(path: Path) -> Plan:
    """The plan in a file. Errors: InvalidValueError, naming the file, for anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise InvalidValueError(f"its format is {content['format']!r}, this version reads {FORMAT!r}")
        cells = tuple(_cell(item) for item in content["cells"])
        return Plan(cells, dict(content["left_out"]), str(content["machine"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, DefenseLibError) as error:
        raise InvalidValueError(f"{path} is no plan ({error}); defenselib plan --output writes one") from error


def _cell(item: Any) -> Planned:
    found = Planned(**typed(hyper_parameters(Planned), item, "cell"))
    check_hash(found.hash)
    check_stem(found.stem)
    return found
