"""From the cells that an exhibit needs to the results that are there: thinning, look-up, running.

A cell that is not answered always says why: left out by request or by the profile, not implemented, not in the store.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from defenselib import attacks, data, defenses, experiments, models
from defenselib.errors import DefenseLibError, TrainingDivergedError
from defenselib.experiments import journal
from defenselib.experiments import profile as profiles
from defenselib.experiments.result import Result
from defenselib.experiments.spec import label_of, start_of
from defenselib.experiments.store import reader
from defenselib.papers.kit.request import Cell, Request, Thin

LEFT_OUT = "left out at this profile: "
NO_RESULT = "no result in the store"
OTHER_SETTING = "no result in the store at today's setting, only at another"


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
        self._store = reader(request.store)
        # All that a look-up alone can find; a run adds to it.
        self._there = None if request.run else self._store.starts()

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
                result = self._find(cell, seed, run)
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
            return Answer(reason="; ".join(failed) or self._why_none(cell, seeds, otherwise))
        notes = failed
        notes += [f"{len(results)} of {len(seeds)} seeds; seed {', '.join(map(str, absent))} not run"] if absent else []
        if not all(result.made_by_current_code() for result in results):
            notes.append("made by older code")
        rule = self._profile.data.get(cell.dataset)
        if rule is not None and rule.use is not None:
            notes.append(f"ran on {rule.use} in place of {cell.dataset}")
        return Answer(tuple(results), "; ".join(notes))

    def _why_none(self, cell: Cell, seeds: tuple[int, ...], otherwise: str) -> str:
        """`otherwise`, or that the profile has a result of the cell's own name and no option: a later recipe, or
        profile, sets it otherwise than when it ran."""
        if otherwise != NO_RESULT or cell.options.get("defense_args") or cell.options.get("attack_args"):
            return otherwise
        label = label_of(cell.defense, cell.options.get("diagnostic"))
        dataset = self._profile.dataset(cell.dataset)[0]
        named = {start_of(dataset, cell.attack, label, seed) for seed in seeds}
        return OTHER_SETTING if named & self._store.starts(self._profile.name) else otherwise

    def _find(self, cell: Cell, seed: int, run: bool) -> Result | None:
        if self._has_none(cell, seed):
            return None
        experiment = cell.experiment(self.paper, self.request.profile, seed)
        if not run:
            return self._store.get(experiment.resolve())
        try:
            return experiments.run(experiment, store=self._store)
        except TrainingDivergedError as error:
            # No other cell depends on it; whoever waits for the whole learns of it from the journal.
            journal.note("failed", experiment.resolve().stem, str(error))
            raise

    def _has_none(self, cell: Cell, seed: int) -> bool:
        """Whether a cell that is not run is missing by its name alone: most are, and resolving them takes long."""
        dataset = self._profile.dataset(cell.dataset)[0]
        # A setting of its own may contradict the profile's, which resolving says.
        own = cell.times or "defense_args" in cell.options or "attack_args" in cell.options
        if self._there is None or own or dataset not in data.available():
            return False
        label = label_of(cell.defense, cell.options.get("diagnostic"))
        return start_of(dataset, cell.attack, label, seed) not in self._there

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
            stored = {one.experiment["source"] for one in self._store.results(dataset)}
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
