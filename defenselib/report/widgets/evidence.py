"""Which results the widgets show: what the store holds, the best of it first, nothing named by hand.

Only *plain* results: a paper's cell with no options of its own, so that two bars or curves of one name are comparable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from defenselib.errors import DefenseLibError
from defenselib.experiments import run as run_experiment
from defenselib.experiments.experiment import Experiment
from defenselib.experiments.result import Result
from defenselib.experiments.schedule import PAPERS
from defenselib.experiments.store import Store, default_stores
from defenselib.papers.kit.claims import RANK
from defenselib.papers.kit.request import Cell
from defenselib.plots import style

# On drawn data: no evidence on a paper.
DRAWN = ("demo", "smoke")


def best(
    defenses: Sequence[str],
    useful: Callable[[Result], bool],
    train: str = "",
    store: Store | None = None,
    stopped: bool = False,
    apart: bool = False,
) -> dict[str, dict[str, Result]]:
    """By defense, the useful results by name of their setting; the best profile of each, the lowest seed.

    apart: each profile under a name of its own, so that nothing of one hides another's. stopped: also trainings that
    were stopped after a stage, where there is no whole one.

    Results on drawn images only for a defense that has nothing else. train: a profile at which a defense that has no
    result at all is trained under BadNets, if it is a paper's own method; empty: none is.
    """
    reader = store or default_stores()
    found: dict[str, list[Result]] = {name: [] for name in defenses}
    for result in plain(reader, stopped):
        if result.experiment["defense"] in found and useful(result):
            found[result.experiment["defense"]].append(result)
    shown = {}
    for defense, results in found.items():
        if not results and train and defense in PAPERS:
            results = [result for result in (trained(defense, train, reader),) if useful(result)]
        real = [result for result in results if result.profile not in DRAWN]
        if results:
            shown[defense] = _by_setting(real or results, apart)
    return shown


def plain(store: Store, stopped: bool = False) -> Iterator[Result]:
    """The results of cells without options, whichever paper asked for them; stopped: also those that end early.

    Results of a profile that is kept but no longer compared (`laptop-1`) are left out.
    """
    yield from (result for result in store.results() if result.profile in (*RANK, *DRAWN) and is_plain(result, stopped))


def experiment_of(result: Result) -> Experiment:
    """The experiment of a plain result, by the names of its cell."""
    asked = result.experiment
    # What was measured besides changes no training.
    options = {"measure": tuple(asked["measure"])}
    options |= {"stop_after": asked["stop_after"]} if asked["stop_after"] else {}
    cell = Cell(asked["asked"] or asked["dataset"], asked["attack"], asked["defense"], options)
    return cell.experiment(asked["paper"] or "", result.profile, asked["seed"])


def is_plain(result: Result, stopped: bool = False) -> bool:
    """Whether its cell, with no options, resolves to this very result today."""
    asked = result.experiment
    if asked["diagnostic"] or (asked["stop_after"] and not stopped):
        return False
    try:
        return experiment_of(result).resolve().hash == result.hash
    except DefenseLibError:
        return False  # a name, a profile or a data set that is no longer there


def trained(defense: str, profile: str, store: Store, paper: str | None = None) -> Result:
    """The method under BadNets as a paper sets it (its own), from the store or trained now."""
    cell = Cell("cifar10", "badnets", defense)
    return run_experiment(cell.experiment(paper or PAPERS.get(defense, "asd"), profile, 0), store=store)


def setting(result: Result) -> str:
    """ "CIFAR-10, BadNets", with the paper where it is not the method's own."""
    asked = result.experiment
    words = f"{style.label(asked['dataset'])}, {style.label(asked['attack'], 'attack')}"
    if asked["paper"] and asked["paper"] != PAPERS.get(asked["defense"], "asd"):
        words += f" (as in {style.label(asked['paper'])})"
    return words


def words_of(result: Result) -> str:
    """What stands behind a picture: profile, network, images, seed; of drawn images that they are no evidence."""
    asked: dict[str, Any] = result.experiment
    words = f"{asked['model']}, {asked['train_size']:,} training images, seed {asked['seed']}"
    drawn = f"drawn images, no evidence on a paper ({words})"
    return f"{result.profile}: {drawn if result.profile in DRAWN else words}"


def _by_setting(results: Sequence[Result], apart: bool) -> dict[str, Result]:
    def rank(one: Result) -> tuple[int, bool, int]:
        return (*RANK, *DRAWN).index(one.profile), bool(one.experiment["stop_after"]), one.experiment["seed"]

    chosen: dict[str, Result] = {}
    for result in sorted(results, key=rank):
        chosen.setdefault(setting(result) + (f", {result.profile}" if apart else ""), result)
    return chosen
