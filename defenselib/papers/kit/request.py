"""One question to the store, over which seeds it is asked, and which of an exhibit's questions a caller asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from defenselib.errors import InvalidValueError, check_choice, check_range, shown
from defenselib.experiments import profile as profiles
from defenselib.experiments.experiment import LAST_SEED, Experiment
from defenselib.experiments.fields import MISSING, convert
from defenselib.papers.kit import printed
from defenselib.plots import words

AXES = ("dataset", "attack", "defense")
SEVERAL = (0, 1, 2)


@dataclass(frozen=True)
class Cell:
    """One question to the store: what does `defense` reach on `dataset` under `attack`, over some seeds.

    options: further fields of `Experiment` (rate, target, attack_args, defense_args, diagnostic, stop_after, ...).
    times: hyper-parameters of the defense as multiples of what the profile sets, {"stage1_end": 2.0}.
    """

    dataset: str
    attack: str
    defense: str
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    times: Mapping[str, float] = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        return f"{self.dataset}/{self.attack}/{self.defense}"

    def experiment(self, paper: str, profile: str, seed: int) -> Experiment:
        """The Experiment of this cell at one seed, with the paper's recipes."""
        experiment = Experiment(
            dataset=self.dataset,
            attack=self.attack,
            defense=self.defense,
            paper=paper or None,
            profile=profile,
            seed=seed,
            **dict(self.options),
        )
        if not self.times:
            return experiment
        usual = experiment.resolve().describe()["defense_args"]
        scaled = {name: _scaled(usual[name], factor) for name, factor in self.times.items()}
        return experiment.replace(defense_args={**experiment.defense_args, **scaled})


def asked(axis: str, name: str, usual: float) -> Callable[[Cell], dict[str, float]]:
    """Where a figure's cells stand on an axis: what each asks as the field `name` of its Experiment or as that
    hyper-parameter of its defense, `usual` where it asks for neither."""

    def where(cell: Cell) -> dict[str, float]:
        return {axis: float({**cell.options.get("defense_args", {}), **cell.options}.get(name, usual))}

    return where


def _scaled(value: Any, factor: float) -> Any:
    """A number, or each number of a sequence, times `factor`, of its own type."""
    if isinstance(value, list | tuple):
        return tuple(_scaled(item, factor) for item in value)
    return type(value)(round(factor * value, 6))


SeedRule = Callable[[Cell, str], tuple[int, ...]]  # the seeds that a number is taken over


def one_seed(cell: Cell, profile: str) -> tuple[int, ...]:
    """The rule of what is no average."""
    return (0,)


def several(*defenses: str) -> SeedRule:
    """The rule of a paper's exhibits: at `laptop` three seeds for these defenses (none named: for all) under BadNets as
    the paper has it, where the spread is shown; one seed elsewhere, for variants and for longer schedules. What is
    measured besides makes no variant."""

    def seeds(cell: Cell, profile: str) -> tuple[int, ...]:
        usual = not cell.times and set(cell.options) <= {"measure"}
        shown = profile == "laptop" and cell.attack == "badnets" and (not defenses or cell.defense in defenses)
        return SEVERAL if usual and shown else (0,)

    return seeds


@dataclass(frozen=True)
class Thin:
    """Which part of a grid is wanted: names on each axis, None for all of it.

    plain: only cells without options of their own (rates, targets, hyper-parameters).
    """

    datasets: tuple[str, ...] | None = None
    attacks: tuple[str, ...] | None = None
    defenses: tuple[str, ...] | None = None
    plain: bool = False

    def excludes(self, cell: Cell) -> str:
        """The first name of the cell that is not wanted ("attack WaNet"), or nothing."""
        for axis in AXES:
            wanted, name = getattr(self, f"{axis}s"), getattr(cell, axis)
            # A variant that papers count as an attack of its own (`cl-16`) goes by its own name too.
            variant = cell.options.get("attack_args", {}).get("preset") if axis == "attack" else None
            if wanted is not None and not {name, variant} & set(wanted):
                said = name if name == "none" else words.value(name, axis)
                return f"{'data set' if axis == 'dataset' else axis} {said}"
        return "settings other than the usual ones" if self.plain and (cell.options or cell.times) else ""

    def without(self, other: Thin) -> Thin:
        """This thinning on the axes where `other` asks for nothing; asked for anything, it is no longer `plain`."""
        asked = [f"{axis}s" for axis in AXES if getattr(other, f"{axis}s") is not None]
        return replace(self, **dict.fromkeys(asked), plain=self.plain and not asked)


@dataclass(frozen=True)
class Request:
    """What the caller asked of `reproduce`, checked."""

    profile: str
    run: bool
    thin: Thin
    seeds: tuple[int, ...] | None
    store: Any = None


def checked_request(
    paper: str,
    profile: str,
    run: bool = False,
    names: Sequence[Sequence[str] | None] = (None, None, None),
    seeds: Sequence[int] | None = None,
    store: Any = None,
) -> Request:
    """The request with every name checked against what the paper's exhibits know; errors name the nearest.

    names: data sets, attacks, defenses; None for all.
    """
    asked = zip(AXES, names, strict=True)
    wanted: list[Any] = [None if some is None else _names(paper, axis, some) for axis, some in asked]
    check_choice("profile", profile, (*profiles.available(), "best"))
    if run and profile == "best":
        raise InvalidValueError("profile 'best' only reads what is there; name a profile to run")
    return Request(profile, run, Thin(*wanted), checked_seeds(seeds), store)


def _names(paper: str, axis: str, names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise InvalidValueError(f"{axis}s is {names!r}, it must be a list of names")
    if not names:
        raise InvalidValueError(f"{axis}s is empty; None stands for all of them")
    known = printed.vocabulary(paper, axis)
    return tuple(check_choice("data set" if axis == "dataset" else axis, name, known) for name in names)


def checked_seeds(seeds: Sequence[int] | None) -> tuple[int, ...] | None:
    """Each seed once; None as it is. Errors: InvalidValueError."""
    if seeds is None:
        return None
    found = convert(seeds if isinstance(seeds, str) or not isinstance(seeds, Iterable) else list(seeds), list[int])
    if found is MISSING or not found:
        raise InvalidValueError(
            f"seeds is {shown(seeds)}, it must be a list of whole numbers; None stands for the usual"
        )
    for seed in found:
        check_range("seed", seed, 0, LAST_SEED)
    return tuple(dict.fromkeys(found))
