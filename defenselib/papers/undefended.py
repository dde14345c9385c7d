"""The attacks by themselves: every attack as every paper runs it, on a model without defense.

One row a preset. Beside the printed ACC and ASR stand the measured ones, and what the trigger does to the *clean* model
(the same trigger at rate 0), because a label-consistent attack is only as strong as its distance to that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from defenselib import attacks
from defenselib.errors import check_choice
from defenselib.experiments import fields
from defenselib.experiments.result import Result
from defenselib.papers.kit import printed
from defenselib.papers.kit.claims import RANK, levels
from defenselib.papers.kit.frame import entry, mean_of, sources_of
from defenselib.papers.kit.gates import took
from defenselib.papers.kit.grid import Answer, Grid
from defenselib.papers.kit.request import Cell, Request, Thin, one_seed
from defenselib.papers.titles import TITLES

LOOKS = ("psnr", "ssim", "linf")


@dataclass(frozen=True)
class Case:
    """An attack as a paper runs it. preset: a paper's key, one of its variants such as `cl-16`, or `own` of an attack
    that is no paper's."""

    attack: str
    preset: str

    @property
    def paper(self) -> str:
        """The paper that the preset belongs to; empty for one of no paper."""
        if self.preset in TITLES:
            return self.preset
        return next((paper for paper in TITLES if self.preset in printed.vocabulary(paper, "attack")), "")

    @property
    def is_variant(self) -> bool:
        """Whether the preset is a variant that a paper counts as an attack of its own."""
        return self.paper not in ("", self.preset)

    @property
    def printed_name(self) -> str:
        """The attack's name in the paper's tables."""
        return self.preset if self.is_variant else self.attack

    def cell(self, dataset: str, **options: Any) -> Cell:
        chosen = {} if self.preset == self.paper else {"attack_args": {"preset": self.preset}}
        return Cell(dataset, self.attack, "none", chosen | options)


def cases(names: Sequence[str] | None = None) -> Iterator[Case]:
    """Every attack that poisons, under each of its presets; narrowed to some names."""
    for name in names or ():
        check_choice("attack", name, attacks.available())
    for name in attacks.available():
        if not attacks.ATTACKS[name].poisons or (names and name not in names):
            continue
        yield from (Case(name, preset) for preset in attacks.presets(name))


def first_cases(names: Sequence[str] | None = None) -> list[Case]:
    """One case for every attack, and the variants that papers count as attacks of their own (`cl-16`).

    It is the default preset, or the first one whose paper prints what the attack does to an undefended model. An
    attack that is another one by a second name (Blend is Blend-Kitty in most papers) shows the first preset in which
    it is not.
    """
    chosen, seen = [], set()
    for name in attacks.available():
        mine = list(cases([name])) if not names or name in names else []
        fresh = [case for case in mine if _settings(case) not in seen]
        told = [case for case in fresh if not math.isnan(printed_number(case, "cifar10", "asr"))]
        first = (told or fresh)[:1]
        chosen += [case for case in fresh if case in first or case.is_variant]
        seen |= {_settings(case) for case in mine}
    return chosen


def _settings(case: Case) -> str:
    """What decides what the attack does, whatever its name."""
    attack = attacks.create(case.attack, preset=case.preset)
    return f"{type(attack).__module__} {fields.settings(attack)}"


def table(
    profile: str = "best",
    dataset: str = "cifar10",
    chosen: Sequence[Case] | None = None,
    run: bool = False,
    seeds: Sequence[int] | None = None,
    store: Any = None,
) -> pd.DataFrame:
    """One row a case: attack, preset, rate, target, count, printed_acc, printed_asr, acc, asr, n, sd, clean_asr,
    poisoned, cross, stored_* and triggered_* (psnr in dB, ssim, linf in grey levels), twice_acc, twice_asr, rise (ASR
    minus the clean model's), works (True, False, None), profile, source, reason. Percent; NaN where not run.

    profile "best": the one that answers most rows. run: train what the store lacks (a profile must be named).
    """
    listed, asked = list(chosen or cases()), None if seeds is None else tuple(seeds)
    made = [
        pd.DataFrame([_row(case, dataset, Request(name, run, Thin(), asked, store)) for case in listed])
        for name in levels(profile)
    ]
    return max(made, key=lambda frame: int(frame["asr"].notna().sum()))


def answer(
    case: Case, dataset: str, request: Request, times: Mapping[str, float] | None = None, **options: Any
) -> Answer:
    """The results of a case, with further fields of the Experiment; times: as those of a `Cell`."""
    cell = replace(case.cell(dataset, **options), times=times or {})
    return Grid(case.paper, request, one_seed, Thin()).answer(cell)


def cells(request: Request, sources: dict[str, str]) -> Iterator[tuple[Grid, Cell]]:
    """What `table` would run of a request that names data sets (CIFAR-10 if none) and attacks (all): each case poisoned
    and on a clean model; sources: see `Grid`."""
    names = request.thin
    if names.defenses is not None and "none" not in names.defenses:
        return
    asked = replace(request, thin=Thin())
    for dataset in names.datasets or ("cifar10",):
        for case in cases(names.attacks):
            yield Grid(case.paper, asked, one_seed, Thin(), sources), case.cell(dataset)
            yield Grid(case.paper, replace(asked, seeds=None), one_seed, Thin(), sources), case.cell(dataset, rate=0.0)


def _row(case: Case, dataset: str, request: Request) -> dict[str, Any]:
    attack = attacks.create(case.attack, preset=case.preset)
    poisoned = answer(case, dataset, request)
    # The spread of seeds is of interest for the attack, not for the clean model that it is held against.
    clean = answer(case, dataset, replace(request, seeds=None), rate=0.0)
    twice = answer(case, dataset, replace(request, run=False), times={"epochs": 2.0})
    row: dict[str, Any] = {"attack": case.attack, "preset": case.preset, "rate": attack.plan.rate}
    row |= {"target": attack.plan.target, "count": attack.plan.count}
    row |= {f"printed_{metric}": printed_number(case, dataset, metric) for metric in ("acc", "asr")}
    asr = entry([result.asr for result in poisoned.results])
    row |= {"acc": _mean(poisoned, "acc"), "asr": asr["reproduced"], "n": asr["n"], "sd": asr["sd"]}
    row |= {"clean_asr": _mean(clean, "asr"), "twice_acc": _mean(twice, "acc"), "twice_asr": _mean(twice, "asr")}
    row |= {"poisoned": _mean(poisoned, "poisoned_count"), "cross": _mean(poisoned, "cross_count")}
    row["rise"] = row["asr"] - row["clean_asr"]
    seen = [f"{form}_{what}" for form in ("stored", "triggered") for what in LOOKS]
    row |= {name: mean_of(result.metrics.get(name) for result in clean.results) for name in seen}
    row["works"] = works(row["asr"], row["clean_asr"], attack.clean_label, row["printed_asr"])
    row["profile"] = request.profile
    row["source"] = sources_of(poisoned.results)
    row["reason"] = poisoned.reason
    return row


def works(asr: float, clean_asr: float, clean_label: bool, printed: float) -> bool | None:
    """Whether the attack took (see `gates`); None where a number for that is missing."""
    if math.isnan(asr):
        return None
    reason = took(asr, printed, clean_label, lambda: clean_asr)
    return None if reason.endswith("was not run") else not reason


def printed_number(case: Case, dataset: str, metric: str) -> float:
    """What the paper prints for the undefended ResNet-18; NaN where it prints nothing."""
    for key in printed.tables(case.paper) if case.paper else ():
        rows = printed.table(case.paper, key)
        mine = (rows["dataset"] == dataset) & (rows["attack"] == case.printed_name) & (rows["model"] == "resnet18")
        mine &= (rows["defense"] == "none") & (rows["metric"] == metric)
        values = pd.to_numeric(rows[mine]["published"], errors="coerce").dropna()
        if len(values):
            return float(values.iloc[0])
    return math.nan


def _mean(found: Answer, name: str) -> float:
    return mean_of(getattr(result, name) for result in found.results)


def looks_of(case: Case, dataset: str, profile: str = "best", run: bool = False, store: Any = None) -> Result | None:
    """The result at rate 0 that holds the pictures of a case, the best there is; None where there is none."""
    for name in RANK if profile == "best" else (profile,):
        found = answer(case, dataset, Request(name, run, Thin(), None, store), rate=0.0)
        if found.results and "look/clean" in found.results[0].arrays:
            return found.results[0]
    return None
