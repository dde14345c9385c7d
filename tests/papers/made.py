"""A finished result with chosen numbers, as if its training had been run; which trainings an exhibit asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from defenselib.experiments import Result
from defenselib.experiments.code_digest import code_of
from defenselib.experiments.experiment import Experiment, Resolved
from defenselib.papers.kit.cells import Choice, needs
from defenselib.papers.kit.exhibit import Exhibit
from defenselib.papers.kit.request import Request


def made(resolved: Resolved, acc: float, asr: float, **fields: Any) -> Result:
    """The result of a resolved experiment by today's code on a machine of two cores; fields: those of `Result`."""
    usual = {"experiment": resolved.describe(), "machine": {"cores": 2, "gpu": None}, "per_class": (acc,) * 10}
    return Result(
        spec=resolved.spec(),
        hash=resolved.hash,
        profile=resolved.profile,
        acc=acc,
        asr=asr,
        code=code_of(resolved.describe()),
        stem=resolved.stem,
        **{**usual, **fields},
    )


def cells_of(exhibit: Exhibit, request: Request) -> tuple[Experiment, ...]:
    """The distinct experiments that `exhibit.reproduce(run=True)` would look up or run, those that numbers are judged
    by included. What a gate asks only after it has seen a result (the trigger on a clean model) is none of them."""
    grid = exhibit.grid(request)
    found: dict[Experiment, None] = {}

    def taken(choices: Sequence[Choice], partner: bool) -> bool:
        asked = [grid.wanted(choice[0], partner) for choice in choices]
        for cell, seeds, _ in asked:
            found.update({cell.experiment(exhibit.paper, request.profile, seed): None for seed in seeds})
        return all(seeds for _, seeds, _ in asked)

    for need in needs(exhibit, request.profile):
        if taken(need.made_of, False):  # what nobody runs, nobody judges
            taken(need.judged_by, True)
    return tuple(found)
