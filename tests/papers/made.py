"""A finished result with chosen numbers, as if its training had been run."""

from __future__ import annotations

from typing import Any

from defenselib.experiments import Result
from defenselib.experiments.code_digest import code_of
from defenselib.experiments.experiment import Resolved


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
