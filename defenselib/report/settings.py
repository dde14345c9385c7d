"""What tells a result from another of the same name: the settings that are not those of today's recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from defenselib.errors import DefenseLibError
from defenselib.experiments import Result, Store
from defenselib.experiments.fields import plain

if TYPE_CHECKING:
    from defenselib.experiments.spec import Resolved

USUAL = "as set today"
MOST = 4  # settings that are named; of more, how many
ARGS = ("attack_args", "defense_args")
# What is no setting of the training, or stands in a column of its own.
APART = (*ARGS, "asked", "upstream", "measure", "seed", "profile", "paper", "dataset", "source", "attack", "defense")
# What another question changes, where the recipe is the same.
QUESTION = ("rate", "target", "count", "stop_after", "holdout", "diagnostic")
Flat = Mapping[str, Any]


class Settings:
    """Words on the setting of results: "rate=0", "as set today", "superseded, or a variant: gamma=0.4".
    The last is said where today's own setting was not run: the recipe has changed since, or only this was asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._today: dict[tuple[Any, ...], Resolved | None] = {}

    def of(self, result: Result) -> str:
        """What the result's setting is beside that of its paper (or method) and profile today."""
        today = self._recipe(result)
        if today is None:
            return "of a recipe that is gone"
        now, then = _flat(today.describe()), _flat(result.experiment)
        # What a method got since stands at what changes nothing, so it is passed over.
        other = {name: value for name, value in then.items() if value != now.get(name)}
        if not other:
            return USUAL
        gone = not set(other) & set(QUESTION) and self._store.get(today) is None
        return f"{'superseded, or a variant: ' * gone}{_listed(other)}"

    def _recipe(self, result: Result) -> Resolved | None:
        told = result.experiment
        key = (told["asked"] or told["dataset"], told["attack"], told["defense"], told["paper"], result.profile)
        where = (*key, told["source"], told["seed"])
        if where not in self._today:
            self._today[where] = _resolved(where)
        return self._today[where]


def among(results: Sequence[Result]) -> str:
    """What the first of some results sets otherwise than another of them, in words; empty where they agree. Needs no
    recipe, thus not torch."""
    first, *others = [_flat(result.experiment) for result in results]
    return _listed({name: value for name, value in first.items() if any(value != one.get(name) for one in others)})


def apart(settings: Iterable[str], names: Iterable[tuple[Any, ...]], results: Iterable[Result]) -> list[str]:
    """The settings, and where two results of one name have the same words also what was measured, else their hash."""
    rows = list(zip(settings, names, results, strict=True))
    for more in (lambda one: "measured " + ", ".join(one.experiment["measure"]), lambda one: f"result {one.hash[:6]}"):
        seen: dict[tuple[Any, ...], set[str]] = {}
        for said, name, one in rows:
            seen.setdefault((*name, said), set()).add(more(one))
        rows = [(f"{said}; {more(one)}" if len(seen[*name, said]) > 1 else said, name, one) for said, name, one in rows]
    return [said for said, _, _ in rows]


def _resolved(where: tuple[Any, ...]) -> Resolved | None:
    from defenselib.experiments import Experiment  # with torch, which whoever lists results does not need

    names = ("dataset", "attack", "defense", "paper", "profile", "source", "seed")
    # A paper that does not run an attack has no preset for it: then the default one counts, as on the pages.
    for args in ({}, {"preset": "asd"}):
        try:
            return Experiment(**dict(zip(names, where, strict=True)), attack_args=args).resolve()
        except DefenseLibError:
            continue
    return None


def _flat(told: Flat) -> dict[str, Any]:
    """Fields and hyper-parameters side by side; of those of one name the defense's under "defense NAME"."""
    found = {name: plain(value) for name, value in told.items() if name not in APART}
    for kind in ARGS:
        for name, value in told[kind].items():
            found[name if name not in found else f"{kind.split('_')[0]} {name}"] = plain(value)
    return found


def _listed(settings: Flat) -> str:
    told = [f"{name}={_said(value)}" for name, value in settings.items()]
    return ", ".join(told[:MOST]) + (f" and {len(told) - MOST} more" if len(told) > MOST else "")


def _said(value: Any) -> str:
    if isinstance(value, list):
        return "/".join(map(_said, value))
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value).lower()
