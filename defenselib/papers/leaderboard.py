"""All defenses under one protocol, which none of the papers has.

Same poisoned data, same seeds, same test images, the last epoch of every training, no choice by test data, one profile
and one data set at a time. Attacks run with their default preset (`shared`), and as the defense's own paper has them
where that is another setting. Ranked is over a common set of attacks that took; who lacks one of them is unranked.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from defenselib import attacks as attack_registry
from defenselib import defenses as defense_registry
from defenselib.errors import check_choice
from defenselib.experiments.result import Result
from defenselib.experiments.schedule import PAPERS
from defenselib.experiments.store import Store, default_stores
from defenselib.papers.aabl import exhibits as aabl
from defenselib.papers.costs import kind_of
from defenselib.papers.kit.claims import RANK, levels
from defenselib.papers.kit.frame import entry, hashes_of, machine_of, mean_of, sources_of, spreads, times_count
from defenselib.papers.kit.gates import examine
from defenselib.papers.kit.grid import Answer, Grid
from defenselib.papers.kit.request import SEVERAL, Cell, Request, Thin, one_seed
from defenselib.papers.kit.table import ders, paired
from defenselib.papers.kit.verdict import ASSUMED_SPREAD, asr_class, standing

SHARED = "shared"
# Whose attacks a defense met first, beside the shared ones.
OWN = {**PAPERS, "adv-train": "aabl"}


def table(
    profile: str = "best",
    dataset: str = "cifar10",
    attacks: Sequence[str] | None = None,
    defenses: Sequence[str] | None = None,
    run: bool = False,
    seeds: Sequence[int] | None = None,
    store: Any = None,
) -> pd.DataFrame:
    """One row a pair of attack and defense, and one more where the defense's own paper sets the attack otherwise:
    attack, preset (shared, or the paper's key), defense, acc, asr, der, ra, recall (of the target), ceiling (the DER of
    a perfect defense), drop (points of ACC that it costs, seed by seed), percent, means over seeds, NaN where not run;
    gate (why a low ASR or the DER does not count), standing, why (what the ASR says by itself, and why nothing, see
    `verdict.standing`), false_target, sd_acc, sd_asr, n, seconds (with what the model it repairs and
    shared stages cost), clean_given, suspects, suspects_poisoned, poisoned, profile, ran_on, source (copies of the data
    set), results (hashes), reason. machine: the kind that ran it; only what ran on the kind of most pairs has seconds.

    der is taken seed by seed against the undefended model of that seed; NaN for "none" and where that is missing.
    seeds: those looked up (0, 1, 2 if None; with `run` only 0). profile "best": the one that has most pairs.
    """
    for name in attacks or ():
        check_choice("attack", name, attack_registry.available())
    for name in defenses or ():
        check_choice("defense", name, defense_registry.available())
    chosen = tuple(seeds) if seeds is not None else ((0,) if run else SEVERAL)
    pairs = [(a, d) for a in attacks or attack_registry.available() for d in defenses or defense_registry.available()]
    made = [_rows(dataset, pairs, Request(name, run, Thin(), chosen, store)) for name in levels(profile)]
    return max(made, key=lambda frame: int(((frame["n"] > 0) & (frame["defense"] != "none")).sum()))


def cells(request: Request, sources: dict[str, str]) -> Iterator[tuple[Grid, Cell]]:
    """What `table` would run of a request that names data sets (CIFAR-10 if none), attacks and defenses (all); sources:
    see `Grid`. A pair under its own paper's setting is only looked up."""
    names = request.thin
    grid = Grid("", replace(request, thin=Thin()), one_seed, Thin(), sources)
    for dataset in names.datasets or ("cifar10",):
        for attack in names.attacks or attack_registry.available():
            for defense in names.defenses or defense_registry.available():
                yield grid, Cell(dataset, attack, defense)


def there(store: Store | None = None) -> list[tuple[str, str]]:
    """Data set and profile of every board that there can be, the one with most results of defenses first. Drawn images
    are no evidence."""
    results = (store or default_stores()).results()
    defended = [(one.experiment, one.profile) for one in results if one.experiment["defense"] != "none"]
    counted = Counter((str(told["dataset"]), profile) for told, profile in defended if profile in RANK)
    return [pair for pair, _ in counted.most_common()]


def _rows(dataset: str, pairs: Sequence[tuple[str, str]], request: Request) -> pd.DataFrame:
    shared = Grid("", request, lambda cell, profile: SEVERAL, Thin())
    own = {paper: Grid(paper, request, lambda cell, profile: SEVERAL, Thin()) for paper in dict.fromkeys(OWN.values())}
    rows = []
    for attack, defense in pairs:
        rows.append(_row(dataset, attack, defense, SHARED, shared))
        paper = OWN.get(defense)
        if paper is None or paper not in attack_registry.presets(attack):
            continue
        mine = _row(dataset, attack, defense, paper, own[paper], may_run=False)
        if mine["n"] and mine["results"] != rows[-1]["results"]:
            rows.append(mine)
    # At least the usual one: models without a defense, or whose target class is dead, move by hundredths.
    known = spreads(["asr"] * len(rows), [{"n": row["n"], "sd": row["sd_asr"]} for row in rows])["asr"]
    spread = max(known, ASSUMED_SPREAD["asr"])
    for row in rows:
        row["standing"], row["why"] = _standing(row, spread)
    return _timed(pd.DataFrame(rows))


def _standing(row: dict[str, Any], spread: float) -> tuple[str, str]:
    if math.isnan(row["asr"]):
        return "", ""
    if row["defense"] == "none":
        kind = asr_class(row["asr"])
        return ("open", "the attack does not take") if kind == "low" else (kind, "")
    return standing(row["asr"], row["gate"], row["false_target"], spread)


def _timed(frame: pd.DataFrame) -> pd.DataFrame:
    """With the seconds of one kind of machine alone: the one with most pairs that have some."""
    counted = frame.loc[frame["seconds"].notna(), "machine"].value_counts()
    if counted.empty:
        return frame
    usual = min(counted[counted == counted.max()].index)
    return frame.assign(seconds=frame["seconds"].where(frame["machine"] == usual))


def sets(frame: pd.DataFrame) -> list[tuple[tuple[str, ...], int]]:
    """The sets of attacks that a ranking can be over, each with how many defenses have all of it: attacks that took,
    whole sets alone (no further attack is common to the same defenses). The most defenses times attacks come first, of
    equals the larger set. Where no two defenses have anything in common it is one defense's. No outcome takes part.
    """
    mine = frame[(frame["preset"] == SHARED) & (frame["n"] > 0) & frame["took"] & (frame["defense"] != "none")]
    ran = [frozenset(part["attack"]) for _, part in mine.groupby("defense")]
    whole: set[frozenset[str]] = set()
    for own in ran:
        whole |= {own, *(own & other for other in whole)}
    places = {name: place for place, name in enumerate(dict.fromkeys(frame["attack"]))}
    found = [(tuple(sorted(one, key=places.__getitem__)), sum(one <= own for own in ran)) for one in whole if one]
    found.sort(key=lambda pair: (-len(pair[0]) * pair[1], -len(pair[0]), [places[name] for name in pair[0]]))
    return [pair for pair in found if pair[1] > 1] or found[:1]


def common(frame: pd.DataFrame) -> tuple[str, ...]:
    """The first of `sets`: what a ranking is over where nothing else is chosen; empty where no attack took."""
    return next((chosen for chosen, _ in sets(frame)), ())


def summary(frame: pd.DataFrame, over: Sequence[str] | None = None) -> pd.DataFrame:
    """One row a defense of `table`: defense, rank (NaN: unranked), attacks (of the common set that it has), of (in the
    set), lacks (the others of it), own (those of these that it has as its own paper sets them), worst_der,
    worst_attack, worst_asr, worst_acc, worst_recall, worst_ra, mean_der, open (attacks whose gate is closed),
    seconds (mean), clean_given (most), seeds_from, seeds_to; the best worst case first.

    Equals share a rank. Worst and mean are over the common set (`over`, else the first of `sets`); of an unranked
    defense over what it has of it. Where a gate is closed the DER is nobody's merit and counts as the lowest there is:
    50, that of the undefended model.
    """
    chosen = common(frame) if over is None else tuple(over)
    shared = frame[frame["preset"] == SHARED]
    rows = [_summary(str(name), part, chosen) for name, part in shared.groupby("defense", sort=False)]
    own = frame[(frame["preset"] != SHARED) & (frame["n"] > 0)]
    for row in rows:
        mine = set(own.loc[own["defense"] == row["defense"], "attack"])
        row["own"] = tuple(name for name in row["lacks"] if name in mine)
    found = pd.DataFrame(rows).sort_values(["ranked", "worst_der"], ascending=False, kind="stable", na_position="last")
    # Of equals none is better: an ASR behind a closed gate orders nothing.
    found.insert(1, "rank", found["worst_der"].where(found["ranked"]).rank(ascending=False, method="min"))
    return found.drop(columns="ranked").reset_index(drop=True)


def _summary(defense: str, part: pd.DataFrame, chosen: Sequence[str]) -> dict[str, Any]:
    ran = part[(part["n"] > 0) & part["attack"].isin(chosen)]
    rated = ran["der"].mask(ran["gate"] != "", 50.0).dropna()
    return {
        "defense": defense,
        "ranked": bool(chosen) and defense != "none" and set(ran["attack"]) == set(chosen),
        "attacks": len(ran),
        "of": len(chosen),
        "lacks": tuple(name for name in chosen if name not in set(ran["attack"])),
        "worst_der": rated.min(),
        "worst_attack": ran["attack"][rated.index].iloc[int(rated.argmin())] if len(rated) else "",
        "worst_asr": ran["asr"].max(),
        "worst_acc": ran["acc"].min(),
        "worst_recall": ran["recall"].min(),
        "worst_ra": ran["ra"].min(),
        "mean_der": rated.mean(),
        "open": int((ran["gate"] != "").sum()),
        "seconds": ran["seconds"].mean(),
        "clean_given": ran["clean_given"].max(),
        "seeds_from": ran["n"].min(),
        "seeds_to": ran["n"].max(),
    }


def _row(dataset: str, attack: str, defense: str, preset: str, grid: Grid, may_run: bool = True) -> dict[str, Any]:
    cell = Cell(dataset, attack, defense)
    before: tuple[Cell, ...] = (Cell(dataset, attack, "none"),)
    if preset == aabl.KEY:  # whose own cells measure more than the usual numbers
        cell = aabl.compared_cell({"dataset": dataset, "attack": attack, "defense": defense})
        before = aabl.before(cell)
    found = grid.answer(cell) if may_run else grid.stored(cell)
    answers = [grid.answer(one, partner=True) if may_run else grid.stored(one) for one in before]
    plain = next((answer for answer in answers if answer.results), answers[0])
    row: dict[str, Any] = {"attack": attack, "preset": preset, "defense": defense}
    for name in ("acc", "asr"):
        # Where there is no trigger, nothing can succeed.
        there = found.results if (name, attack) != ("asr", "none") else ()
        numbers = entry([getattr(result, name) for result in there])
        row |= {name: numbers["reproduced"], f"sd_{name}": numbers["sd"]}
    attacked = attack != "none"
    reached = mean_of(result.asr for result in plain.results) if attacked else math.nan
    row["der"] = mean_of(ders(found, plain).values()) if attacked and defense != "none" else math.nan
    drops = (before.acc - one.acc for one, before in paired(found, plain).values())
    row["drop"] = mean_of(drops) if defense != "none" else math.nan
    row["ra"] = mean_of(result.ra for result in found.results)
    row["recall"] = mean_of(map(_recall, found.results)) if attacked else math.nan
    row["ceiling"] = (reached + 100) / 2
    kind = attack_registry.ATTACKS.get(attack)
    gate = None
    if found.results and attacked and defense != "none":
        keeps = kind is not None and kind.clean_label
        gate = examine(found.results, plain.results, math.nan, keeps, lambda: math.nan)
    row |= {"gate": gate.closed if gate else "", "took": gate is not None and gate.took}
    row["false_target"] = mean_of(result.metrics.get("false_target") for result in found.results)
    row["n"] = len(found.results)
    row["seconds"] = mean_of(_cost(result, plain) for result in found.results)
    row["clean_given"] = mean_of(result.clean_given for result in found.results)
    row["suspects"] = mean_of(result.suspects_count for result in found.results)
    row["suspects_poisoned"] = mean_of(result.metrics.get("suspects_poisoned") for result in found.results)
    row["poisoned"] = mean_of(result.poisoned_count for result in found.results)
    row["profile"] = grid.request.profile
    row["ran_on"] = ", ".join(dict.fromkeys(map(machine_of, found.results)))
    row["source"] = sources_of(found.results)
    row["reason"] = found.reason
    row["results"] = hashes_of(found.results)
    row["machine"] = ", ".join(dict.fromkeys(kind_of(result.machine) for result in found.results))
    return row


def _recall(result: Result) -> float:
    """Accuracy on the target class, percent; with no single target the lowest of all classes."""
    target = result.experiment["target"]
    return min(result.per_class) if target is None else result.per_class[target]


def _cost(result: Result, plain: Answer) -> float:
    """Seconds from the data to the model; a defense that repairs a model pays for that one too.

    Of the processor where they are known and there is no GPU: two trainings that ran side by side cost what they cost.
    NaN where they do not count beside others at the profile (see `frame.times_count`).
    """
    if not times_count(result):
        return math.nan
    own = result.seconds if result.cpu_seconds is None or result.machine.get("gpu") else result.cpu_seconds
    if not result.experiment["upstream"]:
        return own
    below = [other for other in plain.results if other.hash == result.experiment["upstream"]]
    return own + _cost(below[0], plain) if below else math.nan
