"""What a cell will take, from what others took.

Measured is the median over stored results on the same kind of machine, on a processor of what it worked for each: of
the same cell with other seeds; else of the same method and network at this profile on this data set; else at this
profile. A method is the defense, and where it stops. Where there is none the number is a guess, by the first of these
that there is:

1. the method at this profile on another network, which may take several times as long or short;
2. the method at this profile on another machine, times what the undefended training takes here against there;
3. the method at another profile on this machine, times the ratio of work: training images times epochs of all stages,
   times layers and the square of the width of the model and the places on its maps (what its convolutions cost);
4. any method on this machine, by its seconds a work;
5. ten minutes.

A guess across profiles may be wrong by a factor of ten: iterations that are no epochs, steps of attacks on the network,
and what a wider model fills of a GPU are not in it.

Seconds of a result hold those of shared stages. Which part a stage is, results of the same method at the same profile
tell: the first cell that needs the stage takes all, those after it what is left. Where no result tells, they are taken
to need as much as the first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from defenselib.experiments.result import Result
from defenselib.experiments.spec import Resolved, hash_of

UNKNOWN_SECONDS = 600.0
USUAL_SIDE, SMALL = 32, 64  # pixels: of most data sets, and up to which a network's stem keeps the size
USUAL_LAYERS = 18  # of a model whose name says none
SHARED = " (shared)"  # behind the name of a stage that a cell took from the store, with what it took there
Table = Mapping[str, Any]


@dataclass(frozen=True)
class Cost:
    """seconds: expected on the kind of machine that was asked for. guess: how it was guessed; empty where measured.
    shares: by stage, the part of the seconds that it is; those that cells share are among them."""

    seconds: float
    guess: str = ""
    shares: Mapping[str, float] = field(default_factory=dict)

    def part(self, stage: str) -> float:
        """Seconds of a shared stage, named as `stages.shared_stages` does; 0 where nobody knows."""
        return self.seconds * self.shares.get(stage.rpartition("-")[0], 0.0)


@dataclass(frozen=True)
class _Took:
    seconds: float
    work: float


def kind_of(machine: Table) -> str:
    """The kind of a machine: its GPU's name, else its processor's."""
    return str(machine.get("gpu") or machine.get("cpu") or "unknown")


def method_of(cell: Table) -> str:
    """The defense of a described experiment, with its diagnostic and the stage where it stops."""
    stop = cell["stop_after"]
    parts = (cell["defense"], cell["diagnostic"], None if stop is None else f"to {stop.partition(':')[0]}")
    return " ".join(str(part) for part in parts if part)


def work_of(cell: Table) -> float:
    """Training images times epochs, those of all stages together, times layers, the square of the width and the places
    on the first stage's maps."""
    args = cell["defense_args"]
    epochs = [value for name, value in args.items() if name.endswith("epochs") and isinstance(value, int | float)]
    layers = re.search(r"\d+", cell["model"])
    size = float(layers[0] if layers else USUAL_LAYERS) * float(cell["width"]) ** 2
    return float(cell["train_size"]) * max(1.0, float(sum(epochs))) * size * _places(cell["dataset"])


def _places(dataset: str) -> float:
    """Places on the maps of a network's first stage, in those of an image of 32 pixels."""
    from defenselib import data  # with torch, which whoever lists results does not need

    side = data.info(dataset).image_size if dataset in data.available() else USUAL_SIDE
    stride = 1 if side <= SMALL else 4  # of the stem
    return (side / stride / USUAL_SIDE) ** 2


def same_but_seed(spec: Table) -> str:
    """What all seeds of a cell have in common, as a hash; an upstream is named by a hash that covers its seed."""
    return hash_of({name: value for name, value in spec.items() if name not in ("seed", "upstream")})


class Costs:
    """Expected seconds on one kind of machine, from measured results of all kinds."""

    def __init__(self, results: Iterable[Result], machine: str) -> None:
        self.machine = machine
        self.kinds: dict[str, int] = {}
        self._found: dict[tuple[str, ...], list[_Took]] = {}
        parts: dict[tuple[str, str], dict[str, list[float]]] = {}
        for result in results:
            kind = kind_of(result.machine)
            self.kinds[kind] = self.kinds.get(kind, 0) + 1
            took = _Took(_alone(result), work_of(result.experiment))
            for key in _keys(result.profile, kind, result.experiment, same_but_seed(result.spec)):
                self._found.setdefault(key, []).append(took)
            known = parts.setdefault((result.profile, method_of(result.experiment)), {})
            for stage, seconds in result.stages.items():
                known.setdefault(stage.removesuffix(SHARED), []).append(seconds / max(result.seconds, 1e-9))
        self._shares = {key: {name: median(of) for name, of in known.items()} for key, known in parts.items()}

    def of(self, resolved: Resolved) -> Cost:
        """The expected cost of a resolved experiment."""
        cell, profile = resolved.describe(), resolved.profile
        return replace(self._whole(resolved, cell, profile), shares=self._shares.get((profile, method_of(cell)), {}))

    def _whole(self, resolved: Resolved, cell: Table, profile: str) -> Cost:
        for key in _keys(profile, self.machine, cell, same_but_seed(resolved.spec()))[:3]:
            if key in self._found:
                return Cost(median(one.seconds for one in self._found[key]))
        method = method_of(cell)
        if ("method", profile, self.machine, method) in self._found:
            took = self._found["method", profile, self.machine, method]
            return Cost(median(one.seconds for one in took), "as on another network")
        return self._guess(profile, method, work_of(cell))

    def _guess(self, profile: str, method: str, work: float) -> Cost:
        elsewhere = [key[2] for key in self._found if key[:2] == ("method", profile) and key[3] == method]
        if elsewhere:
            return self._from_machine(profile, method, min(elsewhere, key=lambda kind: (-self.kinds[kind], kind)))
        other = [key for key in self._found if key[0] == "method" and key[2:] == (self.machine, method)]
        if other:
            chosen = max(other, key=lambda key: (len(self._found[key]), key))
            return Cost(self._pace(chosen) * work, f"as at {chosen[1]}, by work")
        if ("machine", self.machine) in self._found:
            return Cost(self._pace(("machine", self.machine)) * work, "as other methods here, by work")
        return Cost(UNKNOWN_SECONDS, "nothing measured on this machine")

    def _from_machine(self, profile: str, method: str, kind: str) -> Cost:
        seconds = median(one.seconds for one in self._found["method", profile, kind, method])
        plain = [self._found.get(("method", profile, place, "none")) for place in (self.machine, kind)]
        if plain[0] and plain[1]:
            here, there = (median(one.seconds for one in found) for found in plain if found)
            return Cost(seconds * here / there, f"as on {kind}, times {here / there:.2g}")
        return Cost(seconds, f"as on {kind}")

    def _pace(self, key: tuple[str, ...]) -> float:
        return median(one.seconds / one.work for one in self._found[key])


def _alone(result: Result) -> float:
    """Seconds as if nothing else had run on the machine: of a processor those that it worked, never more than passed.
    How long a GPU waited for others nobody knows."""
    if result.machine.get("gpu") or result.cpu_seconds is None:
        return result.seconds
    before = sum(result.stages.get(name, 0.0) for name in ("prepare", "poison"))
    return min(result.seconds, before + result.cpu_seconds / max(1, int(result.machine.get("threads") or 1)))


def _keys(profile: str, kind: str, cell: Table, seedless: str) -> list[tuple[str, ...]]:
    """Under which a result is found: the closest first, then the machine alone."""
    method = method_of(cell)
    return [
        ("cell", profile, kind, seedless),
        ("data set", profile, kind, cell["dataset"], method, cell["model"]),
        ("network", profile, kind, method, cell["model"]),
        ("method", profile, kind, method),
        ("machine", kind),
    ]
