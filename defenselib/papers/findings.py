"""Which defense for which situation: what the leaderboard's pairs say of it, one profile at a time, as data.

A pair of a defense and an attack *keeps it low* where the ASR is low and counts (`kit.gates`); *fails* where it is not
low and counts; else it decides nothing. Situations are declared; no pair is chosen by its result, all that were run are
sorted.
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
from defenselib.papers.kit.verdict import ACC_MARGIN, ASR_HIGH, ASR_LOW
from defenselib.papers.leaderboard import table

LOW, FAILED, OPEN = "keeps it low", "fails", "decides nothing"


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
        "A trigger of its own in every image": ("wanet", "iab", "dynamic", "refool", "ssba"),
    }
    found = tuple(Situation(words, tuple(n for n in names if n not in keeps)) for words, names in others.items())
    return (*found, Situation("Labels that fit their images (clean label)", keeps))


@dataclass(frozen=True)
class Pair:
    """A defense under one attack. drop: points of ACC that it costs. own: as its own paper sets the attack. minutes,
    clean: of it; NaN and 0 where they do not count or none is given."""

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
            state=state(float(row["asr"]), str(row["gate"])),
            asr=float(row["asr"]),
            drop=float(row["drop"]),
            seeds=int(row["n"]),
            own=row["preset"] != "shared",
            minutes=float(row["seconds"]) / 60,
            clean=float(row["clean_given"]),
        )
        for row in records(ran)
    )


def state(asr: float, gate: str) -> str:
    """What an ASR says of a defense, as every table judges it: a low one counts with an open gate only."""
    if gate and asr < ASR_HIGH:
        return OPEN
    return LOW if asr <= ASR_LOW else FAILED


def evidence(dataset: str = "cifar10", store: Any = None) -> dict[str, tuple[Pair, ...]]:
    """The pairs of every profile that has some, in the order of `RANK`."""
    found = {name: pairs(table(name, dataset, store=store)) for name in RANK}
    return {name: some for name, some in found.items() if some}


def fullest(evidence: Mapping[str, Sequence[Pair]]) -> str:
    """The profile with most pairs."""
    return max(evidence, key=lambda profile: len(evidence[profile]))


def first(evidence: Mapping[str, Sequence[Pair]]) -> str:
    """The defense to try first: of those that kept an attack low at the price that a verdict forgives, the one that did
    so at most profiles, then under most attacks, then at the least price; empty where there is none."""
    cheap = [
        (profile, pair) for profile, found in evidence.items() for pair in found if pair.state == LOW and pair.cheap
    ]

    def rank(name: str) -> tuple[int, int, float]:
        mine = [(profile, pair) for profile, pair in cheap if pair.defense == name]
        price = fmean(pair.drop for _, pair in mine)
        return -len({profile for profile, _ in mine}), -len({pair.attack for _, pair in mine}), price

    return min(dict.fromkeys(pair.defense for _, pair in cheap), key=rank, default="")


def under(found: Sequence[Pair], situation: Situation, what: str) -> tuple[Pair, ...]:
    """The pairs of a situation in a state, those that cost least ACC first."""
    mine = [pair for pair in found if pair.attack in situation.attacks and pair.state == what]
    return tuple(sorted(mine, key=lambda pair: (math.isnan(pair.drop), pair.drop)))


def by_defense(found: Sequence[Pair], what: str) -> dict[str, tuple[str, ...]]:
    """Under which attacks each defense has a state; defenses that have it nowhere are left out."""
    names = dict.fromkeys(pair.defense for pair in found)
    listed = {name: [p.attack for p in found if p.defense == name and p.state == what] for name in names}
    return {name: tuple(dict.fromkeys(under_)) for name, under_ in listed.items() if under_}


def minutes(found: Sequence[Pair]) -> dict[str, float]:
    """Mean minutes of each defense that kept some attack low, where they count; the quickest first."""
    names = dict.fromkeys(pair.defense for pair in found if pair.state == LOW)
    taken = {name: [p.minutes for p in found if p.defense == name and not math.isnan(p.minutes)] for name in names}
    return dict(sorted(((name, fmean(times)) for name, times in taken.items() if times), key=lambda item: item[1]))


def needs_clean() -> dict[str, str]:
    """The defenses that ask for clean samples, and how many."""
    found = {}
    for name in defenses.available():
        request = defenses.create(name).clean_request()
        if request is not None:
            many = f"{100 * request.share:g} % of the training set" if request.share else f"{request.per_class} a class"
            found[name] = many
    return found


def drawn(path: Path | None = None) -> dict[str, bool]:
    """Which defenses defend on drawn images at `demo` under BadNets: every gate and bound of its trials holds, whatever
    the seed. path: a table of trials, the committed one where none is given; without one nothing is known."""
    file = path or committed_file("trials/demo.csv")
    if file is None:
        return {}
    rows = pd.read_csv(file)
    mine = rows[(rows["attack"] == "badnets") & (rows["defense"] != "none")]
    return {str(name): bool((part["gates"] == "hold").all()) for name, part in mine.groupby("defense", sort=False)}
