"""From the cells that an exhibit needs to the results that are there: thinning, look-up, running.

A cell that is not answered always says why: left out by request or by the profile, not implemented, not in the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from defenselib import attacks, data, defenses, experiments, models
from defenselib.errors import (
    DefenseLibError,
    InvalidValueError,
    TrainingDivergedError,
    check_choice,
    check_range,
    shown,
)
from defenselib.experiments import journal
from defenselib.experiments import profile as profiles
from defenselib.experiments.experiment import LAST_SEED, Experiment
from defenselib.experiments.fields import MISSING, convert
from defenselib.papers.kit import printed

if TYPE_CHECKING:
    from defenselib.experiments.result import Result

AXES = ("dataset", "attack", "defense")
LEFT_OUT = "left out at this profile: "
NO_RESULT = "no result in the store"


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


def _scaled(value: Any, factor: float) -> Any:
    """A number, or each number of a sequence, times `factor`, of its own type."""
    if isinstance(value, list | tuple):
        return tuple(_scaled(item, factor) for item in value)
    return type(value)(round(factor * value, 6))


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
        """The first name of the cell that is not wanted ("attack wanet"), or nothing."""
        for axis in AXES:
            wanted, name = getattr(self, f"{axis}s"), getattr(cell, axis)
            # A variant that papers count as an attack of its own (`cl-16`) goes by its own name too.
            variant = cell.options.get("attack_args", {}).get("preset") if axis == "attack" else None
            if wanted is not None and not {name, variant} & set(wanted):
                return f"{'data set' if axis == 'dataset' else axis} {name}"
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
    run: bool,
    datasets: Sequence[str] | None,
    attack_names: Sequence[str] | None,
    defense_names: Sequence[str] | None,
    seeds: Sequence[int] | None,
    store: Any,
) -> Request:
    """The request with every name checked against what the paper's exhibits know; errors name the nearest."""
    wanted: dict[str, Any] = {}
    for axis, names in zip(AXES, (datasets, attack_names, defense_names), strict=True):
        wanted[f"{axis}s"] = None if names is None else _names(paper, axis, names)
    check_choice("profile", profile, (*profiles.available(), "best"))
    if run and profile == "best":
        raise InvalidValueError("profile 'best' only reads what is there; name a profile to run")
    return Request(profile, run, Thin(**wanted), None if seeds is None else _seeds(seeds), store)


def _names(paper: str, axis: str, names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise InvalidValueError(f"{axis}s is {names!r}, it must be a list of names")
    if not names:
        raise InvalidValueError(f"{axis}s is empty; None stands for all of them")
    known = printed.vocabulary(paper, axis)
    return tuple(check_choice("data set" if axis == "dataset" else axis, name, known) for name in names)


def _seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    found = convert(seeds if isinstance(seeds, str) or not isinstance(seeds, Iterable) else list(seeds), list[int])
    if found is MISSING or not found:
        raise InvalidValueError(
            f"seeds is {shown(seeds)}, it must be a list of whole numbers; None stands for the usual"
        )
    for seed in found:
        check_range("seed", seed, 0, LAST_SEED)
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class Answer:
    """The results of a cell, one a seed, and why some or all of them are missing."""

    results: tuple[Result, ...] = ()
    reason: str = ""


class Grid:
    """Answers cells at one profile; each cell is looked up or run once.

    seeds: the seeds that a cell takes when the request names none. declared: what the paper's module leaves out at
    this profile where the request does not ask for it; results that are in the store are shown all the same. sources:
    which copies of data sets the store's results were made on, as far as they were looked for; several grids of one
    store may share it.
    """

    def __init__(
        self,
        paper: str,
        request: Request,
        seeds: Callable[[Cell, str], tuple[int, ...]],
        declared: Thin,
        sources: dict[str, str] | None = None,
    ) -> None:
        self.paper = paper
        self.request = request
        self._seeds = seeds
        self._declared = declared.without(request.thin)
        self._answers: dict[tuple[Cell, bool], Answer] = {}
        self._sources: dict[str, str] = {} if sources is None else sources
        self._profile = profiles.load(request.profile)

    def answer(self, cell: Cell, partner: bool = False) -> Answer:
        """The results of a cell. A partner is only there to judge another cell by, so no request leaves it out:
        it is looked up always, and run unless the request leaves out its defense."""
        key = cell, partner
        if key not in self._answers:
            self._answers[key] = self._answer(cell, partner)
        return self._answers[key]

    def stored(self, cell: Cell) -> Answer:
        """What the store has of a cell that nobody left out; it is not run for this."""
        return self._answer(cell, partner=False, may_run=False)

    def wanted(self, cell: Cell, partner: bool = False) -> tuple[Cell, tuple[int, ...], str]:
        """What running would take of a cell: the cell on the copy of the data that stored results were made on (or that
        `sources` names), and its seeds; no seeds where it takes nothing, and why."""
        excluded, thinned = self._excluded(cell, partner)
        stored = None if excluded or thinned else self._of_stored_copy(cell)
        if stored is None:
            unknown = f"no copy of {cell.dataset!r} at hand, and no result says which one to take"
            return cell, (), excluded or thinned or unknown
        return stored, self.request.seeds or self._seeds(cell, self.request.profile), ""

    def _answer(self, cell: Cell, partner: bool, may_run: bool = True) -> Answer:
        excluded, thinned = self._excluded(cell, partner)
        if excluded:
            return Answer(reason=excluded)
        return self._collect(cell, self.request.run and may_run and not thinned, thinned or NO_RESULT)

    def _excluded(self, cell: Cell, partner: bool) -> tuple[str, str]:
        """Why a cell is not even looked up, and why it is looked up but not run; both empty for one that is wanted."""
        unwanted = self.request.thin.excludes(cell)
        if unwanted and not partner:
            return f"left out by request: {unwanted}", ""
        rule = self._profile.data.get(cell.dataset)
        if rule is not None and rule.left_out is not None:
            return f"{LEFT_OUT}{rule.left_out}", ""
        missing = not_implemented(cell)
        if missing:
            return missing, ""
        thinned = self._declared.excludes(cell)
        reason = f"{LEFT_OUT}{thinned}" if thinned else ""
        if thinned and rule is not None and rule.use is not None:
            # Another data set stands in: its results would pass for those of every data set that it stands for.
            return reason, ""
        if not partner:
            return "", reason
        wanted = self.request.thin.defenses
        return "", "" if wanted is None or cell.defense in wanted else reason or NO_RESULT

    def _collect(self, cell: Cell, run: bool, otherwise: str) -> Answer:
        if not run:
            stored = self._of_stored_copy(cell)
            if stored is None:
                return Answer(reason=otherwise)
            cell = stored
        seeds = self.request.seeds or self._seeds(cell, self.request.profile)
        results, absent, failed = [], [], []
        for seed in seeds:
            try:
                result = _find(cell.experiment(self.paper, self.request.profile, seed), self.request.store, run)
            except TrainingDivergedError as error:
                failed.append(f"seed {seed} failed: {error}")
                continue
            except DefenseLibError as error:
                # Running must not hide a user's mistake; merely looking has nothing to break.
                if run:
                    raise
                return Answer(reason=str(error))
            if result is None:
                absent.append(seed)
            else:
                results.append(result)
        if not results:
            return Answer(reason="; ".join(failed) or otherwise)
        notes = failed
        notes += [f"{len(results)} of {len(seeds)} seeds; seed {', '.join(map(str, absent))} not run"] if absent else []
        if not all(result.made_by_current_code() for result in results):
            notes.append("made by older code")
        rule = self._profile.data.get(cell.dataset)
        if rule is not None and rule.use is not None:
            notes.append(f"ran on {rule.use} in place of {cell.dataset}")
        return Answer(tuple(results), "; ".join(notes))

    def _of_stored_copy(self, cell: Cell) -> Cell | None:
        """The cell on the copy of its data that stored results were made on; None where there are none of such."""
        source = self._source(self._profile.dataset(cell.dataset)[0])
        if source is None:
            return cell
        return replace(cell, options={**cell.options, "source": source}) if source else None

    def _source(self, dataset: str) -> str | None:
        """Which copy of a data set the stored results were made on; None where that is known without them, "" where
        there are none. Looking must not depend on the data that happen to be at hand."""
        if dataset not in data.available() or data.info(dataset).source is not None:
            return None
        if dataset not in self._sources:
            stored = {one.experiment["source"] for one in _reader(self.request.store).results(dataset)}
            self._sources[dataset] = min(stored, default="")
        return self._sources[dataset]


def mode_of(profile: str) -> str:
    """How strictly a profile's numbers are compared: none, order or numbers (see `verdict`)."""
    return profiles.load(profile).verdict


def not_implemented(cell: Cell) -> str:
    """Why no code answers this cell yet ("defense fp not implemented yet"), or nothing."""
    for axis, known in (("attack", ("none", *attacks.available())), ("defense", defenses.available())):
        if getattr(cell, axis) not in known:
            return f"{axis} {getattr(cell, axis)} not implemented yet"
    model = cell.options.get("model")
    return "" if model is None or model in models.available() else f"model {model} not implemented yet"


def _find(experiment: Experiment, store: Any, run: bool) -> Result | None:
    if run:
        try:
            return experiments.run(experiment, store=store)
        except TrainingDivergedError as error:
            # No other cell depends on it; whoever waits for the whole learns of it from the journal.
            journal.note("failed", experiment.resolve().stem, str(error))
            raise
    return _reader(store).get(experiment.resolve())


def _reader(store: Any) -> experiments.Store:
    if store is None:
        return experiments.default_stores()
    return store if isinstance(store, experiments.Store) else experiments.Store(store)
