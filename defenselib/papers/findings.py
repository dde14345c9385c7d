"""Which defense for which situation: what the leaderboard's pairs say of it, one profile at a time, as data.

What an ASR says of a pair of a defense and an attack is what claims take it for (`verdict.standing`). Situations are
declared; no pair is chosen by its result, all that were run are sorted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from defenselib import attacks, defenses
from defenselib.experiments.store import committed_file
from defenselib.papers.kit.claims import RANK
from defenselib.papers.kit.frame import records
from defenselib.papers.kit.verdict import ACC_MARGIN
from defenselib.papers.leaderboard import table

LOW, MIDDLE, FAILED, OPEN = "low", "middle", "high", "open"


@dataclass(frozen=True)
class Situation:
    """What a reader may suspect of his data. attacks: those of the registry that are of this kind."""

    words: str
    attacks: tuple[str, ...]


def situations() -> tuple[Situation, ...]:
    """Every attack of the registry once: those that keep all labels, the others by what their trigger looks like."""
    keeps = tuple(name for name, kind in attacks.ATTACKS.items() if kind.clean_label)
    others = {
        "A patch or a few pixels": ("badnets", "badnets-all2all", "trojan"),
        "A picture or a noise over the whole image": ("blend", "blend-kitty", "blend-noise", "blend-strip", "adaptive"),
        "A warp, a reflection or a trigger drawn for each image": ("wanet", "iab", "dynamic", "refool", "ssba"),
    }
    found = tuple(Situation(words, tuple(n for n in names if n not in keeps)) for words, names in others.items())
    return (*found, Situation("Labels that fit their images (clean label)", keeps))


@dataclass(frozen=True)
class Pair:
    """A defense under one attack. state: see `verdict.standing`. drop: points of ACC that it costs. own: as its own
    paper sets the attack. minutes, clean: of it; NaN and 0 where they do not count or none is given."""

    defense: str
    attack: str
    state: str
    asr: float
    drop: float
    seeds: int
    own: bool
    minutes: float
    clean: float

    @property
    def cheap(self) -> bool:
        """Whether it costs no more ACC than a verdict forgives."""
        return self.drop <= ACC_MARGIN


def pairs(frame: pd.DataFrame) -> tuple[Pair, ...]:
    """The pairs of a leaderboard table (`leaderboard.table`) that were run with a defense under an attack that poisons.
    Where a defense ran under an attack with the shared settings and with its paper's own, both stand."""
    ran = frame[(frame["n"] > 0) & (frame["defense"] != "none") & (frame["attack"] != "none")]
    return tuple(
        Pair(
            defense=str(row["defense"]),
            attack=str(row["attack"]),
            state=str(row["standing"]),
            asr=float(row["asr"]),
            drop=float(row["drop"]),
            seeds=int(row["n"]),
            own=row["preset"] != "shared",
            minutes=float(row["seconds"]) / 60,
            clean=float(row["clean_given"]),
        )
        for row in records(ran)
    )


def evidence(dataset: str = "cifar10", store: Any = None) -> dict[str, tuple[Pair, ...]]:
    """The pairs of every profile that has some, in the order of `RANK`."""
    found = {name: pairs(table(name, dataset, store=store)) for name in RANK}
    return {name: some for name, some in found.items() if some}


def fullest(evidence: Mapping[str, Sequence[Pair]]) -> str:
    """The profile with most pairs."""
    return max(evidence, key=lambda profile: len(evidence[profile]))


def low_at_a_price(evidence: Mapping[str, Sequence[Pair]]) -> dict[str, list[tuple[str, Pair]]]:
    """By defense, with their profiles: the pairs that it kept low at the price that a verdict forgives."""
    found: dict[str, list[tuple[str, Pair]]] = {}
    for profile, pairs_ in evidence.items():
        for pair in pairs_:
            if pair.state == LOW and pair.cheap:
                found.setdefault(pair.defense, []).append((profile, pair))
    return found


def let_through(evidence: Mapping[str, Sequence[Pair]], defense: str) -> list[tuple[str, Pair]]:
    """With their profiles: the pairs in which a defense does not keep the attack low."""
    listed = ((profile, pair) for profile, found in evidence.items() for pair in found if pair.defense == defense)
    return [(profile, pair) for profile, pair in listed if pair.state in (MIDDLE, FAILED)]


def first(evidence: Mapping[str, Sequence[Pair]]) -> str:
    """The defense to try first: of those that kept two attacks or more low at the price that a verdict forgives, and
    let none through, the one with most attacks, then with most profiles, then at the least price; empty where there is
    none."""

    def attacks_of(mine: Sequence[tuple[str, Pair]]) -> int:
        return len({pair.attack for _, pair in mine})

    fit = {
        name: mine
        for name, mine in low_at_a_price(evidence).items()
        if attacks_of(mine) > 1 and not let_through(evidence, name)
    }

    def rank(name: str) -> tuple[int, int, float]:
        profiles = {profile for profile, _ in fit[name]}
        return -attacks_of(fit[name]), -len(profiles), fmean(pair.drop for _, pair in fit[name])

    return min(fit, key=rank, default="")


def under(found: Sequence[Pair], situation: Situation, what: str) -> tuple[Pair, ...]:
    """The pairs of a situation in a state, those that cost least ACC first."""
    mine = [pair for pair in found if pair.attack in situation.attacks and pair.state == what]
    return tuple(sorted(mine, key=lambda pair: (math.isnan(pair.drop), pair.drop)))


def by_defense(found: Sequence[Pair], what: str) -> dict[str, tuple[str, ...]]:
    """Under which attacks each defense has a state; defenses that have it nowhere are left out."""
    names = dict.fromkeys(pair.defense for pair in found)
    listed = {name: [p.attack for p in found if p.defense == name and p.state == what] for name in names}
    return {name: tuple(dict.fromkeys(under_)) for name, under_ in listed.items() if under_}


def minutes(found: Sequence[Pair]) -> dict[str, tuple[float, float]]:
    """Of each defense that kept some attack low: its mean minutes, where they count, and the mean points of ACC that
    it costs where it kept one low; the quickest first."""
    names = dict.fromkeys(pair.defense for pair in found if pair.state == LOW)
    taken = {name: [p.minutes for p in found if p.defense == name and not math.isnan(p.minutes)] for name in names}
    drops = {name: fmean(pair.drop for pair in found if pair.defense == name and pair.state == LOW) for name in names}
    listed = ((name, (fmean(times), drops[name])) for name, times in taken.items() if times)
    return dict(sorted(listed, key=lambda item: item[1]))


def needs_clean() -> dict[str, str]:
    """The defenses that ask for clean samples, and how many."""
    found = {}
    for name in defenses.available():
        request = defenses.create(name).clean_request()
        if request is not None:
            many = f"{100 * request.share:g} % of the training set" if request.share else f"{request.per_class} a class"
            found[name] = many
    return found


def drawn(path: Path | None = None) -> dict[str, tuple[int, int]]:
    """In how many of its trials on drawn images at `demo` under BadNets each defense defends (every gate and bound
    holds), and how many there are: seeds, and ways in which bf16 was computed. path: a table of trials, the committed
    one where none is given; without one nothing is known."""
    file = path or committed_file("trials/demo.csv")
    if file is None:
        return {}
    rows = pd.read_csv(file)
    mine = rows[(rows["attack"] == "badnets") & (rows["defense"] != "none")]
    held = (mine["gates"] == "hold").groupby(mine["defense"], sort=False)
    return {str(name): (int(one.sum()), len(one)) for name, one in held}
