"""The plan of a batch: the distinct cells behind the exhibits, which are there, what the others cost and would answer.

A *number* is a row of a printed table or a cell of a figure. It is answered once every cell that it is read from, and
every one that its verdict is taken against, has a result of one seed at least. A missing cell counts the numbers that
wait for it; one that waits for k cells counts 1/k for each, so that a plan's sum is the numbers that it answers.
Further seeds count none: they only narrow what is there. A *claim* counts for every cell that one of its open numbers
waits for; smoke is no evidence, so no claim counts there.

What a gate may ask besides (the trigger on a clean model) counts as well, unless the undefended model that is there
answers for itself. A repair needs the weights of the model that it starts from: where only its result is there, that
model is trained again, and stands in the plan. The pages that compare defenses and attacks across papers answer no
printed number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from defenselib import attacks as registered_attacks
from defenselib import data, papers
from defenselib import defenses as registered_defenses
from defenselib.errors import check_choice
from defenselib.experiments import profile as known_profiles
from defenselib.experiments.store import Store, default_stores
from defenselib.papers import leaderboard, undefended
from defenselib.papers.collected import Collected
from defenselib.papers.kit import printed
from defenselib.papers.kit.grid import Grid
from defenselib.papers.kit.request import AXES, Cell, Request, Thin, checked_request, checked_seeds
from defenselib.papers.planned import Plan

# By notebook, the cells of the pages that belong to no paper.
PAGES: Mapping[str, Callable[[Request, dict[str, str]], Iterable[tuple[Grid, Cell]]]] = {
    "leaderboard": leaderboard.cells,
    "attacks": undefended.cells,
}
Names = Mapping[str, tuple[str, ...] | None]  # by axis; None: all of them


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
    exhibits: Sequence[str] | None = None,
    pages: Sequence[str] | None = None,
) -> Plan:
    """The plan of some papers and pages (see `PAGES`) at some profiles; of all where neither is named.

    seeds, datasets, attacks, defenses: as `Exhibit.reproduce` takes them, with names that one of the papers or pages
    knows. machine: kind of the machine that is to run it (see `costs.kind_of`). everything: also what a paper leaves
    out at a profile unless somebody asks for it. exhibits: only these (`table-2`), of the papers that have one of this
    key, and no page unless it is named. Errors: UnknownNameError, InvalidValueError.
    """
    where = store or default_stores()
    if keys is None and pages is None:
        keys, pages = papers.available(), () if exhibits else tuple(PAGES)
    for key in keys or ():
        check_choice("paper", key, papers.available())
    registered = (data.available(), registered_attacks.available(), registered_defenses.available())
    parts = {key: {axis: set(printed.vocabulary(key, axis)) for axis in AXES} for key in keys or ()}
    for page in pages or ():
        parts[check_choice("page", page, PAGES)] = dict(zip(AXES, map(set, registered), strict=True))
    wanted = _named(parts, dict(zip(AXES, (datasets, attacks, defenses), strict=True)))
    known = dict.fromkeys(one.key for key in keys or () for one in papers.get(key).exhibits)
    shown = {check_choice("exhibit", name, known) for name in exhibits or known}
    collected = Collected(where, machine)
    for part, names in wanted.items():
        chosen = (names["dataset"], names["attack"], names["defense"])
        for profile in profiles:
            check_choice("profile", profile, known_profiles.available())
            if part in PAGES:
                asked = Request(profile, False, Thin(*chosen), checked_seeds(seeds), where)
                collected.page(PAGES[part](asked, collected.sources), part)
                continue
            request = checked_request(part, profile, False, chosen, seeds, where)
            for exhibit in (one for one in papers.get(part).exhibits if one.key in shown):
                collected.add(exhibit, exhibit.grid(request, everything, collected.sources))
    return Plan(tuple(collected.cells()), dict(collected.left_out), machine)


def _named(parts: Mapping[str, Mapping[str, set[str]]], axes: Mapping[str, Sequence[str] | None]) -> dict[str, Names]:
    """By paper and page, the names on each axis that it knows; one that knows none of those on an axis is no part."""
    for axis, names in axes.items():
        for name in names or ():
            allowed = sorted(set().union(*(known[axis] for known in parts.values())))
            check_choice("data set" if axis == "dataset" else axis, name, allowed)
    found: dict[str, Names] = {
        part: {
            axis: None if names is None else tuple(name for name in names if name in known[axis])
            for axis, names in axes.items()
        }
        for part, known in parts.items()
    }
    return {part: chosen for part, chosen in found.items() if () not in chosen.values()}
